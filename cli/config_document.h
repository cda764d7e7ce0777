// A JSON text with comments as a tree that remembers where each value stands, so that whoever reads
// it can say what is wrong with it. Hides the JSON library from the readers.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/params.h"

namespace brood {

// A value in a Document, which must outlive it.
class JsonPlace {
 public:
  enum class Kind : std::uint8_t { null, flag, whole, real, text, list, object };

  JsonPlace(const nlohmann::ordered_json* json, std::string pointer)
      : json_(json), pointer_(std::move(pointer)) {}

  Kind kind() const;
  const std::string& pointer() const { return pointer_; }
  std::string key() const;  // the last token of the pointer, unescaped

  std::vector<std::pair<std::string, JsonPlace>> members()
      const;                                                  // of an object, as written; else none
  std::vector<JsonPlace> elements() const;                    // of a list; else none
  std::optional<JsonPlace> find(std::string_view key) const;  // of an object
  std::optional<Value> scalar() const;  // a switch, a label or a number that can be held
  std::optional<std::string> text() const;
  std::optional<double> number() const;
  std::string dump() const;   // compact JSON
  std::string shown() const;  // the same, cut to 60 characters, for messages

 private:
  const nlohmann::ordered_json* json_;
  std::string pointer_;
};

class Document {
 public:
  // Comments are allowed; at most 64 levels. Throws UserError with line and column. Keys that stand
  // twice in one object become problems.
  Document(std::string_view text, std::vector<Problem>& problems);
  ~Document();
  Document(Document&&) noexcept;

  // "trainer.epochs=3", or with a JSON pointer "/trainer/epochs=3". The value is JSON, or else a
  // text. Objects on the way are made when they are missing. Throws UserError. Returns the pointer.
  std::string set(const std::string& assignment);

  JsonPlace root() const;

  // Keys sorted, comments gone; only search_space keeps its order, which has a meaning.
  std::string canonical() const;

  // Puts problems into the order in which their places stand in the text.
  void sort(std::vector<Problem>& problems) const;

 private:
  std::unique_ptr<nlohmann::ordered_json> json_;
};

// The text of a config file. Throws UserError when it is missing, a folder, not readable, empty,
// not text or above 16 MiB.
std::string read_config_file(const std::string& path);

}  // namespace brood
