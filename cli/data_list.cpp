// brood data list: every kind of data set that a config can name, and which are there.
#include <filesystem>

#include "cli/asked.h"
#include "cli/data.h"
#include "cli/table.h"
#include "trainers/data/source.h"

namespace brood {

namespace {

struct Entry {
  std::string name;
  data::Contents contents;
  std::string where;    // a folder
  std::string missing;  // why it is not there; empty: it is
  bool found = false;
};

Entry look_for(const data::Format& format, const data::Places& places) {
  Entry out;
  out.name = format.name;
  data::DatasetSpec spec;
  spec.format = format.name;
  try {
    const auto source = data::open_source(spec, places);
    out.contents = source->contents();
    const auto files = source->files();
    out.where =
        files.empty() ? "made up" : std::filesystem::path(files.front()).parent_path().string();
    out.found = true;
  } catch (const UserError& error) {
    out.missing = error.what();
  }
  return out;
}

Table machine_table(const std::vector<Entry>& entries) {
  Table table;
  table.columns = {"name",  "found",    "train",   "test",  "height",
                   "width", "channels", "classes", "where", "why"};
  for (const Entry& entry : entries) {
    const data::Contents& set = entry.contents;
    auto& row = table.rows.emplace_back();
    row.emplace_back(entry.name);
    row.emplace_back(entry.found);
    for (const std::int64_t number :
         {set.train, set.test, std::int64_t{set.height}, std::int64_t{set.width},
          std::int64_t{set.channels}, std::int64_t{set.classes()}}) {
      if (entry.found)
        row.emplace_back(number);
      else
        row.emplace_back();
    }
    row.push_back(text_cell(entry.where));
    row.push_back(text_cell(entry.missing));
  }
  return table;
}

void print_people(const std::vector<Entry>& entries, std::ostream& out) {
  Table table;
  table.columns = {"data set", "train", "test", "pixels", "classes", "where"};
  for (const Entry& entry : entries) {
    if (!entry.found) continue;
    const data::Contents& set = entry.contents;
    table.rows.push_back({entry.name, set.train, set.test,
                          std::to_string(set.height) + "x" + std::to_string(set.width) + "x" +
                              std::to_string(set.channels),
                          std::int64_t{set.classes()}, entry.where});
  }
  print(table, Format::people, terminal_width(), out);
  out << "\nnot found, or in need of more\n";
  for (const Entry& entry : entries)
    if (!entry.found) out << "  " << entry.name << ": " << printable(entry.missing) << "\n";
}

}  // namespace

int data_list_command(const DataListOptions& options, std::ostream& out) {
  data::Places places;
  places.base_dir = std::filesystem::current_path().string();
  if (!options.data_dir.empty())
    places.data_dir = std::filesystem::absolute(options.data_dir).lexically_normal().string();
  std::vector<Entry> entries;
  for (const data::Format& format : data::formats()) entries.push_back(look_for(format, places));
  if (options.json)
    print(machine_table(entries), Format::json, 0, out);
  else
    print_people(entries, out);
  return 0;
}

}  // namespace brood
