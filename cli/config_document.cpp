#include "cli/config_document.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "engine/json.h"
#include "engine/json_library.h"
#include "engine/json_text.h"

namespace brood {

namespace {

constexpr std::size_t kBytesMax = std::size_t{16} << 20;
constexpr std::size_t kDepthMax = 64;
// What --set lifts with "none", as `brood set` does: without the key there is no limit.
constexpr std::array<std::string_view, 5> kLimits = {
    "/objective/target", "/budget/max_trials", "/budget/max_failed_trials", "/budget/max_wall_time",
    "/budget/max_trial_time"};

// First pass over the text: bounds the depth, finds keys that stand twice (the library would keep
// one of them in silence) and says where the text is broken.
class Scan : public nlohmann::json_sax<Json> {
 public:
  explicit Scan(std::vector<Problem>& problems) : problems_(problems) {}

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    Level& level = levels_.back();
    level.token = "/" + pointer_token(name);
    if (!level.keys.insert(name).second)
      problems_.push_back({pointer(), "this key stands twice in its object: keep one"});
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const Json::exception& error) override {
    std::string why = error.what();
    const std::size_t at = why.find("parse error at ");
    why = at != std::string::npos ? why.substr(at + 15) : why.substr(why.find(']') + 2);
    throw UserError("not valid JSON: " + why);
  }

 private:
  struct Level {
    bool list = false;
    std::size_t next = 0;
    std::string token;
    std::set<std::string> keys;
  };

  std::string pointer() const {
    std::string text;
    for (const Level& level : levels_) text += level.token;
    return text;
  }

  bool value() {
    if (levels_.empty() || !levels_.back().list) return true;
    levels_.back().token = "/" + std::to_string(levels_.back().next++);
    return true;
  }

  bool open(bool list) {
    value();
    if (levels_.size() == kDepthMax)
      throw UserError("nested deeper than 64 levels: " + pointer().substr(0, 80) + "...");
    levels_.push_back({list, 0, "", {}});
    return true;
  }

  bool close() {
    levels_.pop_back();
    return true;
  }

  std::vector<Problem>& problems_;
  std::vector<Level> levels_;
};

// A path in dots. Keys may hold dots themselves (filters[1..3]): the longest existing key wins.
std::vector<std::string> split_path(const Json& root, const std::string& path) {
  std::vector<std::string> keys;
  const Json* at = &root;
  std::string rest = path;
  while (!rest.empty()) {
    std::size_t length = rest.find('.');
    if (at != nullptr && at->is_object())
      for (const auto& [key, item] : at->items())
        if (rest.starts_with(key) && (rest.size() == key.size() || rest[key.size()] == '.'))
          length = length == std::string::npos ? key.size() : std::max(length, key.size());
    const std::string key = rest.substr(0, length);
    rest = length >= rest.size() ? "" : rest.substr(length + 1);
    keys.push_back(key);
    at = at != nullptr && at->is_object() && at->contains(key) ? &(*at)[key] : nullptr;
  }
  return keys;
}

std::vector<std::string> split_pointer(const std::string& pointer) {
  std::vector<std::string> keys;
  for (std::size_t at = 0; at < pointer.size();) {
    const std::size_t end = std::min(pointer.find('/', at + 1), pointer.size());
    std::string key = pointer.substr(at + 1, end - at - 1);
    for (std::size_t i = 0; (i = key.find('~', i)) != std::string::npos; ++i)
      key.replace(i, 2, key.substr(i, 2) == "~1" ? "/" : "~");
    keys.push_back(key);
    at = end;
  }
  return keys;
}

Json value_of(const std::string& text) {
  try {
    return parse_json(text);
  } catch (const UserError&) {
    return Json(text);
  }
}

Json sorted(const Json& json, bool keep_order) {
  if (json.is_array()) {
    Json out = Json::array();
    for (const Json& item : json) out.push_back(sorted(item, false));
    return out;
  }
  if (!json.is_object()) return json;
  std::vector<std::string> keys;
  for (const auto& [key, item] : json.items()) keys.push_back(key);
  if (!keep_order) std::sort(keys.begin(), keys.end());
  Json out = Json::object();
  for (const std::string& key : keys) out[key] = sorted(json[key], false);
  return out;
}

void number_places(const Json& json, const std::string& pointer,
                   std::map<std::string, std::size_t>& order) {
  order.emplace(pointer, order.size());
  if (json.is_object())
    for (const auto& [key, item] : json.items())
      number_places(item, pointer + "/" + pointer_token(key), order);
  if (json.is_array())
    for (std::size_t i = 0; i < json.size(); ++i)
      number_places(json[i], pointer + "/" + std::to_string(i), order);
}

}  // namespace

JsonPlace::Kind JsonPlace::kind() const {
  if (json_->is_boolean()) return Kind::flag;
  if (json_->is_number_integer()) return Kind::whole;
  if (json_->is_number()) return Kind::real;
  if (json_->is_string()) return Kind::text;
  if (json_->is_array()) return Kind::list;
  return json_->is_object() ? Kind::object : Kind::null;
}

std::string JsonPlace::key() const {
  const std::vector<std::string> keys = split_pointer(pointer_);
  return keys.empty() ? "" : keys.back();
}

std::vector<std::pair<std::string, JsonPlace>> JsonPlace::members() const {
  std::vector<std::pair<std::string, JsonPlace>> out;
  if (json_->is_object())
    for (const auto& [key, item] : json_->items())
      out.emplace_back(key, JsonPlace(&item, pointer_ + "/" + pointer_token(key)));
  return out;
}

std::vector<JsonPlace> JsonPlace::elements() const {
  std::vector<JsonPlace> out;
  if (json_->is_array())
    for (std::size_t i = 0; i < json_->size(); ++i)
      out.emplace_back(&(*json_)[i], pointer_ + "/" + std::to_string(i));
  return out;
}

std::optional<JsonPlace> JsonPlace::find(std::string_view key) const {
  if (!json_->is_object()) return std::nullopt;
  const auto at = json_->find(std::string(key));
  if (at == json_->end()) return std::nullopt;
  return JsonPlace(&*at, pointer_ + "/" + pointer_token(key));
}

std::optional<Value> JsonPlace::scalar() const {
  try {
    return value_from_json(*json_);
  } catch (const UserError&) {
    return std::nullopt;
  }
}

std::optional<std::string> JsonPlace::text() const {
  return json_->is_string() ? std::optional(json_->get<std::string>()) : std::nullopt;
}

std::optional<double> JsonPlace::number() const {
  return json_->is_number() ? std::optional(json_->get<double>()) : std::nullopt;
}

std::string JsonPlace::dump() const {
  return json_->dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string JsonPlace::shown() const {
  constexpr std::size_t kShownMax = 60;
  std::string text = dump();
  if (text.size() <= kShownMax) return text;
  std::size_t cut = kShownMax - 3;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;  // UTF-8
  return text.substr(0, cut) + "...";
}

Document::Document(std::string_view text, std::vector<Problem>& problems) {
  Scan scan(problems);
  if (!Json::sax_parse(text, &scan, Json::input_format_t::json, true, true))
    throw UserError("not valid JSON");
  json_ = std::make_unique<Json>(Json::parse(text, nullptr, true, true));
}

Document::~Document() = default;
Document::Document(Document&&) noexcept = default;

std::string Document::set(const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  const std::string path = assignment.substr(0, equals);
  if (equals == std::string::npos || path.empty())
    throw UserError("--set " + assignment + ": expected a path and a value, like trainer.epochs=3");
  const bool is_pointer = path.front() == '/';
  const std::vector<std::string> keys = is_pointer ? split_pointer(path) : split_path(*json_, path);
  if (keys.size() > kDepthMax) throw UserError("--set " + path + ": the path is too long");
  Json* at = json_.get();
  std::string pointer;
  for (const std::string& key : keys) {
    const std::string parent = pointer;
    pointer += "/" + pointer_token(key);
    if (at->is_object()) {
      at = &(*at)[key];
    } else if (at->is_array()) {
      std::size_t index = 0;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error != std::errc() || end != key.data() + key.size() || index >= at->size())
        throw UserError("--set " + assignment + ": " + parent + " is a list of " +
                        std::to_string(at->size()) + " elements, counted from 0: it has no \"" +
                        key + "\"");
      at = &(*at)[index];
    } else if (at->is_null()) {
      *at = Json::object();
      at = &(*at)[key];
    } else {
      throw UserError("--set " + assignment + ": " + (parent.empty() ? "the config" : parent) +
                      " is " + JsonPlace(at, "").shown() + ", so it has no \"" + key + "\"");
    }
  }
  const std::string text = assignment.substr(equals + 1);
  if (text == "none" && std::find(kLimits.begin(), kLimits.end(), pointer) != kLimits.end())
    (*json_)[keys.front()].erase(keys.back());
  else
    *at = value_of(text);
  return pointer;
}

JsonPlace Document::root() const { return JsonPlace(json_.get(), ""); }

std::string Document::canonical() const {
  Json out = sorted(*json_, false);
  if (out.is_object()) {
    out.erase("$schema");  // for editors
    if (out.contains("search_space")) out["search_space"] = sorted((*json_)["search_space"], true);
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

void Document::sort(std::vector<Problem>& problems) const {
  std::map<std::string, std::size_t> order;
  number_places(*json_, "", order);
  const auto rank = [&](const Problem& problem) {
    std::string pointer = problem.pointer;
    while (!pointer.empty() && !order.contains(pointer))
      pointer.resize(pointer.rfind('/') == std::string::npos ? 0 : pointer.rfind('/'));
    return order[pointer];
  };
  std::stable_sort(problems.begin(), problems.end(),
                   [&](const Problem& a, const Problem& b) { return rank(a) < rank(b); });
}

std::string read_config_file(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (!fs::exists(status))
    throw UserError(path + ": there is no such file (" +
                    (failed ? failed.message() : std::string("not found")) + ")");
  if (fs::is_directory(status))
    throw UserError(path + ": this is a folder; name the config file in it");
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) throw UserError(path + ": cannot be read: " + std::strerror(errno));
  // Piece by piece: to make room for the largest at once takes longer than all else.
  std::string text;
  std::array<char, 65536> piece{};
  while (text.size() <= kBytesMax && (in.read(piece.data(), piece.size()) || in.gcount() > 0))
    text.append(piece.data(), static_cast<std::size_t>(in.gcount()));
  if (in.bad()) throw UserError(path + ": cannot be read: " + std::strerror(errno));
  if (text.size() > kBytesMax)
    throw UserError(path + ": above 16 MiB: this is no config, or one made by a broken program");
  if (text.find_first_not_of(" \t\r\n") == std::string::npos)
    throw UserError(path + ": the file is empty; examples/ has configs to start from");
  if (text.find('\0') != std::string::npos)
    throw UserError(path +
                    (text.starts_with("SQLite format 3")
                         ? ": this is a database, not a config; try: brood status "
                         : ": this is a binary file, not a config ") +
                    (text.starts_with("SQLite") ? path : ""));
  return text;
}

}  // namespace brood
