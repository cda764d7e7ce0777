// The life of a worker process: setup, trainer, frames, until its supervisor lets go of it.
#pragma once

#include <functional>
#include <memory>

#include "engine/descriptor.h"
#include "engine/trainer.h"

namespace brood {

using TrainerFactory = std::function<std::unique_ptr<Trainer>(const TrainerSetup&)>;

// The descriptor a worker's control socket has in its process.
inline constexpr int kControlDescriptor = 3;

// Returns the exit status of the process: 0 when the supervisor closed the socket. Throws UserError
// when the trainer cannot be made or the socket brings nonsense.
int worker_main(Descriptor control, const TrainerFactory& make_trainer);

}  // namespace brood
