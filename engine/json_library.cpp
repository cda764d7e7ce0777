// Compiles the templates of the JSON library once for all of brood.
#include "engine/json_library.h"

template class nlohmann::basic_json<nlohmann::ordered_map>;
template class nlohmann::detail::serializer<brood::Json>;
template class nlohmann::detail::lexer<brood::Json, brood::json_library::Characters>;
template class nlohmann::detail::parser<brood::Json, brood::json_library::Characters>;
template class nlohmann::detail::lexer<brood::Json, brood::json_library::StringCharacters>;
template class nlohmann::detail::parser<brood::Json, brood::json_library::StringCharacters>;
