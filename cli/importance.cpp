// brood importance: which parameters moved the objective.
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "cli/asked.h"
#include "cli/importance_forest.h"

namespace brood {

namespace {

constexpr std::size_t kSamplesMax = 4096;
constexpr std::size_t kSamplesMin = 10;  // below, any answer is chance
constexpr std::size_t kNumberBins = 64;
constexpr std::size_t kBinsMax = 4096;

bool real_of(const Cell& cell, double& out) {
  if (const auto* whole = std::get_if<std::int64_t>(&cell))
    out = static_cast<double>(*whole);
  else if (const auto* real = std::get_if<double>(&cell))
    out = *real;
  else
    return false;
  return true;
}

// From 0 to 1; equal values share the middle of their places. One loss of 1e9 must not drown the
// differences between all others.
std::vector<double> ranks_of(const std::vector<double>& values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return values[a] != values[b] ? values[a] < values[b] : a < b;
  });
  std::vector<double> out(values.size());
  for (std::size_t first = 0, end = 0; first < order.size(); first = end) {
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    const double place = 0.5 * static_cast<double>(first + end - 1);
    for (std::size_t i = first; i < end; ++i)
      out[order[i]] = place / static_cast<double>(values.size());
  }
  return out;
}

// Where the parameter is inactive is a bin of its own, the first. Bins of a number hold about
// equally many samples.
BinnedParam bin_numbers(const std::vector<double>& values, const std::vector<bool>& missing) {
  std::vector<double> sorted;
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!missing[i]) sorted.push_back(values[i]);
  const bool any_missing = sorted.size() < values.size();
  std::sort(sorted.begin(), sorted.end());
  std::vector<double> tops;  // the greatest value of each bin
  std::vector<double> distinct = sorted;
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  if (distinct.size() <= kNumberBins) {
    tops = distinct;
  } else {
    for (std::size_t bin = 1; bin <= kNumberBins; ++bin)
      tops.push_back(sorted[bin * sorted.size() / kNumberBins - 1]);
    tops.erase(std::unique(tops.begin(), tops.end()), tops.end());
  }
  BinnedParam out;
  out.bins = std::max<std::size_t>(1, tops.size() + (any_missing ? 1 : 0));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto bin = std::lower_bound(tops.begin(), tops.end(), values[i]) - tops.begin();
    out.bin.push_back(static_cast<std::uint16_t>(missing[i] ? 0 : bin + (any_missing ? 1 : 0)));
  }
  return out;
}

// In the order of their mean outcome: then the best split of labels is one of that order (W. D.
// Fisher: "On grouping for maximum homogeneity", 1958).
BinnedParam bin_labels(const std::vector<std::string>& labels,
                       const std::vector<double>& outcomes) {
  struct Seen {
    double sum = 0.0;
    int count = 0;
    std::uint16_t bin = 0;
  };
  std::map<std::string, Seen> seen;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    Seen& one = seen[labels[i]];
    one.sum += outcomes[i];
    ++one.count;
  }
  std::vector<Seen*> order;
  for (auto& [label, one] : seen) order.push_back(&one);
  std::stable_sort(order.begin(), order.end(), [](const Seen* a, const Seen* b) {
    return a->sum / a->count < b->sum / b->count;
  });
  BinnedParam out;
  out.bins = std::min(order.size(), kBinsMax);
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i]->bin = static_cast<std::uint16_t>(std::min(i, kBinsMax - 1));
  for (const std::string& label : labels) out.bin.push_back(seen[label].bin);
  return out;
}

BinnedParam binned(const Reader::Sample& sample, std::size_t param, bool numeric,
                   const std::vector<double>& outcomes) {
  std::vector<double> values;
  std::vector<bool> missing;
  std::vector<std::string> labels;
  for (const auto& point : sample.points) {
    double value = 0.0;
    missing.push_back(!real_of(point[param], value));
    values.push_back(value);
    if (!numeric) labels.push_back(people_text(point[param]));
  }
  return numeric ? bin_numbers(values, missing) : bin_labels(labels, outcomes);
}

std::string percent(double share) { return shown_number(std::round(share * 1000.0) / 10.0) + " %"; }

void explain(const Importance& found, const Reader::Sample& sample, std::ostream& out) {
  double alone = 0.0;
  for (const double share : found.share) alone += share;
  out << "of the differences in rank between " << sample.objectives.size();
  if (sample.of > static_cast<std::int64_t>(sample.objectives.size())) out << " of " << sample.of;
  out << " trials; " << percent(std::max(0.0, 1.0 - alone)) << " is due to parameters together\n";
  if (found.explained < 0.3)
    out << "beware: from other trials " << percent(std::max(0.0, found.explained))
        << " of a trial's place can be told; there is little to go by yet\n";
}

}  // namespace

int importance_command(const ImportanceOptions& options, std::ostream& out) {
  Asked asked = ask(options.where);
  const ExperimentRecord& experiment = asked.experiment;
  const Reader::Sample sample = asked.reader.sample(experiment, kSamplesMax, experiment.seed);
  if (sample.objectives.size() < kSamplesMin) {
    if (options.format == Format::people)
      out << "experiment \"" << printable(experiment.name) << "\" has "
          << count_text(static_cast<std::int64_t>(sample.objectives.size()), "trial")
          << " with an objective; it takes " << kSamplesMin
          << " before anything can be said about parameters\n";
    else
      print({{"parameter", "importance", "spread"}, {}}, options.format, 0, out);
    return 1;
  }
  const std::vector<double> outcomes = ranks_of(sample.objectives);
  std::vector<BinnedParam> params;
  for (std::size_t i = 0; i < experiment.layout.params.size(); ++i) {
    const ParamColumn::Type type = experiment.layout.params[i].type;
    const bool numeric = type == ParamColumn::Type::real || type == ParamColumn::Type::whole;
    params.push_back(binned(sample, i, numeric, outcomes));
  }
  const Importance found = importance_of(params, outcomes, experiment.seed);
  std::vector<std::size_t> order(params.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return found.share[a] > found.share[b]; });
  Table table;
  table.columns = {"parameter", "importance", "spread"};
  const auto shown = [&](double share) {
    return options.format == Format::people ? std::round(share * 1e4) / 1e4 : share;
  };
  for (const std::size_t i : order)
    table.rows.push_back(
        {experiment.layout.params[i].name, shown(found.share[i]), shown(found.spread[i])});
  print(table, options.format, options.format == Format::people ? terminal_width() : 0, out);
  if (options.format == Format::people) explain(found, sample, out);
  return 0;
}

}  // namespace brood
