// The real store, whose thread works in virtual time: its commits are made at once, and take as
// long as they did, plus what the medium is said to take for one sync.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bench/model_cluster.h"
#include "engine/store.h"

namespace brood {

class VirtualStore final : public Store {
 public:
  VirtualStore(std::unique_ptr<Store> store, ModelCluster& cluster, std::int64_t sync_us)
      : store_(std::move(store)), cluster_(cluster), sync_us_(sync_us) {
    cluster_.next_wake_us = [this] { return next_us(); };
  }

  History open(const ExperimentSpec& spec, const Session& session) override {
    return store_->open(spec, session);
  }
  void set_config(const std::string& json) override { store_->set_config(json); }
  void set_numeric_class(const std::string& name) override { store_->set_numeric_class(name); }

  Ticket put(Change change) override {
    last_ = store_->put(std::move(change));
    if (queued_++ == 0) begun_us_ = cluster_.exact_now_us();
    if (queued_ % 256 == 0) work();
    // The real one lets its caller wait here.
    if (queued_ >= kQueueMax && done_us_) {
      const std::int64_t now_us = cluster_.exact_now_us();
      if (*done_us_ > now_us) {
        held_us_ += *done_us_ - now_us;
        cluster_.hold_up(*done_us_ - now_us);
      }
      work();
    }
    return last_;
  }

  Ticket durable() override {
    work();
    return durable_;
  }
  std::string trouble() const override { return {}; }
  void flush() override {
    store_->flush();
    durable_ = last_;
    queued_ = 0;
  }

  double busy_us() const { return busy_us_; }            // of the store's thread
  std::int64_t held_us() const { return held_us_; }      // the controller waited for it
  std::int64_t queue_max() const { return queue_max_; }  // changes waiting for one commit

 private:
  static constexpr std::int64_t kQueueMax = 100'000;  // as SqliteStoreOptions
  static constexpr std::int64_t kLingerUs = 20'000;   // as the real one
  static constexpr std::int64_t kChunk = 8'000;

  std::int64_t due_us() const { return queued_ >= kChunk ? begun_us_ : begun_us_ + kLingerUs; }

  std::optional<std::int64_t> next_us() const {
    if (done_us_) return done_us_;
    if (queued_ > 0) return due_us();
    return std::nullopt;
  }

  void work() {
    const std::int64_t now_us = cluster_.exact_now_us();
    if (done_us_ && now_us >= *done_us_) {
      durable_ = writing_;
      done_us_.reset();
    }
    if (done_us_ || queued_ == 0 || now_us < due_us()) return;
    const double began_us = thread_cpu_us();
    store_->flush();
    const double took_us = thread_cpu_us() - began_us;
    cluster_.not_the_controller(took_us);
    busy_us_ += took_us;
    done_us_ = now_us + static_cast<std::int64_t>(took_us) + sync_us_;
    writing_ = last_;
    queue_max_ = std::max(queue_max_, queued_);
    queued_ = 0;
  }

  const std::unique_ptr<Store> store_;
  ModelCluster& cluster_;
  const std::int64_t sync_us_;
  Ticket last_ = 0, durable_ = 0, writing_ = 0;
  std::int64_t queued_ = 0, begun_us_ = 0, held_us_ = 0, queue_max_ = 0;
  std::optional<std::int64_t> done_us_;
  double busy_us_ = 0.0;
};

}  // namespace brood
