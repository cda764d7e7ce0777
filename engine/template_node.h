// The parsed form of a trainer's block, private to engine/resolve*.cpp.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/error.h"
#include "engine/expression.h"

namespace brood {

struct TemplateNode {
  enum class Kind : std::uint8_t {
    literal,     // text: JSON without references
    object,      // items: by their keys
    list,        // items, without keys
    parameter,   // reference
    expression,  // expression
    repeat,      // items: count, body; text: the counter, may be empty
    choose,      // items: by, then one list for each case, by its name
  };
  Kind kind = Kind::literal;
  std::string key;      // in the object it stands in; a case's name
  std::string pointer;  // as written
  std::string text;
  std::vector<TemplateNode> items;
  Reference reference;
  Expression expression;
  bool shifts = false;  // list: its elements may move when it is resolved
};

// Appends to problems; the tree is usable only when it added none. Throws UserError for text that
// is not JSON.
TemplateNode parse_template(std::string_view block, std::vector<Problem>& problems);

}  // namespace brood
