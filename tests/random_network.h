// Networks drawn at random over every kind of layer, with weights, as models.
#pragma once

#include <string>

#include "engine/rng.h"
#include "trainers/cnn/model.h"

namespace brood::cnn {

// A trainer block with one to six layers, composers among them, for images of a made-up data set
// of the given size. It may be infeasible.
std::string random_block(Rng& rng, int size, int channels, int classes);

// The block with weights and statistics drawn at random. `plan.infeasible` says whether it is a
// network.
Model random_model(Rng& rng);

}  // namespace brood::cnn
