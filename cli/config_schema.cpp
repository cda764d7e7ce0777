// The key table as the reference page and as a JSON Schema for editors.
#include <algorithm>

#include "cli/config_keys.h"
#include "engine/json_text.h"

namespace brood {

namespace {

using Form = ConfigKey::Form;
using Need = ConfigKey::Need;

std::string type_word(const ConfigKey& key) {
  switch (key.form) {
    case Form::text:
      return "text";
    case Form::flag:
      return "true or false";
    case Form::whole:
      return "whole number";
    case Form::real:
      return "number";
    case Form::choice: {
      std::string words(key.choices);
      for (std::size_t at = 0; (at = words.find('|', at)) != std::string::npos; at += 2)
        words.replace(at, 1, ", ");
      return words;
    }
    case Form::duration:
      return "duration";
    case Form::size:
      return "size";
    case Form::list:
      return "list";
    case Form::object:
      return "object";
    case Form::executors:
      return "auto or whole number";
    case Form::devices:
      return "auto, cpu or list";
    case Form::bound:
      return "number or size";
    case Form::any:
      break;
  }
  return "any";
}

std::string schema_type(const ConfigKey& key) {
  const auto type = [](const char* name) { return std::string("\"type\": \"") + name + "\""; };
  switch (key.form) {
    case Form::text:
    case Form::duration:
      return type("string");
    case Form::size:
      return R"("type": ["string", "integer"])";
    case Form::flag:
      return type("boolean");
    case Form::whole:
      return type("integer");
    case Form::real:
      return type("number");
    case Form::list:
      return type("array");
    case Form::object:
      return type("object");
    case Form::executors:
      return R"("type": ["string", "integer"])";
    case Form::devices:
      return R"("type": ["string", "array"])";
    case Form::bound:
      return R"("type": ["string", "number"])";
    case Form::choice: {
      std::string words = json_quoted(key.choices);
      for (std::size_t at = 0; (at = words.find('|', at)) != std::string::npos; at += 4)
        words.replace(at, 1, "\", \"");
      return "\"enum\": [" + words + "]";
    }
    case Form::any:
      break;
  }
  return "";
}

// The section that describes what is inside a key; "" when that is not brood's to say.
std::string inside(const ConfigKey& key) {
  if (key.section.empty() && key.name == "constraints") return "constraints[]";
  if (key.section.empty() && key.name == "search_space") return "search_space.*";
  return (key.section.empty() ? "" : std::string(key.section) + ".") + std::string(key.name);
}

std::string object_schema(std::string_view section, const std::string& indent);

std::string key_schema(const ConfigKey& key, const std::string& indent) {
  std::string text = schema_type(key);
  const auto add = [&](const std::string& part) { text += (text.empty() ? "" : ", ") + part; };
  add("\"description\": " + json_quoted(key.meaning));
  if (!key.fallback.empty()) add("\"default\": " + std::string(key.fallback));
  const std::string section = inside(key);
  const auto sections = config_sections();
  if (std::find(sections.begin(), sections.end(), section) != sections.end() && !section.empty()) {
    const std::string object = object_schema(section, indent + "  ");
    if (key.form == Form::list)
      add("\"items\": {" + object + "}");
    else if (section == "search_space.*")
      add("\"additionalProperties\": {\"anyOf\": [{\"type\": [\"array\", \"string\", \"number\", "
          "\"boolean\"]}, {\"type\": \"object\", " +
          object + "}]}");
    else
      add(object);
  }
  return text;
}

std::string object_schema(std::string_view section, const std::string& indent) {
  std::string properties, required;
  for (const ConfigKey& key : config_keys()) {
    if (key.section != section || key.need == Need::later) continue;
    properties += (properties.empty() ? "\n" : ",\n") + indent + "  " + json_quoted(key.name) +
                  ": {" + key_schema(key, indent + "  ") + "}";
    if (key.need == Need::required)
      required += (required.empty() ? "" : ", ") + json_quoted(key.name);
  }
  std::string text = "\"properties\": {" + properties + "\n" + indent + "}";
  // A trainer's other keys are its own.
  if (section != "trainer") text += ", \"additionalProperties\": false";
  if (!required.empty()) text += ", \"required\": [" + required + "]";
  return text;
}

}  // namespace

std::string markdown_table(std::string_view section) {
  std::string text = "| key | type | default | meaning | example |\n|---|---|---|---|---|\n";
  for (const ConfigKey& key : config_keys()) {
    if (key.section != section) continue;
    text += "| `" + std::string(key.name) + "` | ";
    if (key.need == Need::later) {
      text += "| | comes with a later version: " + std::string(key.meaning) + " | |\n";
      continue;
    }
    const std::string fallback = key.need == Need::required ? "required"
                                 : key.fallback.empty()     ? "none"
                                                            : "`" + std::string(key.fallback) + "`";
    text += type_word(key) + " | " + fallback + " | " + std::string(key.meaning) + " | `" +
            std::string(key.example) + "` |\n";
  }
  return text;
}

std::string json_schema() {
  return "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
         "  \"title\": \"brood experiment\",\n  \"type\": \"object\",\n  " +
         object_schema("", "  ") + "\n}\n";
}

}  // namespace brood
