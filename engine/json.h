// Engine types as JSON: the one codec of the wire, the store and the command line.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/params.h"
#include "engine/trial.h"

namespace brood {

using Json = nlohmann::ordered_json;

// Real numbers keep a fraction or exponent (1.0), so they read back as real. NaN and the
// infinities, which JSON lacks, are the strings "NaN", "Infinity", "-Infinity" where a number is
// expected.
Json to_json(const Value& value);
Json to_json(const ParamSet& params);
Json to_json(const Report& report);  // {"epoch": 1, "metrics": {...}, "measured": {...}}
Json number_to_json(double value);

// These throw UserError, naming what was found, for anything that to_json cannot have made.
Value value_from_json(const Json& json);
ParamSet params_from_json(const Json& json);
Report report_from_json(const Json& json);
double number_from_json(const Json& json);

// Parses text with a bound on nesting (128) and // comments allowed or not. Throws UserError with
// line and column.
Json parse_json(std::string_view text, bool comments = false);

}  // namespace brood
