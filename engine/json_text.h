// Small pieces of JSON and JSON pointers as text, for sources that do without the JSON library.
#pragma once

#include <string>
#include <string_view>

namespace brood {

// `/` and `~` in a key as RFC 6901 writes them.
std::string pointer_token(std::string_view key);

// As a JSON string with its quotes.
std::string json_quoted(std::string_view text);

}  // namespace brood
