#include "store/sqlite_store.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "store/history.h"
#include "store/lock.h"
#include "store/recorder.h"
#include "store/schema.h"

namespace brood {

namespace {

using Durability = SqliteStoreOptions::Durability;

// Commits cost a write to the medium each, so changes are gathered for a while; and a transaction
// is kept short enough that nobody waits longer than 50 ms for a commit.
constexpr auto kLinger = std::chrono::milliseconds(20);
constexpr std::size_t kChunk = 8'000;
constexpr auto kRetry = std::chrono::seconds(1);
constexpr int kTries = 100;                          // of a manual flush(), which waits for nobody
constexpr auto kPatience = std::chrono::seconds(5);  // of flush(), twice, with a full disk

using Item = std::variant<Change, ConfigSet, NumericClassSet>;

// Trouble that ends by itself or by somebody's hand; the changes wait in memory meanwhile.
bool passing(const sqlite::Error& error) {
  return error.failure() == sqlite::Failure::full || error.failure() == sqlite::Failure::io ||
         error.failure() == sqlite::Failure::busy;
}

// The open database of one writer: the lock, the connection and the statements. Used by one thread
// at a time.
class Writer {
 public:
  Writer(const std::string& path, const SqliteStoreOptions& options)
      : path_(path),
        lock_((require_ours(path, true), path)),
        db_(open_for_writing(path, options.power_safe, options.vfs)) {
    struct stat found {};
    if (stat(path.c_str(), &found) == 0) inode_ = found.st_ino;
    if (options.pages_max > 0)
      db_.run("PRAGMA max_page_count=" + std::to_string(options.pages_max));
  }

  History open(const ExperimentSpec& spec, const Session& session) {
    sqlite::Transaction transaction(db_);
    std::optional<std::int64_t> experiment = find_experiment(db_, spec.name);
    const bool created = !experiment;
    if (created) experiment = create_experiment(db_, spec, session);
    History history = load_history(db_, *experiment);
    history.created = created;
    history.session = begin_session(db_, *experiment, session);
    transaction.commit();
    recorder_.emplace(db_, *experiment, history.session);
    return history;
  }

  // All of them, or none and a throw.
  void commit(const Item* first, const Item* last) {
    try {
      sqlite::Transaction transaction(db_);
      for (; first != last; ++first)
        std::visit([this](const auto& one) { recorder_->apply(one); }, *first);
      transaction.commit();
    } catch (const sqlite::Error&) {
      dirty_ = true;
      throw;
    }
    require_same_file();
  }

  // After a commit that threw: forgets what was rolled back.
  void recover() {
    if (dirty_) recorder_->reload();
    dirty_ = false;
  }

 private:
  // SQLite would go on writing into a file that no longer has a name.
  void require_same_file() const {
    struct stat found {};
    if (stat(path_.c_str(), &found) != 0 || found.st_ino != inode_)
      throw UserError(path_ +
                      ": was removed or replaced while a run was writing it: put it back, then "
                      "resume the run");
  }

  std::string path_;
  WriterLock lock_;
  sqlite::Connection db_;
  ino_t inode_ = 0;
  bool dirty_ = false;
  std::optional<Recorder> recorder_;
};

class ManualStore final : public Store {
 public:
  ManualStore(std::string path, SqliteStoreOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}

  History open(const ExperimentSpec& spec, const Session& session) override {
    CHECK(!writer_, "a store is opened once");
    writer_.emplace(path_, options_);
    return writer_->open(spec, session);
  }
  void set_config(const std::string& canonical_json) override {
    queue_.emplace_back(ConfigSet{canonical_json});
  }
  void set_numeric_class(const std::string& numeric_class) override {
    queue_.emplace_back(NumericClassSet{numeric_class});
  }
  Ticket put(Change change) override {
    queue_.emplace_back(std::move(change));
    ++last_;
    if (queue_.size() >= options_.commit_every) try_commit();
    return last_;
  }
  Ticket durable() override {
    if (!trouble_.empty()) try_commit();
    return durable_;
  }
  std::string trouble() const override { return trouble_; }
  void flush() override {
    for (int tries = 0; !queue_.empty() && tries < kTries; ++tries) try_commit();
    if (!queue_.empty())
      throw UserError(std::to_string(queue_.size()) + " changes could not be written: " + trouble_);
  }

 private:
  void try_commit() {
    try {
      writer_->recover();
      writer_->commit(queue_.data(), queue_.data() + queue_.size());
    } catch (const sqlite::Error& error) {
      if (!passing(error)) throw;
      trouble_ = error.what();
      return;
    }
    trouble_.clear();
    queue_.clear();
    durable_ = last_;
  }

  std::string path_;
  SqliteStoreOptions options_;
  std::optional<Writer> writer_;
  std::vector<Item> queue_;
  Ticket last_ = 0, durable_ = 0;
  std::string trouble_;
};

class GroupStore final : public Store {
 public:
  GroupStore(std::string path, SqliteStoreOptions options)
      : path_(std::move(path)), options_(std::move(options)) {}

  ~GroupStore() override {
    {
      const std::lock_guard guard(mutex_);
      ending_ = true;
    }
    work_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  History open(const ExperimentSpec& spec, const Session& session) override {
    CHECK(!writer_, "a store is opened once");
    writer_.emplace(path_, options_);
    History history = writer_->open(spec, session);
    thread_ = std::thread([this] { serve(); });
    return history;
  }

  void set_config(const std::string& canonical_json) override {
    enqueue(ConfigSet{canonical_json});
  }
  void set_numeric_class(const std::string& numeric_class) override {
    enqueue(NumericClassSet{numeric_class});
  }
  Ticket put(Change change) override { return enqueue(std::move(change)); }

  Ticket durable() override {
    const std::lock_guard guard(mutex_);
    if (!failed_.empty()) throw UserError(failed_);
    return durable_;
  }

  std::string trouble() const override {
    const std::lock_guard guard(mutex_);
    return trouble_;
  }

  void flush() override {
    std::unique_lock guard(mutex_);
    urgent_ = true;
    work_.notify_one();
    const auto done = [this] { return !failed_.empty() || (queue_.empty() && batch_.empty()); };
    // A disk that stays full must not keep a run from ending.
    for (int waited = 0; !done_.wait_for(guard, kPatience, done);) {
      if (trouble_.empty() || ++waited < 2) continue;
      urgent_ = false;
      throw UserError(std::to_string(queue_.size() + batch_.size()) +
                      " changes could not be written: " + trouble_);
    }
    urgent_ = false;
    if (!failed_.empty()) throw UserError(failed_);
  }

 private:
  Ticket enqueue(Item item) {
    std::unique_lock guard(mutex_);
    done_.wait(guard, [this] {
      return queue_.size() + batch_.size() < options_.queue_max || !failed_.empty();
    });
    if (std::holds_alternative<Change>(item)) ++last_;
    if (failed_.empty()) queue_.push_back(std::move(item));
    if (queue_.size() == 1 || queue_.size() >= kChunk) work_.notify_one();
    return last_;
  }

  // The writer's thread.
  void serve() {
    std::unique_lock guard(mutex_);
    for (;;) {
      work_.wait(guard, [this] { return !queue_.empty() || ending_; });
      if (queue_.empty()) return;
      work_.wait_for(guard, kLinger,
                     [this] { return ending_ || urgent_ || queue_.size() >= kChunk; });
      take_batch();
      if (!commit_batch(guard)) return;
    }
  }

  void take_batch() {
    const std::size_t count = std::min(queue_.size(), kChunk);
    const auto end = queue_.begin() + static_cast<std::ptrdiff_t>(count);
    batch_.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
    queue_.erase(queue_.begin(), end);
  }

  // Until it is committed; false: never will be. The lock is free while the medium works.
  bool commit_batch(std::unique_lock<std::mutex>& guard) {
    for (;;) {
      guard.unlock();
      bool retry = false;
      const std::string error = try_commit(retry);
      guard.lock();
      trouble_ = retry ? error : "";
      if (error.empty()) break;
      if (!retry) failed_ = error;
      if (!retry || ending_) {
        done_.notify_all();
        wake(guard);
        return false;
      }
      work_.wait_for(guard, kRetry, [this] { return ending_; });
    }
    for (const Item& item : batch_) durable_ += std::holds_alternative<Change>(item) ? 1 : 0;
    batch_.clear();
    done_.notify_all();
    wake(guard);
    return true;
  }

  std::string try_commit(bool& retry) noexcept {
    try {
      writer_->recover();
      writer_->commit(batch_.data(), batch_.data() + batch_.size());
      return "";
    } catch (const sqlite::Error& error) {
      retry = passing(error);
      return error.what();
    } catch (const std::exception& error) {
      return error.what();
    }
  }

  void wake(std::unique_lock<std::mutex>& guard) {
    if (!options_.wake) return;
    guard.unlock();
    options_.wake();
    guard.lock();
  }

  const std::string path_;
  const SqliteStoreOptions options_;
  std::optional<Writer> writer_;  // the thread's, once there is one

  mutable std::mutex mutex_;  // guards the rest, but batch_'s items while they are written
  std::condition_variable work_, done_;
  std::deque<Item> queue_;
  std::vector<Item> batch_;
  Ticket last_ = 0, durable_ = 0;
  bool ending_ = false, urgent_ = false;
  std::string trouble_, failed_;

  std::thread thread_;
};

}  // namespace

std::unique_ptr<Store> open_sqlite_store(const std::string& path, SqliteStoreOptions options) {
  if (options.durability == Durability::manual)
    return std::make_unique<ManualStore>(path, std::move(options));
  return std::make_unique<GroupStore>(path, std::move(options));
}

}  // namespace brood
