// The trainer that runs the user's own program, in any language.
//
// The program reads one JSON object a line on its standard input:
//   {"trial": 17, "attempt": 1, "params": {...}, "first_epoch": 1, "last_epoch": 18, "seed": 123,
//    "resume_from": path or null, "save_to": ".../epoch_{epoch}.ckpt" or null,
//    "save_every_epochs": 1}
//   {"stop": true}   save and end          {"save": true}   save after the epoch under way
// and writes to the descriptor named in BROOD_FD (3), one line per epoch, in order:
//   {"epoch": 1, "metrics": {"val_accuracy": 0.81}, "measured": {"seconds": 4.2}}
// Then it ends with status 0; before last_epoch if it likes. NaN and the infinities may be written
// bare, as Python does, or as strings. `measured` holds what may differ from run to run.
//
// A checkpoint is written to save_to, with {epoch} replaced by the number of the last epoch it
// holds, before that epoch's line: then the line tells that the file is whole. Writing beside and
// renaming keeps a torn one from being found.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/trainer.h"

namespace brood {

// The block:
//   argv          the program and its arguments; may hold references
//   environment   variables added to its environment; may hold references
//   epochs        how long a trial trains
//   persistent    one process for many trials (false): it reads the next trial's line when a trial
//                 has ended, names `trial` and `attempt` in every line, and answers a stop of the
//                 trial it runs, and an early end, by {"trial": 17, "attempt": 1, "ended": true}.
//                 A stop names its trial; one of another trial came too late and is ignored
//   stop_grace    how long it may take to obey a stop before it is killed ("5s")
std::unique_ptr<Trainer> make_command(const TrainerSetup& setup);
std::unique_ptr<Planner> make_command_planner(const TrainerSetup& setup);
std::vector<Problem> check_command(const std::string& resolved_json);

}  // namespace brood
