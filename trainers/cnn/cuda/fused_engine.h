// Trials that train at once on one device: admitted, carried on batch by batch with those of their
// shape, saved and removed at any step. A trial's bits are the same alone and in any company.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/trainer.h"
#include "trainers/cnn/cuda/arena.h"
#include "trainers/cnn/cuda/device_images.h"
#include "trainers/cnn/cuda/fused_count.h"
#include "trainers/cnn/cuda/fused_sharing.h"
#include "trainers/cnn/cuda/recent.h"
#include "trainers/cnn/cuda/runtime.h"
#include "trainers/cnn/cuda/shape_class.h"
#include "trainers/cnn/cuda/slot.h"
#include "trainers/cnn/progress.h"
#include "trainers/cnn/training.h"

namespace brood::cnn::cuda {

struct FusedOptions {
  Precision precision = Precision::fp32;
  // 0: what plans are made with (engine/device.h), as far as it is free.
  std::int64_t arena_bytes = 0;
  std::int64_t device_bytes = 0;    // in all, as plans count; 0: as the runtime does
  Millis watchdog{120000};          // work that takes longer has hung
  std::int64_t batches_max = 1024;  // asked of the device at once
  // How many trials of a shape train at a time: 0: all for which there is memory; else at most so
  // many, as measured (fused_count.h). Others wait.
  int choose_up_to = 0;
  // Whether different work runs on streams of its own: as measured (fused_sharing.h), never,
  // always.
  enum class Share : std::uint8_t { measured, never, always };
  Share share = Share::measured;
  bool overlap_launches = false;  // launch.h; never tried on a GPU
};

// "cuda/sm_90/fp32/2": CPU and GPU compute different bits, and so may architectures.
std::string device_numeric_class(const std::string& architecture, Precision precision);

// Device memory of a trial, its images not counted.
std::int64_t device_bytes(const NetworkSpec& spec, const Plan& plan, Precision precision);

// And of what trials of one shape share: their images, the lists of who is active.
std::int64_t shared_device_bytes(const NetworkSpec& spec, const data::Contents& data,
                                 const DataShape& parts);

// One thread. DeviceLost may come out of every call.
class FusedEngine {
 public:
  FusedEngine(std::unique_ptr<Runtime> runtime, FusedOptions options);
  ~FusedEngine();

  // What a trial asks of the device, the same at any time: one that waits need not find it anew.
  struct Needs {
    Plan plan;
    std::int64_t bytes = 0;  // without its images
    std::string key;         // of the shape
  };
  Needs needs_of(const TrainingInput& input) const;

  // The trial's number; nullopt: there is no room until changes() is another. Throws TrialFailure
  // as make_training does (training.h); for memory only where the device, if nobody else used it,
  // would have too little.
  std::optional<int> admit(const TrainingInput& input, const Needs& needs,
                           const Assignment& assignment);
  std::optional<int> admit(const TrainingInput& input, const Assignment& assignment) {
    return admit(input, needs_of(input), assignment);
  }

  // A new trial that begins as this one is now: to the bits of one that resumes from what save()
  // would write, without the way over the host. Its hyperparameters may be others as far as its
  // shapes, its data and its kind of optimizer are the same; else TrialFailure. The assignment's
  // first epoch is the one that the other is in.
  std::optional<int> fork(int trial, const TrainingInput& input, const Assignment& assignment);
  void remove(int trial);
  std::uint64_t changes() const { return changes_; }  // that make room

  // Trains for about `slice`, at least a batch, or until a trial has something to tell.
  void advance(Millis slice);

  // Of a trial that has ended an epoch, once. Throws TrialFailure for one that has failed.
  std::optional<Report> take_report(int trial);
  void save(int trial, const std::string& path);
  std::int64_t steps(int trial) const;
  int wanted(int trial);  // of its shape at a time; 0: any number

  std::int64_t arena_bytes() const { return arena_.bytes(); }
  const std::string& numeric_class() const { return numeric_class_; }
  bool lost() const { return runtime_->lost(); }

 private:
  using Phase = TrialProgress::Phase;
  struct FusedTrial {
    TrainingInput input;
    std::uint64_t seed = 0;
    int last_epoch = 1;
    ShapeClass* shape = nullptr;
    std::int64_t offset = 0;  // in the arena
    TrialProgress progress;   // its tallies lie on the device while it trains
    std::int64_t parts[TrialProgress::kParts] = {};  // samples of each
    std::optional<Report> report;
    std::optional<TrialFailure> failure;
    std::int64_t samples_before = 0;            // of the epoch's training, before the checkpoint
    double seconds = 0.0, train_seconds = 0.0;  // of the epoch, in this process
    int next_epoch = 0;                         // what next_order is of; 0: none is there
    std::vector<std::uint32_t> next_order;

    bool is_over() const { return progress.epoch > last_epoch; }
  };
  using Clock = std::chrono::steady_clock;
  // What is known of a shape.
  struct ShapeNote {
    int number = 0;                   // the same whenever its trials come back
    std::optional<FusedCount> count;  // none: all train for which there is memory
  };
  static constexpr std::size_t kNotes = 1024;
  static constexpr std::int64_t kUnusedShapes = 8;  // kept for trials that may come
  // What can be asked of the device now: a part of an epoch for all trials of a shape in it.
  struct Piece {
    ShapeClass* shape = nullptr;
    Phase part = Phase::train;
    std::vector<FusedTrial*> members;
    std::vector<std::int64_t> offsets;
    std::int64_t batches = 1;
    double batch_seconds = 0.0;  // alone on the device; 0: not known yet
  };

  ShapeClass* shape_for(const TrainingInput& input, const Plan& plan, const std::string& key);
  ShapeNote& note_of(const std::string& key);
  FusedCount* count_of(const ShapeClass& shape);
  bool may_train(const std::string& key);
  void drop_unused();
  void drop_unused_shapes(std::int64_t most);
  static std::int64_t bytes_alone(const Needs& needs, const TrainingInput& input);
  std::optional<std::int64_t> find_room(const Needs& needs, FusedTrial& trial);
  bool held_by_others(const Needs& needs, const FusedTrial& trial);
  bool grow();
  void look_for_memory(Clock::time_point now);
  int begin(FusedTrial trial, const Assignment& assignment, std::int64_t offset, FusedTrial* from);
  void start(FusedTrial& trial, const Assignment& assignment, FusedTrial* from);
  void begin_as(FusedTrial& from, FusedTrial& trial, SlotState& state);
  void take_progress(FusedTrial& trial, SlotState& state, const Checkpoint& from);
  void resume(FusedTrial& trial, SlotState& state, const std::string& path);
  void initialise(const FusedTrial& trial, const Plan& own);
  void write_tallies(const FusedTrial& trial, SlotState& state);
  static std::vector<std::uint32_t> order_of(const FusedTrial& trial, int epoch);
  static void prepare_orders(const Piece& piece, Clock::time_point start);
  void write_order(FusedTrial& trial);
  void measured(const Piece& piece, double seconds);
  std::vector<Piece> work();
  void set_batches(Piece& piece) const;
  bool may_share(const std::vector<Piece>& pieces);
  static std::string mix_of(const std::vector<Piece>& pieces);
  void run_alone(const Piece& piece);
  void run_together(const std::vector<Piece>& pieces);
  void after_run(FusedTrial& trial, std::int64_t batches, double seconds);
  void finish_epoch(FusedTrial& trial);
  SlotState read_tallies(FusedTrial& trial);
  unsigned char* at(const FusedTrial& trial, std::int64_t offset) const {
    return arena_.at(trial.offset + offset);
  }

  const std::unique_ptr<Runtime> runtime_;
  const FusedOptions options_;
  const std::string numeric_class_;
  const std::int64_t planned_;  // bytes of the arena, if nobody else used the device
  Arena arena_;
  std::map<std::string, std::unique_ptr<DeviceImages>> images_;  // by key
  std::map<std::string, std::unique_ptr<ShapeClass>> shapes_;    // by key, that of the images first
  // By key of the shape, also while none of its trials is there.
  Recent<ShapeNote> notes_{kNotes};
  std::map<int, FusedTrial> trials_;
  int last_trial_ = 0, last_note_ = 0;
  Sharing sharing_;
  std::uint64_t changes_ = 1;
  bool news_ = false;
  Clock::time_point next_look_;  // when others may have left memory
  std::int64_t told_of_ = 0;     // bytes that a trial waits for; 0: none does
};

}  // namespace brood::cnn::cuda
