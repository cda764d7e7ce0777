// The log of a run: every note and every ended trial with its time, in a file beside the database,
// while another observer shows the run to people.
#pragma once

#include <memory>
#include <string>

#include "engine/progress.h"

namespace brood {

// Appends to the file; both observers hear everything. `shown` outlives the result. Throws
// UserError when the file cannot be opened.
std::unique_ptr<Observer> make_run_log(const std::string& file, Observer& shown);

}  // namespace brood
