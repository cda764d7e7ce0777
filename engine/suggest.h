// "did you mean": the known word that a mistyped one is nearest to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace brood {

// The nearest known word by edits (insert, delete, replace, swap of neighbours; upper and lower
// case count as equal), when they are at most a third of the longer word's length; ties go to the
// earlier one. Empty when there is none, or when the word is far too long to be a slip.
std::string nearest(std::string_view word, const std::vector<std::string>& known);

// "" or ` (did you mean "x"?)`, ready to be appended to a message.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

}  // namespace brood
