#include "trainers/cnn/cuda/fused_engine.h"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <utility>

#include "engine/device.h"
#include "engine/error.h"
#include "engine/units.h"
#include "trainers/cnn/checkpoint.h"
#include "trainers/cnn/dataset.h"
#include "trainers/cnn/memory.h"
#include "trainers/cnn/model.h"
#include "trainers/cnn/network.h"

namespace brood::cnn::cuda {

namespace {

constexpr std::chrono::milliseconds kRetry{500};  // to find what other processes held
constexpr int kNumericsVersion = 2;

// Where others hold memory: a thirty-second of the rest is left, for what CUDA itself takes later.
std::int64_t arena_wanted(Runtime& runtime, std::int64_t planned, std::int64_t own) {
  const std::int64_t free = runtime.info().bytes_free + own;
  return std::min(planned, (free - free / 32) / Arena::kUnit * Arena::kUnit);
}

// By what plans are made with.
std::int64_t planned_arena(Runtime& runtime, const FusedOptions& options) {
  if (options.arena_bytes > 0) return options.arena_bytes;
  const std::int64_t all = options.device_bytes > 0 ? options.device_bytes : runtime.info().bytes;
  return static_cast<std::int64_t>(memory_for_trials(static_cast<std::uint64_t>(all))) /
         Arena::kUnit * Arena::kUnit;
}

data::Contents contents_of(const Dataset& data) {
  data::Contents out;
  out.height = data.height;
  out.width = data.width;
  out.channels = data.channels;
  out.train = data.train.count;
  out.test = data.test.count;
  return out;
}

// Such a trial's weights stand still until the epoch's end fails it. A checkpoint would show
// weights that look sound, and whoever resumed it would train on.
void require_moving(const SlotState& state) {
  if (state.nonfinite != 0)
    throw UserError(
        "a gradient became infinite or NaN in this epoch, at whose end the trial fails");
}

std::string mebibytes(std::int64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

std::string device_numeric_class(const std::string& architecture, Precision precision) {
  return "cuda/" + architecture + (precision == Precision::fp32 ? "/fp32/" : "/bf16/") +
         std::to_string(kNumericsVersion);
}

std::int64_t device_bytes(const NetworkSpec& spec, const Plan& plan, Precision precision) {
  return make_device_memory(plan, moment_count(spec.optimizer), spec.optimizer.ema > 0.0, precision)
      .slot_bytes;
}

std::int64_t shared_device_bytes(const NetworkSpec& spec, const data::Contents& data,
                                 const DataShape& parts) {
  return DeviceImages::bytes(spec, data, parts) + ShapeClass::kListsBytes;
}

FusedEngine::FusedEngine(std::unique_ptr<Runtime> runtime, FusedOptions options)
    : runtime_(std::move(runtime)),
      options_(options),
      numeric_class_(device_numeric_class(runtime_->info().architecture, options.precision)),
      planned_(planned_arena(*runtime_, options_)),
      arena_(*runtime_,
             options_.arena_bytes > 0 ? planned_ : arena_wanted(*runtime_, planned_, 0)) {
  if (options_.arena_bytes > 0 && arena_.bytes() == 0)
    throw UserError("the device has no memory for trials: " +
                    mebibytes(runtime_->info().bytes_free) + " are free");
}

FusedEngine::~FusedEngine() {
  shapes_.clear();  // before the images that they show
  images_.clear();
}

// nullptr: there is no room.
ShapeClass* FusedEngine::shape_for(const TrainingInput& input, const Plan& plan,
                                   const std::string& key) {
  if (const auto known = shapes_.find(key); known != shapes_.end()) return known->second.get();
  auto& images = images_[DeviceImages::key_of(input)];
  if (!images) images = DeviceImages::load(input, *runtime_, arena_);
  if (!images) return nullptr;
  auto shape = std::make_unique<ShapeClass>(input.spec, plan, options_.precision, *images,
                                            *runtime_, arena_);
  if (!shape->has_room()) return nullptr;
  shape->key = key;
  shape->number = note_of(key).number;
  shape->overlap = options_.overlap_launches;
  return (shapes_[key] = std::move(shape)).get();
}

// What no trial uses now: it is made again when one does.
void FusedEngine::drop_unused() {
  drop_unused_shapes(0);
  std::erase_if(images_, [this](const auto& entry) {
    return std::none_of(shapes_.begin(), shapes_.end(), [&](const auto& shape) {
      return &shape.second->images() == entry.second.get();
    });
  });
}

// All of them, when they are more than so many.
void FusedEngine::drop_unused_shapes(std::int64_t most) {
  const auto unused = [](const auto& entry) { return entry.second->trials == 0; };
  if (std::count_if(shapes_.begin(), shapes_.end(), unused) > most) std::erase_if(shapes_, unused);
}

FusedEngine::ShapeNote& FusedEngine::note_of(const std::string& key) {
  if (ShapeNote* known = notes_.find(key)) return *known;
  ShapeNote fresh;
  fresh.number = ++last_note_;
  if (options_.choose_up_to > 0) fresh.count.emplace(options_.choose_up_to);
  return notes_.add(key, fresh);
}

// nullptr: any number.
FusedCount* FusedEngine::count_of(const ShapeClass& shape) {
  auto& count = note_of(shape.key).count;
  return count ? &*count : nullptr;
}

// False: as many of its shape train as are wanted.
bool FusedEngine::may_train(const std::string& key) {
  const auto shape = shapes_.find(key);
  if (shape == shapes_.end()) return true;
  const FusedCount* count = count_of(*shape->second);
  return count == nullptr || shape->second->trials < count->wanted();
}

FusedEngine::Needs FusedEngine::needs_of(const TrainingInput& input) const {
  Needs out;
  out.plan = make_plan(input.spec, divided(input.spec, shape_of(*input.data)));
  if (!out.plan.infeasible.empty())
    throw TrialFailure(Cause::trainer, out.plan.infeasible_pointer + ": " + out.plan.infeasible);
  if (const std::string why = refused_for_device(input.spec, out.plan); !why.empty())
    throw TrialFailure(Cause::trainer, why);
  out.bytes = device_bytes(input.spec, out.plan, options_.precision);
  if (input.memory_max > 0 && static_cast<std::uint64_t>(out.bytes) > input.memory_max)
    throw TrialFailure(Cause::memory, "the trial needs " + mebibytes(out.bytes) +
                                          " of the device, memory_per_trial "
                                          "allows " +
                                          mebibytes(static_cast<std::int64_t>(input.memory_max)));
  out.key = DeviceImages::key_of(input) + ' ' +
            shape_key(out.plan, input.spec.optimizer, options_.precision);
  return out;
}

// In an arena where no other trial is.
std::int64_t FusedEngine::bytes_alone(const Needs& needs, const TrainingInput& input) {
  return needs.bytes + shared_device_bytes(input.spec, contents_of(*input.data), needs.plan.data);
}

// Images are not loaded for nothing.
std::optional<std::int64_t> FusedEngine::find_room(const Needs& needs, FusedTrial& trial) {
  if (bytes_alone(needs, trial.input) > arena_.bytes()) return std::nullopt;
  for (int i = 0; i < 2; ++i) {
    if (i > 0) drop_unused();
    trial.shape = shape_for(trial.input, needs.plan, needs.key);
    if (trial.shape == nullptr) continue;
    if (const auto offset = arena_.take(needs.bytes)) return offset;
  }
  return std::nullopt;
}

// For a trial alone that the device as it was planned for has room for: its others hold the rest.
bool FusedEngine::held_by_others(const Needs& needs, const FusedTrial& trial) {
  const std::int64_t all = bytes_alone(needs, trial.input);
  if (options_.arena_bytes > 0 || all > planned_ || arena_.bytes() >= planned_) return false;
  const auto size = [](std::int64_t bytes) { return size_text(static_cast<std::uint64_t>(bytes)); };
  if (std::exchange(told_of_, all) != all)
    std::fprintf(stderr,
                 "the device has %s for trials and should have %s, as other processes use its "
                 "memory: a trial that needs %s waits for it\n",
                 size(arena_.bytes()).c_str(), size(planned_).c_str(), size(all).c_str());
  return true;
}

// What others have left meanwhile; only when no trial is there.
bool FusedEngine::grow() {
  if (options_.arena_bytes > 0) return false;
  drop_unused();
  if (!arena_.empty()) return false;
  const std::int64_t before = arena_.bytes();
  const std::int64_t wanted = arena_wanted(*runtime_, planned_, before);
  if (wanted <= before) return false;
  arena_.take_again(wanted);
  return arena_.bytes() > before;
}

// Now and then, as long as there is less than planned by much, or by so little that a trial waits
// for it: an arena that nobody uses is taken anew, and those who wait ask again. A worker's
// predecessor may have died a moment ago with all of it.
void FusedEngine::look_for_memory(Clock::time_point now) {
  const bool enough = arena_.bytes() >= planned_ / 20 * 19 && told_of_ == 0;
  if (enough || now < next_look_) return;
  next_look_ = now + kRetry;
  if (trials_.empty() && grow()) ++changes_;
}

std::optional<int> FusedEngine::admit(const TrainingInput& input, const Needs& needs,
                                      const Assignment& assignment) {
  if (!may_train(needs.key)) return std::nullopt;
  FusedTrial trial;
  trial.input = input;
  auto offset = find_room(needs, trial);
  if (!offset && trials_.empty() && grow()) offset = find_room(needs, trial);
  if (!offset) {
    if (!trials_.empty() || held_by_others(needs, trial)) return std::nullopt;
    throw TrialFailure(Cause::memory, "the trial needs " + mebibytes(needs.bytes) +
                                          " of the device and its images, which has " +
                                          mebibytes(planned_) + " for trials");
  }
  if (bytes_alone(needs, input) >= told_of_) told_of_ = 0;
  return begin(std::move(trial), assignment, *offset, nullptr);
}

std::optional<int> FusedEngine::fork(int number, const TrainingInput& input,
                                     const Assignment& assignment) {
  const Needs needs = needs_of(input);
  FusedTrial& from = trials_.at(number);
  if (needs.key != from.shape->key)
    throw TrialFailure(Cause::checkpoint,
                       "a fork has the shapes, data and kind of optimizer of the trial that it "
                       "begins as; these are others");
  if (from.failure) throw TrialFailure(*from.failure);
  if (!may_train(needs.key)) return std::nullopt;
  FusedTrial trial;
  trial.input = input;
  trial.shape = from.shape;
  const auto offset = arena_.take(needs.bytes);
  if (!offset) return std::nullopt;
  return begin(std::move(trial), assignment, *offset, &from);
}

// from: the trial that it begins as; nullptr: none.
int FusedEngine::begin(FusedTrial trial, const Assignment& assignment, std::int64_t offset,
                       FusedTrial* from) {
  trial.seed = assignment.seed;
  trial.last_epoch = assignment.last_epoch;
  trial.offset = offset;
  const Split& split = trial.shape->images().split();
  trial.parts[0] = static_cast<std::int64_t>(split.train.size());
  trial.parts[1] = static_cast<std::int64_t>(split.validation.size());
  trial.parts[2] = static_cast<std::int64_t>(split.test.size());
  try {
    start(trial, assignment, from);
  } catch (...) {
    arena_.give(offset);
    ++changes_;
    throw;
  }
  ++trial.shape->trials;
  trials_.emplace(++last_trial_, std::move(trial));
  return last_trial_;
}

void FusedEngine::start(FusedTrial& trial, const Assignment& assignment, FusedTrial* from) {
  const DeviceMemory& memory = trial.shape->memory();
  // Dropout rates and the kind of starting weights are the trial's own, the class has another's.
  const Plan own = make_plan(trial.input.spec, trial.shape->plan().data);
  SlotState state = make_slot_state(trial.input.spec, own, trial.seed);
  const auto dropouts = make_slot_dropouts(own);
  runtime_->clear(at(trial, 0), memory.slot_bytes);
  if (!dropouts.empty())
    runtime_->write(at(trial, memory.dropouts), dropouts.data(),
                    static_cast<std::int64_t>(dropouts.size() * sizeof(SlotDropout)));
  trial.progress.epoch = assignment.first_epoch;
  trial.progress.count_classes(trial.input.spec, trial.shape->plan().data.classes);
  if (from != nullptr)
    begin_as(*from, trial, state);
  else if (!assignment.resume_from.empty())
    resume(trial, state, assignment.resume_from);
  else if (assignment.first_epoch != 1)
    throw UserError("trial starts at epoch " + std::to_string(assignment.first_epoch) +
                    " without a checkpoint");
  else
    initialise(trial, own);
  runtime_->write(at(trial, memory.state), &state, sizeof state);
  write_order(trial);
}

// As Network::initialise: moments stay zero, averages begin as copies.
void FusedEngine::initialise(const FusedTrial& trial, const Plan& own) {
  const DeviceMemory& memory = trial.shape->memory();
  const Rng all(trial.seed, 0, Purpose::init);
  std::uint32_t part = 0;
  const auto arrays = device_arrays(own, memory, trial.input.spec.optimizer);
  for (const DeviceArray& array : arrays) {
    if (array.parameter == nullptr) continue;
    const auto values = starting_values(*array.parameter, all.split(part++));
    runtime_->write(at(trial, array.offset), values.data(), 4 * array.count);
  }
  if (!memory.averages) return;
  runtime_->copy(at(trial, memory.average), at(trial, memory.parameters),
                 4 * memory.parameter_count);
  runtime_->copy(at(trial, memory.average_states), at(trial, memory.states),
                 4 * memory.state_count);
}

// All that a checkpoint keeps beside the arrays.
void FusedEngine::take_progress(FusedTrial& trial, SlotState& state, const Checkpoint& from) {
  TrialProgress& progress = trial.progress;
  read_progress(from, progress);
  const Plan& plan = trial.shape->plan();
  const std::int64_t in_epoch = progress.batch - (progress.epoch - 1) * plan.steps_per_epoch();
  const std::int64_t place = std::min(in_epoch * plan.batch_size, plan.data.train);
  const auto part = static_cast<std::size_t>(progress.phase);
  const bool whole = progress.position % plan.batch_size == 0;
  const bool train = progress.phase == Phase::train;
  if (!whole || progress.position >= trial.parts[part] || in_epoch < 0 ||
      place != (train ? progress.position : plan.data.train))
    throw UserError("it was made with other samples or another batch_size");
  write_tallies(trial, state);
  trial.samples_before = progress.parts[0].samples;
}

void FusedEngine::resume(FusedTrial& trial, SlotState& state, const std::string& path) {
  try {
    const Checkpoint from = read_checkpoint(path);
    const auto expected =
        device_arrays(trial.shape->plan(), trial.shape->memory(), trial.input.spec.optimizer);
    for (const DeviceArray& array : expected) {
      const auto found = std::find_if(from.arrays.begin(), from.arrays.end(),
                                      [&](const NamedArray& a) { return a.name == array.name; });
      if (found == from.arrays.end() || found->shape != array.shape)
        throw UserError("it has no array \"" + array.name +
                        "\" of the shape that is needed: it belongs to another network or "
                        "optimizer");
      runtime_->write(at(trial, array.offset), found->values.data(), 4 * array.count);
    }
    if (from.arrays.size() != expected.size())
      throw UserError("it has arrays of another network or optimizer");
    take_progress(trial, state, from);
  } catch (const UserError& problem) {
    const std::string why = problem.what();
    throw TrialFailure(
        Cause::checkpoint,
        (why.starts_with(path) ? why : path + ": " + why) +
            "; remove it, and the trial starts from an earlier one or from the beginning");
  }
}

// As resume() of what save() would write now, but the arrays stay on the device.
void FusedEngine::begin_as(FusedTrial& from, FusedTrial& trial, SlotState& state) {
  require_moving(read_tallies(from));
  Checkpoint told;
  write_progress(from.progress, "", told);
  take_progress(trial, state, told);
  for (const DeviceArray& array :
       device_arrays(trial.shape->plan(), trial.shape->memory(), trial.input.spec.optimizer))
    runtime_->copy(at(trial, array.offset), at(from, array.offset), 4 * array.count);
}

void FusedEngine::write_tallies(const FusedTrial& trial, SlotState& state) {
  const TrialProgress& progress = trial.progress;
  const auto taken = [](const Tally& from) {
    SlotTally to;
    to.loss = from.loss;
    to.samples = from.samples;
    to.correct = from.correct;
    return to;
  };
  state.step = progress.batch;
  state.train = taken(progress.parts[0]);
  std::vector<std::int64_t> classes;
  for (std::size_t i = 0; i < 2; ++i) {
    state.evaluated[i] = taken(progress.parts[i + 1]);
    if (static_cast<std::size_t>(progress.phase) == i + 1) state.position[i] = progress.position;
    for (const Tally::Class& one : progress.parts[i + 1].classes) {
      classes.push_back(one.samples);
      classes.push_back(one.correct);
    }
  }
  if (!classes.empty())
    runtime_->write(at(trial, trial.shape->memory().class_tallies), classes.data(),
                    static_cast<std::int64_t>(8 * classes.size()));
}

// As CnnTraining::shuffle.
std::vector<std::uint32_t> FusedEngine::order_of(const FusedTrial& trial, int epoch) {
  const std::vector<std::uint32_t>& train = trial.shape->images().split().train;
  std::vector<std::uint32_t> order = shuffled(
      trial.parts[0], Rng(trial.seed, static_cast<std::uint64_t>(epoch), Purpose::shuffle));
  for (std::uint32_t& place : order) place = train[place];
  return order;
}

// Of the epoch under way.
void FusedEngine::write_order(FusedTrial& trial) {
  const int epoch = trial.progress.epoch;
  const std::vector<std::uint32_t> order =
      trial.next_epoch == epoch ? std::move(trial.next_order) : order_of(trial, epoch);
  trial.next_epoch = 0;
  const DeviceMemory& memory = trial.shape->memory();
  runtime_->write(at(trial, memory.order + 4 * (epoch & 1) * memory.order_stride), order.data(),
                  4 * trial.parts[0]);
}

void FusedEngine::remove(int number) {
  const auto at = trials_.find(number);
  if (at == trials_.end()) return;
  --at->second.shape->trials;
  arena_.give(at->second.offset);
  trials_.erase(at);
  drop_unused_shapes(kUnusedShapes);  // graphs lie beside the arena
  ++changes_;
}

// Of the parts that the epoch has come to: the device clears the others when it does.
SlotState FusedEngine::read_tallies(FusedTrial& trial) {
  const DeviceMemory& memory = trial.shape->memory();
  TrialProgress& progress = trial.progress;
  SlotState state;
  runtime_->read(&state, at(trial, memory.state), sizeof state);
  if (state.nonfinite != 0 && !trial.input.objective.empty() && progress.phase == Phase::done &&
      state.train.loss - state.train.loss == 0.0)
    throw TrialFailure(
        Cause::nan, "a gradient became infinite or NaN in epoch " + std::to_string(progress.epoch));
  const auto classes = static_cast<std::size_t>(trial.shape->plan().data.classes);
  std::vector<std::int64_t> by_class(4 * classes);
  if (!progress.parts[1].classes.empty())
    runtime_->read(by_class.data(), at(trial, memory.class_tallies),
                   static_cast<std::int64_t>(8 * by_class.size()));
  const auto phase = static_cast<std::size_t>(progress.phase);
  for (std::size_t i = 0; i < TrialProgress::kParts; ++i) {
    Tally& part = progress.parts[i];
    part.clear();
    if (trial.parts[i] == 0 || i > phase || (i == phase && progress.position == 0)) continue;
    const SlotTally& from = i == 0 ? state.train : state.evaluated[i - 1];
    part.loss = from.loss;
    part.samples = from.samples;
    part.correct = from.correct;
    for (std::size_t c = 0; c < part.classes.size(); ++c) {
      const std::int64_t* at = by_class.data() + 2 * ((i - 1) * classes + c);
      part.classes[c] = {at[0], at[1]};
    }
  }
  return state;
}

void FusedEngine::finish_epoch(FusedTrial& trial) {
  read_tallies(trial);
  Report report = report_of(trial.progress);
  require_finite(report, trial.input.objective);
  const Plan& plan = trial.shape->plan();
  const NetworkSpec& spec = trial.input.spec;
  if (spec.report_cost) {
    const auto bytes = static_cast<double>(trial.shape->memory().slot_bytes);
    report.metrics.push_back({"parameters", static_cast<double>(plan.parameter_count)});
    report.metrics.push_back({"flops", plan.total_flops(spec.epochs, spec.evaluate_test)});
    report.metrics.push_back({"memory_bytes", bytes});
    report.metrics.push_back({"peak_memory_bytes", bytes, false});
  }
  report.metrics.push_back({"seconds", trial.seconds, false});
  const std::int64_t here = trial.progress.parts[0].samples - trial.samples_before;
  if (here > 0)
    report.metrics.push_back({"images_per_second",
                              static_cast<double>(here) / std::max(trial.train_seconds, 1e-9),
                              false});
  trial.samples_before = 0;
  trial.seconds = trial.train_seconds = 0.0;
  trial.progress.next_epoch();
  if (!trial.is_over()) write_order(trial);
  trial.report = std::move(report);
}

std::optional<Report> FusedEngine::take_report(int number) {
  FusedTrial& trial = trials_.at(number);
  if (trial.failure) throw TrialFailure(*trial.failure);
  return std::exchange(trial.report, std::nullopt);
}

void FusedEngine::save(int number, const std::string& path) {
  FusedTrial& trial = trials_.at(number);
  require_moving(read_tallies(trial));
  const NetworkSpec& spec = trial.input.spec;
  Checkpoint out;
  write_progress(trial.progress,
                 to_json(describe(spec, *trial.input.data, numeric_class_,
                                  trial.input.experiment_seed, trial.seed)),
                 out);
  for (const DeviceArray& array :
       device_arrays(trial.shape->plan(), trial.shape->memory(), spec.optimizer)) {
    NamedArray values{array.name, array.shape, {}};
    values.values.resize(static_cast<std::size_t>(array.count));
    runtime_->read(values.values.data(), at(trial, array.offset), 4 * array.count);
    out.arrays.push_back(std::move(values));
  }
  write_checkpoint(path, out);
}

std::int64_t FusedEngine::steps(int number) const { return trials_.at(number).progress.batch; }

int FusedEngine::wanted(int number) {
  const FusedCount* count = count_of(*trials_.at(number).shape);
  return count == nullptr ? 0 : count->wanted();
}

}  // namespace brood::cnn::cuda
