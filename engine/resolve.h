// A trainer's JSON block with references to parameters, and the same block for one point.
//
//   {"$param": "name"}  {"$param": "filters[i]"}  {"$expr": "width * 2^(i-1)"}   anywhere
//   {"repeat": {"count": 3, "as": "i", "body": [...]}}                           in a list
//   {"choose": {"by": {"$param": "block"}, "cases": {"plain": [...], ...}}}      in a list
//
// A reference to a parameter that is absent from the point (inactive) removes its key or list
// element; so does an expression, a repeat or a choose that needs one. A counter runs from 1.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/params.h"
#include "engine/space.h"

namespace brood {

// A point for which the block makes no sense: a division by zero, a missing case, a count of a
// thousand. pointer: into the block as written.
class ResolveError : public UserError {
 public:
  explicit ResolveError(Problem problem);
  const Problem& problem() const { return problem_; }

 private:
  Problem problem_;
};

struct Resolved {
  std::string json;                    // no references, repeats and chooses are left in it
  std::vector<std::string> mentioned;  // the parameters it was made of, in the point's order

  // Where a place of `json` comes from: a pointer into the block as written.
  std::string origin(std::string_view pointer) const;

  // Keys and elements left out: where they would be in `json`, and the absent reference as written.
  std::vector<std::pair<std::string, std::string>> removed;

  // Resolved prefix and written prefix, where they differ; children follow their parents.
  std::vector<std::pair<std::string, std::string>> moved;
};

struct TemplateNode;

// Parsed once, resolved for many points: a few microseconds each. Immutable, shared freely between
// threads.
class Template {
 public:
  // Throws ConfigError (file "") with everything wrong with the references, expressions, repeats
  // and chooses themselves, and UserError when the text is not JSON.
  explicit Template(std::string_view block);
  ~Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;

  // Throws ResolveError. Bounds: a count of 1000, 10,000 list elements made by repeats, 16 MB.
  // declared: when given, a computed name (filters[i-1]) that is not among these is an error;
  // otherwise it counts as an inactive parameter.
  Resolved resolve(const ParamSet& params,
                   const std::vector<std::string>* declared = nullptr) const;

  // The parameters that resolve() would mention; all of the point's when resolve() would throw, so
  // that the record of an impossible point shows all of it.
  std::vector<std::string> mentions(const ParamSet& params) const;

  // What is wrong with the block given the parameters that exist: unknown names, cases that cannot
  // happen or are missing, counters named like a parameter, labels in expressions. A constant
  // without a value stands for a parameter of which only the name is known.
  std::vector<Problem> check(const SearchSpace& space) const;

  // The names of the space that the block may mention for some point; all others have no effect.
  std::vector<std::string> reachable(const SearchSpace& space) const;

 private:
  std::unique_ptr<const TemplateNode> root_;
};

}  // namespace brood
