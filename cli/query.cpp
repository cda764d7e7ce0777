// brood query: trials by a filter, or a statement of the user's own.
#include <filesystem>
#include <utility>

#include "cli/asked.h"
#include "engine/error.h"
#include "store/filter.h"

namespace brood {

namespace {

constexpr std::int64_t kLimitForPeople = 50;

// Names between commas, each as it is written in a filter: "odd, name" stands in double quotes.
// given: cut at all commas already, also at those within quotes and brackets.
std::vector<std::string> names_of(const std::vector<std::string>& given) {
  std::vector<std::string> out;
  std::string name;
  bool quoted = false;
  int brackets = 0;
  for (std::size_t i = 0; i < given.size(); ++i) {
    for (const char c : given[i]) {
      if (c == '"')
        quoted = !quoted;
      else
        name += c;
      if (!quoted && c == '[') ++brackets;
      if (!quoted && c == ']') --brackets;
    }
    const bool cut = i + 1 < given.size() && (quoted || brackets > 0);
    if (cut) {
      name += ',';
      continue;
    }
    name.erase(0, name.find_first_not_of(' '));
    name.erase(name.find_last_not_of(' ') + 1);
    out.push_back(std::exchange(name, ""));
    brackets = 0;
  }
  if (quoted) throw UserError("\"" + out.back() + "\": a quote is never closed");
  return out;
}

// `brood query sweep.json`: who names a file where a filter stands means its database.
QueryOptions with_file_understood(QueryOptions options) {
  std::error_code ignored;
  const std::string& text = options.filter;
  if (!text.empty() && std::filesystem::is_regular_file(text, ignored)) {
    if (!options.where.database.empty())
      throw UserError("name the database once: \"" + text + "\" or --db \"" +
                      options.where.database + "\"");
    options.where.database = std::exchange(options.filter, "");
    return options;
  }
  const bool file_name = text.find_first_of(" =<>!()'\"") == std::string::npos &&
                         (text.ends_with(".json") || text.ends_with(".db"));
  if (file_name)
    throw UserError("\"" + text + "\" is no condition, and there is no such file; a database or " +
                    "config is named with --db " + text);
  return options;
}

std::vector<KnownColumn> chosen(const ExperimentRecord& experiment,
                                const std::vector<std::string>& names,
                                const std::vector<KnownColumn>& known) {
  std::vector<std::string> wanted = names_of(names);
  if (wanted.empty()) {
    wanted = {"trial", "state", "objective", "epochs"};
    for (const ParamColumn& param : experiment.layout.params) wanted.push_back(param.column);
  }
  std::vector<KnownColumn> out;
  out.reserve(wanted.size());
  for (const std::string& name : wanted) out.push_back(find_column(name, known));
  return out;
}

// A name may begin with '-': the whole text is tried first.
SortKey sort_key(const std::string& text, const std::vector<KnownColumn>& known) {
  for (const KnownColumn& column : known)
    if (column.name == text) return {column, false};
  const bool descending = text.starts_with("-");
  return {find_column(descending ? text.substr(1) : text, known), descending};
}

Table by_filter(const QueryOptions& options, bool& more) {
  Asked asked = ask(options.where);
  const std::vector<KnownColumn> known = asked.reader.columns(asked.experiment);
  const std::vector<KnownColumn> columns = chosen(asked.experiment, options.columns, known);
  std::vector<SortKey> sort;
  for (const std::string& key : names_of(options.sort)) sort.push_back(sort_key(key, known));
  if (options.limit && *options.limit < 0)
    throw UserError("--limit is " + std::to_string(*options.limit) + ": it counts rows");
  const bool curbed = !options.limit && options.format == Format::people;
  std::optional<std::int64_t> limit = options.limit;
  if (curbed) limit = kLimitForPeople + 1;
  Rows rows = asked.reader.query(asked.experiment, columns, parse_filter(options.filter, known),
                                 sort, limit);
  more = curbed && rows.rows.size() > kLimitForPeople;
  if (more) rows.rows.pop_back();
  return {std::move(rows.columns), std::move(rows.rows)};
}

}  // namespace

int query_command(const QueryOptions& given, std::ostream& out) {
  const QueryOptions options = with_file_understood(given);
  Table table;
  bool more = false;
  if (!options.sql.empty()) {
    if (!options.filter.empty() || !options.columns.empty() || !options.sort.empty())
      throw UserError("--sql is a whole query: it goes without a filter, --columns and --sort");
    Rows rows = Reader(resolved(options.where).database).sql(options.sql);
    table = {std::move(rows.columns), std::move(rows.rows)};
  } else {
    table = by_filter(options, more);
  }
  if (table.rows.empty() && options.format == Format::people) {
    out << "no rows\n";
    return 1;
  }
  print(table, options.format, options.format == Format::people ? terminal_width() : 0, out);
  if (more) out << "... and more: see them with --limit, --csv or --json\n";
  return table.rows.empty() ? 1 : 0;
}

}  // namespace brood
