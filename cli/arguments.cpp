#include "cli/arguments.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <sstream>

#include "engine/error.h"

namespace brood {

namespace po = boost::program_options;

namespace {

std::string long_name(const Argument& argument) {
  return argument.name.substr(0, argument.name.find(','));
}

po::options_description describe(const std::vector<Argument>& known, bool positional_too) {
  po::options_description out;
  for (const Argument& a : known) {
    if (a.positional && !positional_too) continue;
    if (a.takes == Argument::Takes::nothing)
      out.add_options()(a.name.c_str(), a.help.c_str());
    else if (a.takes == Argument::Takes::one)
      out.add_options()(a.name.c_str(), po::value<std::string>()->value_name("VALUE"),
                        a.help.c_str());
    else
      out.add_options()(a.name.c_str(),
                        po::value<std::vector<std::string>>()->composing()->value_name("VALUE"),
                        a.help.c_str());
  }
  return out;
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

}  // namespace

Arguments::Arguments(const std::string& command, const std::vector<Argument>& known,
                     const std::vector<std::string>& words)
    : command_(command) {
  po::positional_options_description positions;
  for (const Argument& a : known)
    if (a.positional)
      positions.add(long_name(a).c_str(), a.takes == Argument::Takes::many ? -1 : 1);
  po::variables_map map;
  try {
    po::store(
        po::command_line_parser(words)
            .options(describe(known, true))
            .positional(positions)
            .style(po::command_line_style::unix_style & ~po::command_line_style::allow_guessing)
            .run(),
        map);
  } catch (const po::error& error) {
    throw UserError("brood " + command + ": " + error.what() + "; see `brood " + command +
                    " --help`");
  }
  for (const Argument& a : known) {
    const std::string name = long_name(a);
    if (map.count(name) == 0) {
      if (a.required)
        throw UserError("brood " + command + ": " + upper(name) + " is missing; see `brood " +
                        command + " --help`");
      continue;
    }
    Given given{name, {}};
    if (a.takes == Argument::Takes::one) given.values = {map[name].as<std::string>()};
    if (a.takes == Argument::Takes::many) given.values = map[name].as<std::vector<std::string>>();
    given_.push_back(std::move(given));
  }
}

const Arguments::Given* Arguments::find(const std::string& name) const {
  const auto at = std::find_if(given_.begin(), given_.end(),
                               [&](const Given& given) { return given.name == name; });
  return at == given_.end() ? nullptr : &*at;
}

bool Arguments::has(const std::string& name) const { return find(name) != nullptr; }

std::string Arguments::text(const std::string& name) const {
  const Given* given = find(name);
  return given == nullptr || given->values.empty() ? std::string() : given->values.front();
}

std::vector<std::string> Arguments::list(const std::string& name) const {
  const Given* given = find(name);
  return given == nullptr ? std::vector<std::string>() : given->values;
}

std::optional<std::int64_t> Arguments::whole(const std::string& name, std::int64_t min) const {
  if (!has(name)) return std::nullopt;
  const std::string value = text(name);
  std::int64_t out = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), out);
  if (error != std::errc() || end != value.data() + value.size() || out < min)
    throw UserError("brood " + command_ + ": " + name + " should be a whole number of at least " +
                    std::to_string(min) + " (is \"" + value + "\")");
  return out;
}

std::string usage(const std::string& command, const std::string& summary,
                  const std::vector<Argument>& known) {
  std::ostringstream out;
  out << "Usage: brood " << command;
  for (const Argument& a : known)
    if (a.positional)
      out << (a.required ? " " : " [") << upper(long_name(a))
          << (a.takes == Argument::Takes::many ? "..." : "") << (a.required ? "" : "]");
  out << " [options]\n\n" << summary << "\n\n";
  for (const Argument& a : known)
    if (a.positional) out << "  " << upper(long_name(a)) << ": " << a.help << "\n";
  out << describe(known, false);
  return out.str();
}

}  // namespace brood
