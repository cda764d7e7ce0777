// All kernels, compiled for the emulator.
#include <array>
#include <functional>
#include <stdexcept>

#include "trainers/cnn/cuda/element_kernels.h"
#include "trainers/cnn/cuda/halo_gradient_kernels.h"
#include "trainers/cnn/cuda/halo_kernels.h"
#include "trainers/cnn/cuda/launch.h"
#include "trainers/cnn/cuda/norm_kernels.h"
#include "trainers/cnn/cuda/norm_pair_kernels.h"
#include "trainers/cnn/cuda/product_kernels.h"
#include "trainers/cnn/cuda/step_kernels.h"
#include "trainers/cnn/cuda/tensor_kernels.h"
#include "trainers/cnn/cuda/update_kernels.h"
#include "trainers/cnn/cuda/window_kernels.h"

namespace brood::cnn::cuda {

namespace {

struct Emulated {
  std::function<void(const void* arguments)> call;
  std::size_t argument_bytes = 0;
  bool cooperates = true;
};

struct Entry {
  Emulated precision[2];
};

class Table {
 public:
  Table() {
    visit_step_kernels(*this);
    visit_product_kernels(*this);
    visit_window_kernels(*this);
    visit_norm_kernels(*this);
    visit_norm_pair_kernels(*this);
    visit_element_kernels(*this);
    visit_update_kernels(*this);
    visit_tensor_kernels(*this);
    visit_halo_kernels(*this);
    visit_halo_gradient_kernels(*this);
  }

  template <class Arguments>
  void operator()(KernelId id, void (*fp32)(Arguments), void (*bf16)(Arguments), bool cooperates) {
    Entry& entry = entries_[static_cast<std::size_t>(id)];
    entry.precision[0] = emulated(fp32, cooperates);
    entry.precision[1] = emulated(bf16, cooperates);
  }

  const Emulated& at(const Launch& launch) const {
    return entries_[static_cast<std::size_t>(launch.kernel)]
        .precision[static_cast<std::size_t>(launch.precision)];
  }

 private:
  template <class Arguments>
  static Emulated emulated(void (*kernel)(Arguments), bool cooperates) {
    return {[kernel](const void* arguments) {
              kernel(*static_cast<const std::remove_const_t<Arguments>*>(arguments));
            },
            sizeof(Arguments), cooperates};
  }

  std::array<Entry, static_cast<std::size_t>(KernelId::count)> entries_;
};

}  // namespace

void run_emulated(const Launch& launch, emulator::Order order) {
  static const Table table;
  const Emulated& kernel = table.at(launch);
  if (!kernel.call || kernel.argument_bytes != launch.arguments.size())
    throw std::logic_error(launch.what + ": arguments of another kernel");
  if (launch.x < 1 || launch.y < 1 || launch.z < 1) return;
  try {
    emulator::run(
        {launch.x, launch.y, launch.z, launch.threads, launch.shared_bytes, kernel.cooperates},
        [&] { kernel.call(launch.arguments.data()); }, order);
  } catch (const std::logic_error& problem) {
    throw std::logic_error(launch.what + ": " + problem.what());
  }
}

}  // namespace brood::cnn::cuda
