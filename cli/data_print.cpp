// The report on a data set for people and as JSON.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "cli/asked.h"
#include "cli/data_report.h"
#include "cli/table.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/units.h"

namespace brood {

namespace {

constexpr std::size_t kClassesShown = 100, kEndsShown = 20;

// Four digits after the point: enough to see, few enough to read.
Cell rounded(double value) { return std::round(value * 1e4) / 1e4; }

std::string plural(std::int64_t count, const std::string& one, const std::string& many) {
  return std::to_string(count) + " " + (count == 1 ? one : many);
}

void print_head(const DataReport& report, std::ostream& out) {
  const data::Dataset& set = *report.dataset;
  std::int64_t images = 0;
  for (const data::PartStatistics& part : report.parts) images += part.count;
  out << "data set   " << printable(report.name) << "\n";
  out << "images     " << images << " of " << set.height << "x" << set.width << " pixels, "
      << plural(set.channels, "channel", "channels") << ", "
      << plural(set.classes, "class", "classes") << "; " << size_text(set.bytes()) << " decoded\n";
  if (report.files.empty()) return;
  out << "read from  " << printable(report.files.front());
  if (report.files.size() > 1)
    out << " and " << plural(static_cast<std::int64_t>(report.files.size()) - 1, "file", "files")
        << " more";
  out << "\n";
}

Table part_table(const DataReport& report) {
  Table table;
  table.columns = {"part", "images", "largest class", "smallest", "ratio", "entropy", "most"};
  for (const data::PartStatistics& part : report.parts) {
    const auto of = [&](int label) { return part.class_counts[static_cast<std::size_t>(label)]; };
    table.rows.push_back(
        {part.name, part.count, of(part.largest_class),
         part.empty_classes > 0 ? Cell(std::int64_t{0}) : Cell(of(part.smallest_class)),
         rounded(part.imbalance), rounded(part.entropy),
         rounded(std::log2(report.dataset->classes))});
  }
  return table;
}

// Of many classes the largest and the smallest of the first part.
std::vector<std::size_t> shown_classes(const DataReport& report) {
  const auto& counts = report.parts.front().class_counts;
  std::vector<std::size_t> order(counts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (order.size() <= kClassesShown) return order;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return counts[a] > counts[b]; });
  order.erase(order.begin() + kEndsShown, order.end() - kEndsShown);
  return order;
}

Table class_table(const DataReport& report) {
  Table table;
  table.columns = {"label", "class"};
  for (const data::PartStatistics& part : report.parts) table.columns.push_back(part.name);
  table.columns.push_back("share of " + report.parts.front().name);
  for (const std::size_t label : shown_classes(report)) {
    auto& row = table.rows.emplace_back();
    row.emplace_back(static_cast<std::int64_t>(label));
    row.emplace_back(report.dataset->class_names[label]);
    for (const data::PartStatistics& part : report.parts)
      row.emplace_back(part.class_counts[label]);
    const data::PartStatistics& first = report.parts.front();
    row.push_back(rounded(static_cast<double>(first.class_counts[label]) /
                          static_cast<double>(std::max<std::int64_t>(1, first.count))));
  }
  return table;
}

Table pixel_table(const DataReport& report) {
  Table table;
  table.columns = {"part", "channel", "mean", "std", "min", "max"};
  for (const data::PartStatistics& part : report.parts)
    for (std::size_t c = 0; c < part.channels.size(); ++c) {
      const data::ChannelStatistics& channel = part.channels[c];
      table.rows.push_back({part.name, static_cast<std::int64_t>(c), rounded(channel.mean),
                            rounded(channel.deviation), rounded(channel.least),
                            rounded(channel.most)});
    }
  return table;
}

std::string verdict(const data::Drift& drift) {
  if (drift.classes_drift && drift.light_drifts) return "classes and light drift";
  if (drift.classes_drift) return "classes drift";
  return drift.light_drifts ? "light drifts" : "none";
}

Table drift_table(const DataReport& report) {
  Table table;
  table.columns = {"from", "to", "classes", "by chance", "light", "by chance", "drift"};
  for (const data::Drift& drift : report.drifts)
    table.rows.push_back({drift.from, drift.to, rounded(drift.class_distance),
                          rounded(drift.class_chance), rounded(drift.largest_shift),
                          rounded(drift.shift_chance), verdict(drift)});
  return table;
}

std::string group_text(const DataReport& report, const std::vector<data::PictureAt>& group) {
  constexpr std::size_t kShown = 6;
  std::string out;
  for (std::size_t i = 0; i < std::min(group.size(), kShown); ++i) {
    const data::PictureAt& at = group[i];
    out += (i > 0 ? " = " : "") + report.parts[static_cast<std::size_t>(at.part)].name + " " +
           std::to_string(at.sample) + " (" +
           report.dataset->class_names[static_cast<std::size_t>(at.label)] + ")";
  }
  if (group.size() > kShown) out += " = " + std::to_string(group.size() - kShown) + " more";
  return out;
}

void print_duplicates(const DataReport& report, std::ostream& out) {
  const data::Duplicates& found = report.duplicates;
  if (found.groups == 0) return;
  out << "\nequal images (each with its number in its file, from 0)\n";
  for (const auto& group : found.contradicting)
    out << "  " << printable(group_text(report, group)) << "\n";
  for (const auto& group : found.agreeing)
    out << "  " << printable(group_text(report, group)) << "\n";
  const std::int64_t more =
      found.groups - static_cast<std::int64_t>(found.contradicting.size() + found.agreeing.size());
  if (more > 0) out << "  ... and " << plural(more, "group", "groups") << " more\n";
}

Json part_json(const DataReport& report, const data::PartStatistics& part) {
  Json channels = Json::array();
  for (const data::ChannelStatistics& channel : part.channels)
    channels.push_back({{"mean", channel.mean},
                        {"std", channel.deviation},
                        {"min", channel.least},
                        {"max", channel.most}});
  return {{"name", part.name},
          {"images", part.count},
          {"class_counts", part.class_counts},
          {"empty_classes", part.empty_classes},
          {"imbalance", part.imbalance},
          {"entropy_bits", part.entropy},
          {"entropy_bits_max", std::log2(report.dataset->classes)},
          {"blank", part.blank},
          {"channels", std::move(channels)}};
}

Json duplicates_json(const DataReport& report) {
  const data::Duplicates& found = report.duplicates;
  Json within = Json::object(), across = Json::array(), groups = Json::array();
  for (std::size_t p = 0; p < report.parts.size(); ++p) {
    within[report.parts[p].name] = found.counts[p][p];
    for (std::size_t q = p + 1; q < report.parts.size(); ++q)
      across.push_back({{"from", report.parts[p].name},
                        {"to", report.parts[q].name},
                        {"images", found.counts[p][q]}});
  }
  for (const auto* list : {&found.contradicting, &found.agreeing})
    for (const auto& group : *list) {
      Json& members = groups.emplace_back(Json::array());
      for (const data::PictureAt& at : group)
        members.push_back({{"part", report.parts[static_cast<std::size_t>(at.part)].name},
                           {"image", at.sample},
                           {"label", at.label}});
    }
  return {{"groups", found.groups},
          {"contradictions", found.contradictions},
          {"within", std::move(within)},
          {"across", std::move(across)},
          {"first_groups", std::move(groups)}};
}

}  // namespace

void print_report(const DataReport& report, int width, std::ostream& out) {
  print_head(report, out);
  out << "\nparts (entropy of the classes in bits, and the most it can be)\n";
  print(part_table(report), Format::people, width, out);
  out << "\nclasses";
  if (report.dataset->classes > static_cast<int>(kClassesShown))
    out << " (the " << kEndsShown << " largest and the " << kEndsShown << " smallest of "
        << report.dataset->classes << "; --json has all)";
  out << "\n";
  print(class_table(report), Format::people, width, out);
  out << "\npixels (0 to 1)\n";
  print(pixel_table(report), Format::people, width, out);
  if (!report.drifts.empty()) {
    out << "\ndrift (classes: the share of images that would have to change class; light: the "
           "shift\nof a channel's mean in standard deviations; by chance: what fair draws have)\n";
    print(drift_table(report), Format::people, width, out);
  }
  print_duplicates(report, out);
  out << "\nto know\n";
  for (const std::string& finding : report.findings) out << "  " << printable(finding) << "\n";
  if (report.findings.empty())
    out << "  nothing: the classes are balanced, the parts are alike, no image is there twice\n";
  if (!report.sheet.empty()) out << "\ncontact sheet: " << printable(report.sheet) << "\n";
}

std::string report_json(const DataReport& report) {
  const data::Dataset& set = *report.dataset;
  Json json = {{"dataset", report.name},    {"files", report.files},    {"height", set.height},
               {"width", set.width},        {"channels", set.channels}, {"bytes", set.bytes()},
               {"classes", set.class_names}};
  json["parts"] = Json::array();
  for (const data::PartStatistics& part : report.parts)
    json["parts"].push_back(part_json(report, part));
  json["drift"] = Json::array();
  for (const data::Drift& drift : report.drifts)
    json["drift"].push_back({{"from", drift.from},
                             {"to", drift.to},
                             {"class_distance", drift.class_distance},
                             {"class_distance_by_chance", drift.class_chance},
                             {"mean_shift", drift.mean_shift},
                             {"mean_shift_by_chance", drift.shift_chance},
                             {"verdict", verdict(drift)}});
  json["duplicates"] = duplicates_json(report);
  json["findings"] = report.findings;
  if (!report.sheet.empty()) json["sheet"] = report.sheet;
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace brood
