// The JSON library whole, for sources that read or make JSON; headers of ours take engine/json.h.
// Its templates are compiled once, in json_library.cpp: each source that does so for itself costs
// the build seconds, ten with sanitizers.
#pragma once

#include <nlohmann/json.hpp>

#include "engine/json.h"

namespace brood::json_library {

using Characters = nlohmann::detail::iterator_input_adapter<const char*>;
using StringCharacters = nlohmann::detail::iterator_input_adapter<std::string::const_iterator>;

}  // namespace brood::json_library

extern template class nlohmann::basic_json<nlohmann::ordered_map>;
extern template class nlohmann::detail::serializer<brood::Json>;
extern template class nlohmann::detail::lexer<brood::Json, brood::json_library::Characters>;
extern template class nlohmann::detail::parser<brood::Json, brood::json_library::Characters>;
extern template class nlohmann::detail::lexer<brood::Json, brood::json_library::StringCharacters>;
extern template class nlohmann::detail::parser<brood::Json, brood::json_library::StringCharacters>;
