// brood data describe: the data set of a config, or one by itself, in numbers and pictures.
#include <algorithm>
#include <filesystem>
#include <numeric>

#include "cli/config.h"
#include "cli/contact_sheet.h"
#include "cli/data.h"
#include "cli/data_report.h"
#include "cli/table.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/resolve.h"
#include "trainers/cnn/dataset.h"
#include "trainers/data/source.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kColumns = 12, kRowsMax = 200;  // of a contact sheet

// What is to be described: a data set, and the training that divides it, if a config was given.
struct Wanted {
  std::string name;
  data::DatasetSpec spec;
  data::Places places;
  bool divides = false;
  cnn::NetworkSpec network;
  std::uint64_t seed = 0;
};

std::string absolute(const std::string& path) {
  return fs::absolute(path).lexically_normal().string();
}

bool has_references(const Json& json) {
  if (json.is_object() && (json.contains("$param") || json.contains("$expr"))) return true;
  return (json.is_object() || json.is_array()) &&
         std::any_of(json.begin(), json.end(),
                     [](const Json& part) { return has_references(part); });
}

Wanted of_config(const std::string& path) {
  const ExperimentSpec spec = read_config(path);
  if (spec.trainer_name != "cnn")
    throw UserError(path + ": /trainer/name: the data of a " + spec.trainer_name +
                    " trainer is its own; only cnn has a data set to describe");
  const Json trainer = parse_json(spec.trainer);
  if (has_references(trainer.at("dataset")))
    throw UserError(path +
                    ": /trainer/dataset: depends on parameters; name one data set instead: brood "
                    "data describe NAME, or '{\"name\": {settings}}'");
  Wanted out;
  out.name = trainer.at("dataset").dump();
  if (trainer.at("dataset").is_string()) out.name = trainer.at("dataset").get<std::string>();
  // Any point will do: the data set is the same at all.
  Rng rng(spec.seed, 0, Purpose::simulate);
  const Resolved resolved = Template(spec.trainer).resolve(spec.space.mask(spec.space.sample(rng)));
  std::vector<Problem> problems;
  out.network = cnn::parse_network(resolved.json, problems);
  for (const Problem& problem : problems)
    if (problem.pointer.starts_with("/dataset")) throw ConfigError(path, problems);
  out.spec = out.network.dataset;
  out.divides = true;
  out.seed = spec.seed;
  out.places = {spec.data_dir, fs::path(absolute(path)).parent_path().string(), spec.cache_dir};
  return out;
}

Wanted of_dataset(const std::string& text) {
  Wanted out;
  out.name = text;
  std::vector<Problem> problems;
  out.spec =
      data::read_dataset(text.starts_with("{") ? parse_json(text) : Json(text), "", problems);
  if (!problems.empty()) throw ConfigError(text, problems);
  out.places.base_dir = fs::current_path().string();
  return out;
}

Wanted wanted_of(const DataDescribeOptions& options) {
  std::error_code error;
  const bool config = !options.what.starts_with("{") &&
                      (options.what.ends_with(".json") || fs::is_regular_file(options.what, error));
  Wanted out = config ? of_config(options.what) : of_dataset(options.what);
  if (!options.data_dir.empty()) out.places.data_dir = absolute(options.data_dir);
  return out;
}

data::PartView view_of(const std::string& name, const data::Images& images,
                       std::vector<std::uint32_t> samples) {
  // In the order of the file, which is that of the memory.
  std::sort(samples.begin(), samples.end());
  return {name, images.pixels.data(), images.labels.data(), std::move(samples)};
}

std::vector<data::PartView> views_of(const Wanted& wanted, const data::Dataset& set) {
  std::vector<data::PartView> views;
  const auto add = [&](const std::string& name, const data::Images& images,
                       std::vector<std::uint32_t> samples) {
    if (!samples.empty()) views.push_back(view_of(name, images, std::move(samples)));
  };
  const auto all = [](const data::Images& images) {
    std::vector<std::uint32_t> samples(static_cast<std::size_t>(images.count));
    std::iota(samples.begin(), samples.end(), 0U);
    return samples;
  };
  if (!wanted.divides) {
    add("train", set.train, all(set.train));
    add("test", set.test, all(set.test));
    return views;
  }
  cnn::Split split = cnn::make_split(wanted.network, cnn::shape_of(set), wanted.seed);
  add("train", set.train, std::move(split.train));
  add("validation", set.train, std::move(split.validation));
  add("test", set.test, std::move(split.test));
  return views;
}

// Some images of each class of the first part, evenly from its beginning to its end.
std::vector<SheetRow> sheet_rows(const DataReport& report) {
  const data::PartView& view = report.views.front();
  std::vector<std::vector<std::size_t>> of_class(static_cast<std::size_t>(report.dataset->classes));
  for (std::size_t i = 0; i < view.samples.size(); ++i)
    of_class[static_cast<std::size_t>(view.label(i))].push_back(i);
  std::vector<SheetRow> rows;
  for (std::size_t k = 0; k < std::min(of_class.size(), kRowsMax); ++k) {
    const auto& members = of_class[k];
    const std::string label = std::to_string(k);
    const std::string& name = report.dataset->class_names[k];
    SheetRow& row = rows.emplace_back();
    row.name = name == label ? label : label + " " + name;
    row.note = std::to_string(members.size()) + " in " + view.name;
    const std::size_t shown = std::min(members.size(), kColumns);
    for (std::size_t i = 0; i < shown; ++i)
      row.pictures.push_back(view.picture(members[i * members.size() / shown], report.size()));
  }
  return rows;
}

}  // namespace

int data_describe_command(const DataDescribeOptions& options, std::ostream& out) {
  const Wanted wanted = wanted_of(options);
  const auto dataset = data::load_dataset(wanted.spec, wanted.places);
  DataReport report =
      make_report(wanted.name, data::open_source(wanted.spec, wanted.places)->files(), dataset,
                  views_of(wanted, *dataset));
  if (!options.sheet.empty()) {
    write_png(options.sheet, contact_sheet(report.size(), sheet_rows(report)));
    report.sheet = options.sheet;
  }
  if (options.json)
    out << report_json(report) << "\n";
  else
    print_report(report, terminal_width(), out);
  return 0;
}

}  // namespace brood
