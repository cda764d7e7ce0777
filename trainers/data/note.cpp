#include "trainers/data/note.h"

#include <cstdio>

namespace brood::data {

void note(const std::string& text) { std::fprintf(stderr, "brood: note: %s\n", text.c_str()); }

}  // namespace brood::data
