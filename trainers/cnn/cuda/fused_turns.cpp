// What the engine asks of the device, turn by turn.
#include <algorithm>
#include <utility>

#include "trainers/cnn/cuda/fused_engine.h"

namespace brood::cnn::cuda {

namespace {

// Work asked of the device at once takes about so long: a worker has to answer.
constexpr double kTurnSeconds = 0.02;

double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void FusedEngine::advance(Millis slice) {
  const auto start = Clock::now();
  news_ = false;
  look_for_memory(start);
  do {
    const std::vector<Piece> pieces = work();
    if (pieces.empty()) return;
    if (may_share(pieces))
      run_together(pieces);
    else
      for (const Piece& piece : pieces) run_alone(piece);
  } while (!news_ && since(start) < std::chrono::duration<double>(slice).count());
}

std::vector<FusedEngine::Piece> FusedEngine::work() {
  std::map<std::pair<int, Phase>, Piece> pieces;  // in an order that does not change
  for (auto& [number, trial] : trials_) {
    if (trial.report || trial.failure || trial.is_over()) continue;
    Piece& piece = pieces[{trial.shape->number, trial.progress.phase}];
    piece.shape = trial.shape;
    piece.part = trial.progress.phase;
    piece.members.push_back(&trial);
    piece.offsets.push_back(trial.offset);
  }
  std::vector<Piece> out;
  for (auto& [key, piece] : pieces) {
    set_batches(piece);
    out.push_back(std::move(piece));
  }
  return out;
}

// As many as take a turn, and no more than any of them has left.
void FusedEngine::set_batches(Piece& piece) const {
  const std::int64_t size = piece.shape->plan().batch_size;
  std::int64_t most = options_.batches_max;
  for (const FusedTrial* trial : piece.members) {
    const std::int64_t left =
        trial->parts[static_cast<std::size_t>(piece.part)] - trial->progress.position;
    most = std::min(most, (left + size - 1) / size);
  }
  const auto known =
      piece.shape->seconds.find({piece.part, static_cast<int>(piece.members.size())});
  if (known == piece.shape->seconds.end()) return;
  piece.batch_seconds = known->second;
  const double fitting = kTurnSeconds / std::max(piece.batch_seconds, 1e-7);
  piece.batches = std::clamp<std::int64_t>(static_cast<std::int64_t>(fitting), 1, most);
}

// Not before it is known what each takes alone, nor while a number of trials is being measured.
bool FusedEngine::may_share(const std::vector<Piece>& pieces) {
  if (pieces.size() < 2 || options_.share == FusedOptions::Share::never) return false;
  if (options_.share == FusedOptions::Share::always) return true;
  for (const Piece& piece : pieces) {
    if (piece.batch_seconds == 0.0) return false;
    const FusedCount* count = count_of(*piece.shape);
    if (piece.part == Phase::train && count != nullptr && !count->settled() &&
        count->wanted() == static_cast<int>(piece.members.size()))
      return false;
  }
  return sharing_.together(mix_of(pieces));
}

std::string FusedEngine::mix_of(const std::vector<Piece>& pieces) {
  std::string out;
  for (const Piece& piece : pieces)
    out += std::to_string(piece.shape->number) + ' ' +
           std::to_string(static_cast<int>(piece.part)) + ' ';
  return out;
}

void FusedEngine::run_alone(const Piece& piece) {
  const bool fresh = piece.shape->prepare(piece.part, piece.offsets);
  const auto start = Clock::now();
  piece.shape->run(piece.part, piece.members.size(), piece.batches, 0);
  prepare_orders(piece, start);
  runtime_->wait(options_.watchdog);
  const double seconds = since(start);
  if (!fresh)
    piece.shape->seconds[{piece.part, static_cast<int>(piece.members.size())}] =
        seconds / static_cast<double>(piece.batches);
  measured(piece, seconds);
  for (FusedTrial* trial : piece.members) after_run(*trial, piece.batches, seconds);
}

void FusedEngine::run_together(const std::vector<Piece>& pieces) {
  std::int64_t most = 0;
  for (const Piece& piece : pieces) {
    piece.shape->prepare(piece.part, piece.offsets);
    most = std::max(most, piece.batches);
  }
  const auto start = Clock::now();
  for (std::int64_t batch = 0; batch < most; ++batch)
    for (std::size_t i = 0; i < pieces.size(); ++i)
      if (batch < pieces[i].batches)
        pieces[i].shape->run(pieces[i].part, pieces[i].members.size(), 1,
                             static_cast<int>(i % Runtime::kStreams));
  for (const Piece& piece : pieces) prepare_orders(piece, start);
  runtime_->wait(options_.watchdog);
  const double seconds = since(start);
  double alone = 0.0;
  for (const Piece& piece : pieces)
    alone += static_cast<double>(piece.batches) * piece.batch_seconds;
  if (options_.share == FusedOptions::Share::measured)
    sharing_.measured(mix_of(pieces), seconds, alone);
  for (const Piece& piece : pieces)
    for (FusedTrial* trial : piece.members) after_run(*trial, piece.batches, seconds);
}

// Of the epochs to come, while the device works: later it would wait for them.
void FusedEngine::prepare_orders(const Piece& piece, Clock::time_point start) {
  if (piece.part != Phase::train) return;
  for (FusedTrial* trial : piece.members) {
    const int next = trial->progress.epoch + 1;
    if (trial->next_epoch == next || next > trial->last_epoch) continue;
    if (since(start) > kTurnSeconds / 2) return;
    trial->next_order = order_of(*trial, next);
    trial->next_epoch = next;
  }
}

void FusedEngine::measured(const Piece& piece, double seconds) {
  FusedCount* const count = count_of(*piece.shape);
  if (piece.part != Phase::train || count == nullptr) return;
  const auto trials = static_cast<int>(piece.members.size());
  const int before = count->wanted();
  count->measured(trials, trials * piece.batches * piece.shape->plan().batch_size, seconds);
  if (count->wanted() <= before) return;
  ++changes_;
  news_ = true;  // so that those who wait are asked again
}

void FusedEngine::after_run(FusedTrial& trial, std::int64_t batches, double seconds) {
  TrialProgress& progress = trial.progress;
  const std::int64_t samples = trial.parts[static_cast<std::size_t>(progress.phase)];
  trial.seconds += seconds;
  if (progress.phase == Phase::train) {
    trial.train_seconds += seconds;
    progress.batch += batches;
  }
  progress.position =
      std::min(samples, progress.position + batches * trial.shape->plan().batch_size);
  if (progress.position < samples) return;
  progress.next_phase(trial.parts);
  if (progress.phase != Phase::done) return;
  news_ = true;
  try {
    finish_epoch(trial);
  } catch (const TrialFailure& failure) {
    trial.failure = failure;
  }
}

}  // namespace brood::cnn::cuda
