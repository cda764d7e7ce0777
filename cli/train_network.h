// Trains one network of the built-in trainer in this process, keeping a checkpoint to go on from.
#pragma once

#include <string>
#include <vector>

#include "cli/train_display.h"
#include "engine/trainer.h"

namespace brood {

struct TrainJob {
  std::string name;  // for messages
  TrainerSetup setup;
  Assignment assignment;           // its last epoch is known
  std::vector<std::string> notes;  // of where it is trained, for people
};

// save: the model's file; empty: it is not kept. Returns 0, or 75 when it was interrupted. Throws
// TrialFailure when the training fails, UserError when the checkpoint is of another training.
int train_network(const TrainJob& job, const std::string& save, TrainDisplay& display);

}  // namespace brood
