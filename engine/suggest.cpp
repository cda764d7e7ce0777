// Optimal string alignment distance (Damerau, "A technique for computer detection and correction of
// spelling errors", 1964, in the restricted form that edits no substring twice).
#include "engine/suggest.h"

#include <algorithm>

namespace brood {

namespace {

constexpr std::size_t kLengthMax = 64;  // longer words are not slips of the pen

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before, previous, row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    before = std::move(previous);
    previous = row;
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const bool same = lower(a[i - 1]) == lower(b[j - 1]);
      row[j] = std::min({previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (same ? 0U : 1U)});
      const bool swapped = i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                           lower(a[i - 2]) == lower(b[j - 1]);
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row[b.size()];
}

}  // namespace

std::string nearest(std::string_view word, const std::vector<std::string>& known) {
  if (word.empty() || word.size() > kLengthMax) return {};
  const std::string* best = nullptr;
  std::size_t best_edits = 0;
  for (const std::string& candidate : known) {
    if (candidate.size() > kLengthMax) continue;
    const std::size_t edits = distance(word, candidate);
    if (edits > std::max(word.size(), candidate.size()) / 3) continue;
    if (best != nullptr && edits >= best_edits) continue;
    best = &candidate;
    best_edits = edits;
  }
  return best == nullptr ? std::string() : *best;
}

std::string did_you_mean(std::string_view word, const std::vector<std::string>& known) {
  const std::string found = nearest(word, known);
  return found.empty() ? std::string() : " (did you mean \"" + found + "\"?)";
}

}  // namespace brood
