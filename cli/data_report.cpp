#include "cli/data_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "cli/asked.h"

namespace brood {

namespace {

constexpr std::size_t kGroupsShown = 5;
constexpr double kBalanced = 1.5;  // largest class over smallest that nobody needs to hear of

std::string percent_text(double share) {
  return shown_number(std::round(share * 1000.0) / 10.0) + " %";
}

void find_in_classes(const DataReport& report, std::vector<std::string>& out) {
  const auto& names = report.dataset->class_names;
  const auto name = [&](int label) { return names[static_cast<std::size_t>(label)]; };
  for (const data::PartStatistics& part : report.parts) {
    if (part.empty_classes > 0)
      out.push_back(part.name + " has no image of " +
                    (part.empty_classes == 1 ? "one class"
                                             : std::to_string(part.empty_classes) + " classes"));
    if (part.imbalance > kBalanced)
      out.push_back(
          part.name + " is unbalanced: " + shown_number(std::round(part.imbalance * 10.0) / 10.0) +
          " images of " + name(part.largest_class) + " for each of " + name(part.smallest_class));
    if (part.blank > 0)
      out.push_back(part.name + " has " + count_text(part.blank, "image") + " of one colour only");
  }
}

void find_drift(const DataReport& report, std::vector<std::string>& out) {
  for (const data::Drift& drift : report.drifts) {
    if (drift.classes_drift)
      out.push_back("classes drift from " + drift.from + " to " + drift.to + ": " +
                    percent_text(drift.class_distance) + " of the images would have to change " +
                    "class, by chance " + percent_text(drift.class_chance));
    if (drift.light_drifts)
      out.push_back("light drifts from " + drift.from + " to " + drift.to + ": a channel's mean " +
                    "moves by " + shown_number(std::round(drift.largest_shift * 100.0) / 100.0) +
                    " standard deviations");
  }
}

void find_duplicates_of(const DataReport& report, std::vector<std::string>& out) {
  const auto& counts = report.duplicates.counts;
  for (std::size_t p = 0; p < counts.size(); ++p)
    for (std::size_t q = p + 1; q < counts.size(); ++q)
      if (counts[p][q] > 0)
        out.push_back(std::to_string(counts[p][q]) + " of the " +
                      count_text(report.parts[q].count, "image") + " of " + report.parts[q].name +
                      (counts[p][q] == 1 ? " is" : " are") + " in " + report.parts[p].name +
                      " too (" +
                      percent_text(static_cast<double>(counts[p][q]) /
                                   static_cast<double>(report.parts[q].count)) +
                      ")");
  for (std::size_t p = 0; p < counts.size(); ++p)
    if (counts[p][p] > 0)
      out.push_back(count_text(counts[p][p], "image") + " of " + report.parts[p].name +
                    (counts[p][p] == 1 ? " is there" : " are there") + " a second time");
  if (report.duplicates.contradictions > 0)
    out.push_back(count_text(report.duplicates.contradictions, "image") +
                  (report.duplicates.contradictions == 1 ? " has" : " have") +
                  " copies with another label");
}

}  // namespace

DataReport make_report(std::string name, std::vector<std::string> files,
                       std::shared_ptr<const data::Dataset> dataset,
                       std::vector<data::PartView> views) {
  DataReport report;
  report.name = std::move(name);
  report.files = std::move(files);
  report.dataset = std::move(dataset);
  report.views = std::move(views);
  for (const data::PartView& view : report.views)
    report.parts.push_back(data::statistics_of(view, report.size(), report.dataset->classes));
  for (std::size_t i = 1; i < report.parts.size(); ++i)
    report.drifts.push_back(data::drift_between(report.parts[0], report.parts[i]));
  report.duplicates = data::find_duplicates(report.views, report.size(), kGroupsShown);
  find_in_classes(report, report.findings);
  find_drift(report, report.findings);
  find_duplicates_of(report, report.findings);
  return report;
}

}  // namespace brood
