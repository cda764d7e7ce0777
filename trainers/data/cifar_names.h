// The class names of CIFAR-10 and CIFAR-100, in the order of their labels.
#pragma once

#include <string>
#include <vector>

namespace brood::data {

const std::vector<std::string>& cifar10_names();
const std::vector<std::string>& cifar100_fine_names();
const std::vector<std::string>& cifar100_coarse_names();

}  // namespace brood::data
