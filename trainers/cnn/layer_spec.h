// Reads the list of layers of a trainer block, with the lists inside it.
#pragma once

#include <string>
#include <vector>

#include "engine/json.h"
#include "trainers/cnn/network_spec.h"

namespace brood::cnn {

// Appends what is wrong; the layers are only to be used when nothing was appended.
std::vector<LayerSpec> read_layers(const Json& list, const std::string& pointer,
                                   std::vector<Problem>& problems);

// The words that a config may use, in the order of LayerKind and Activation.
const std::vector<std::string>& layer_names();
const std::vector<std::string>& activation_names();

}  // namespace brood::cnn
