// The search_space block of a config as the fields of a space.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/config_document.h"
#include "engine/error.h"
#include "engine/space.h"

namespace brood {

struct DeclaredField {
  Field field;
  std::string pointer;  // of its declaration; members of a family share one
};

// In declaration order, families spread out. Fields that have problems are left out, but
// `declared` names them too, so that references to them are not complained about as well.
struct DeclaredSpace {
  std::vector<DeclaredField> fields;
  std::vector<std::string> declared;
};

DeclaredSpace read_space(const JsonPlace& place, std::vector<Problem>& problems);

// "filters[1..3]": the members' indices; one for "filters[2]"; empty `members` for a plain name.
// False: neither a name nor a family; `why` says what is wrong.
struct DeclaredName {
  std::string base;
  std::vector<int> members;
};
bool parse_declared_name(const std::string& text, DeclaredName& name, std::string& why);

// A field's `when`: reads the conditions of one member into field.when and says which can never
// hold. `earlier` are the fields declared before it.
void read_conditions(const JsonPlace& when, int member, const std::vector<DeclaredField>& earlier,
                     const std::vector<std::string>& declared, Field& field,
                     std::vector<Problem>& problems);

// "optimizer is sgd", "stages >= 2".
std::string to_text(const Condition& condition);

// A point of the space as a config writes it, {"dropout": 0.3}: all parameters that are active in
// it and no other. nullopt: problems say why not.
std::optional<ParamSet> read_point(const JsonPlace& place, const SearchSpace& space,
                                   std::vector<Problem>& problems);

// The value as the field would hold it: 1 becomes 1.0 in a real field. Unchanged when it does not
// fit.
Value fitted(const Field& field, Value value);

}  // namespace brood
