// What the data layer tells a person without being asked: a line on standard error, which is the
// log of a worker.
#pragma once

#include <string>

namespace brood::data {

void note(const std::string& text);

}  // namespace brood::data
