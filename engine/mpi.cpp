#include "engine/mpi.h"

#define OMPI_SKIP_MPICXX 1
#include <mpi.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/clock.h"
#include "engine/error.h"
#include "engine/framing.h"
#include "engine/message.h"
#include "engine/supervisor.h"

namespace brood {

namespace {

// Below the 4 kB up to which Open MPI's transports send at once, header included.
constexpr std::size_t kPartBytes = 3500;
constexpr int kTag = 1;
// To a rank that takes nothing any more.
constexpr std::size_t kUnsentBytesMax = std::size_t{32} << 20;

constexpr Millis kTick{50};
constexpr Millis kFirstFrame{600'000};  // rank 0 may read data sets for long before it speaks
constexpr Millis kByeWait{5000};        // for the nodes to kill their workers
constexpr Millis kGoWait{60'000};       // for rank 0 to close its files
constexpr unsigned kFinalizeSeconds = 20;
constexpr Millis kSilent{5000};       // of a rank whose supervisor speaks every second
constexpr Millis kForgotten{60'000};  // rank 0 is silent to a node whose workers it has ended
constexpr Millis kLookAtRanks{50};

// The words that the ranks' own ends exchange, as frames of "worker" -1.
constexpr int kRank = -1;
constexpr std::string_view kEnd = "end";            // rank 0: kill your workers
constexpr std::string_view kBye = "bye";            // done
constexpr std::string_view kFinalize = "finalize";  // rank 0: nobody was lost, leave in order
constexpr std::string_view kExit = "exit";          // rank 0: leave without MPI_Finalize

// Sleeps between two looks at MPI: little while frames come, longer when nothing happens.
class Pause {
 public:
  // Ends early when the descriptor is readable.
  void wait(int descriptor, bool worked, std::chrono::nanoseconds most) {
    using std::chrono::microseconds;
    const auto now = std::chrono::steady_clock::now();
    if (worked) {
      last_work_ = now;
      time_ = microseconds(20);
      return;
    }
    const bool idle = now - last_work_ > std::chrono::seconds(1);
    time_ = std::min<std::chrono::nanoseconds>(2 * time_, idle ? Millis(10) : Millis(1));
    const auto nanoseconds = std::min<std::chrono::nanoseconds>(time_, most).count();
    const timespec timeout{nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
    pollfd on{descriptor, POLLIN, 0};
    ::ppoll(&on, 1, &timeout, nullptr);
  }

 private:
  std::chrono::nanoseconds time_{20'000};
  std::chrono::steady_clock::time_point last_work_;
};

std::string with_worker(int worker, std::string_view frame) {
  std::string out;
  const auto bits = static_cast<std::uint32_t>(worker);
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<char>((bits >> (8 * i)) & 0xff));
  return out.append(frame);
}

int worker_of(std::string_view frame) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < 4; ++i)
    bits |= std::uint32_t{static_cast<unsigned char>(frame[i])} << (8 * i);
  return static_cast<int>(bits);
}

// What the ranks tell one another when they join.
struct Resident {
  int rank = 0;
  pid_t pid = 0;
  ino_t pid_namespace = 0;  // within which pid means something
  std::array<std::uint64_t, CPU_SETSIZE / 64> cores{};
};

Resident describe_rank(int rank) {
  Resident out;
  out.rank = rank;
  out.pid = ::getpid();
  struct stat names {};
  if (::stat("/proc/self/ns/pid", &names) == 0) out.pid_namespace = names.st_ino;
  for (const int core : allowed_cores()) {
    const auto bit = static_cast<std::size_t>(core);
    out.cores[bit / 64] |= std::uint64_t{1} << (bit % 64);
  }
  return out;
}

Cores cores_of(const Resident& resident) {
  Cores out;
  for (std::size_t bit = 0; bit < CPU_SETSIZE; ++bit)
    if ((resident.cores[bit / 64] >> (bit % 64) & 1) != 0) out.push_back(static_cast<int>(bit));
  return out;
}

// Of each of a host's ranks.
std::vector<RankPlace> places_on(const std::vector<Resident>& host) {
  std::vector<Cores> allowed;  // to the executors
  for (const Resident& resident : host)
    if (resident.rank > 0) allowed.push_back(cores_of(resident));
  std::vector<RankPlace> out;
  int local = 0;
  for (const Resident& resident : host) {
    RankPlace& place = out.emplace_back();
    place.cores = cores_of(resident);
    if (resident.rank == 0) continue;
    place.local = local++;
    place.locals = static_cast<int>(allowed.size());
    place.cores = core_share(allowed, static_cast<std::size_t>(place.local));
  }
  for (std::size_t i = 0; i < host.size(); ++i)
    out[i].divided = std::none_of(out.begin(), out.end(), [&](const RankPlace& other) {
      return &other != &out[i] && other.locals > 0 &&
             std::find_first_of(other.cores.begin(), other.cores.end(), out[i].cores.begin(),
                                out[i].cores.end()) != other.cores.end();
    });
  return out;
}

// This process's place in the job and its streams to the other ranks. The frames between two ranks
// are one stream of bytes (framing.h), cut into parts.
class Job {
 public:
  using OnFrame = std::function<void(int rank, int worker, std::string_view frame)>;

  // Joins at the first call.
  static Job& get() {
    static Job* const job = new Job;  // never destroyed: the exit handler is the last to use it
    return *job;
  }

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(peers_.size()); }
  int local_size() const { return static_cast<int>(local_.size()); }
  const RankPlace& place(int rank) const { return places_.at(static_cast<std::size_t>(rank)); }

  // Rank 0: a rank of this host whose process has ended since the last call.
  std::optional<int> ended_rank();

  void send(int rank, int worker, std::string_view frame);

  // Moves what can be moved; true when anything was. Calls for every frame that is whole.
  bool progress(const OnFrame& on_frame);
  bool has_unsent() const { return !unsent_.empty(); }

  // Other ranks: rank 0 says that nobody was lost.
  void allow_finalize() { finalize_ = true; }

  // Rank 0: tells the nodes to end their workers and waits a while until they have.
  void end_nodes();

 private:
  struct Peer {
    std::string outgoing;  // not given to MPI yet
    std::array<char, kPartBytes> part{};
    MPI_Request request = MPI_REQUEST_NULL;
    FrameReader reader;
    bool lost = false;
    bool said_bye = false;
    Millis heard{0};
  };

  Job();
  bool send_parts();
  bool receive_parts();
  void meet_the_others();
  void give_up(int rank);
  void flush(Millis time);
  void leave(int status);
  void stop_launcher() const;

  int rank_ = 0;
  MPI_Comm world_ = MPI_COMM_NULL;
  std::vector<Peer> peers_;          // by rank
  std::map<int, Descriptor> local_;  // ranks of this host; rank 0: their pidfds
  std::set<int> died_;               // of those
  std::vector<RankPlace> places_;    // by rank; all of them on rank 0 only
  std::set<int> unsent_;             // peers with something to send
  bool ended_ = false;
  SystemClock clock_;
  Millis moved_{0};  // when progress() was last called
  Millis looked_at_ranks_{0};

  bool finalize_ = false;
};

Job::Job() {
  int provided = 0;
  CHECK(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) == MPI_SUCCESS,
        "MPI_Init_thread");
  MPI_Comm_dup(MPI_COMM_WORLD, &world_);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  MPI_Comm_set_errhandler(world_, MPI_ERRORS_RETURN);
  int size = 1;
  MPI_Comm_rank(world_, &rank_);
  MPI_Comm_size(world_, &size);
  peers_.resize(static_cast<std::size_t>(size));
  meet_the_others();
  ::on_exit([](int status, void* job) { static_cast<Job*>(job)->leave(status); }, this);
}

// The only words before everything is point to point: all ranks are there now, or none starts.
void Job::meet_the_others() {
  MPI_Comm local = MPI_COMM_NULL;
  MPI_Comm_split_type(world_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &local);
  int local_size = 1, local_rank = 0;
  MPI_Comm_size(local, &local_size);
  MPI_Comm_rank(local, &local_rank);
  const Resident self = describe_rank(rank_);
  std::vector<Resident> host(static_cast<std::size_t>(local_size));
  MPI_Allgather(&self, sizeof self, MPI_BYTE, host.data(), sizeof self, MPI_BYTE, local);
  MPI_Comm_free(&local);
  const RankPlace mine = places_on(host)[static_cast<std::size_t>(local_rank)];
  if (rank_ > 0 && mine.cores != cores_of(self)) run_on(mine.cores);
  for (const Resident& other : host) {
    // Not across containers that share memory but not process numbers.
    const bool seen = rank_ == 0 && other.rank > 0 && other.pid_namespace == self.pid_namespace;
    local_[other.rank] =
        Descriptor(seen ? static_cast<int>(::syscall(SYS_pidfd_open, other.pid, 0)) : -1);
  }
  // Hosts are told apart by the rank that is first on each.
  const int first = host.front().rank;
  std::vector<Resident> all(static_cast<std::size_t>(rank_ == 0 ? size() : 0));
  std::vector<int> hosts(all.size());
  MPI_Gather(&self, sizeof self, MPI_BYTE, all.data(), sizeof self, MPI_BYTE, 0, world_);
  MPI_Gather(&first, 1, MPI_INT, hosts.data(), 1, MPI_INT, 0, world_);
  places_.resize(static_cast<std::size_t>(size()));
  places_[static_cast<std::size_t>(rank_)] = mine;
  for (const int one : std::set<int>(hosts.begin(), hosts.end())) {
    std::vector<Resident> there;
    for (std::size_t rank = 0; rank < all.size(); ++rank)
      if (hosts[rank] == one) there.push_back(all[rank]);
    const auto places = places_on(there);
    for (std::size_t i = 0; i < there.size(); ++i)
      places_[static_cast<std::size_t>(there[i].rank)] = places[i];
  }
}

std::optional<int> Job::ended_rank() {
  const Millis now = clock_.now();
  if (ended_ || now - looked_at_ranks_ < kLookAtRanks) return std::nullopt;
  for (const auto& [rank, pidfd] : local_) {
    if (!pidfd || died_.contains(rank)) continue;
    pollfd on{pidfd.get(), POLLIN, 0};
    if (::poll(&on, 1, 0) <= 0) continue;
    died_.insert(rank);
    return rank;
  }
  looked_at_ranks_ = now;
  return std::nullopt;
}

// Nothing is sent to it any more. The request stays: its buffer may still be read.
void Job::give_up(int rank) {
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  peer.lost = true;
  peer.outgoing.clear();
  unsent_.erase(rank);
}

void Job::send(int rank, int worker, std::string_view frame) {
  if (rank < 0 || rank >= size()) return;
  Peer& peer = peers_[static_cast<std::size_t>(rank)];
  if (peer.lost) return;
  append_frame(peer.outgoing, with_worker(worker, frame));
  unsent_.insert(rank);
  if (peer.outgoing.size() > kUnsentBytesMax) give_up(rank);
}

// One part under way to each peer; the next when MPI has taken it.
bool Job::send_parts() {
  bool moved = false;
  for (auto at = unsent_.begin(); at != unsent_.end();) {
    Peer& peer = peers_[static_cast<std::size_t>(*at)];
    int taken = 1;
    while (taken != 0) {
      if (peer.request != MPI_REQUEST_NULL) MPI_Test(&peer.request, &taken, MPI_STATUS_IGNORE);
      if (taken == 0 || peer.outgoing.empty()) break;
      const std::size_t count = std::min(kPartBytes, peer.outgoing.size());
      std::memcpy(peer.part.data(), peer.outgoing.data(), count);
      peer.outgoing.erase(0, count);
      MPI_Isend(peer.part.data(), static_cast<int>(count), MPI_BYTE, *at, kTag, world_,
                &peer.request);
      moved = true;
    }
    const bool done = taken != 0 && peer.outgoing.empty();
    at = done ? unsent_.erase(at) : std::next(at);
  }
  return moved;
}

bool Job::receive_parts() {
  std::array<char, kPartBytes> part;
  bool moved = false;
  for (int i = 0; i < 1000; ++i) {  // then the others get their turn
    int there = 0, count = 0;
    MPI_Status status;
    const int probed = MPI_Iprobe(MPI_ANY_SOURCE, kTag, world_, &there, &status);
    if (probed != MPI_SUCCESS || there == 0) break;
    // It has arrived: this does not wait.
    if (MPI_Recv(part.data(), static_cast<int>(part.size()), MPI_BYTE, status.MPI_SOURCE, kTag,
                 world_, &status) != MPI_SUCCESS)
      continue;
    MPI_Get_count(&status, MPI_BYTE, &count);
    Peer& peer = peers_[static_cast<std::size_t>(status.MPI_SOURCE)];
    peer.reader.feed({part.data(), static_cast<std::size_t>(count)});
    peer.heard = moved_;
    moved = true;
  }
  return moved;
}

bool Job::progress(const OnFrame& on_frame) {
  moved_ = clock_.now();
  const bool sent = send_parts();
  const bool received = receive_parts();
  if (!received) return sent;
  for (int rank = 0; rank < size(); ++rank) {
    Peer& peer = peers_[static_cast<std::size_t>(rank)];
    if (peer.lost) continue;
    try {
      while (const auto frame = peer.reader.next()) {
        if (frame->size() < 4) throw UserError("a frame without its worker");
        const std::string_view body = std::string_view(*frame).substr(4);
        const int worker = worker_of(*frame);
        if (worker == kRank && body == kBye) peer.said_bye = true;
        on_frame(rank, worker, body);
      }
    } catch (const UserError&) {  // a stream of frames no more: nothing it says can be believed
      peer.lost = true;
    }
  }
  return true;
}

void Job::flush(Millis time) {
  Pause pause;
  const Millis until = clock_.now() + time;
  while (has_unsent() && clock_.now() < until)
    pause.wait(-1, progress([](int, int, std::string_view) {}), Millis(1));
}

void Job::end_nodes() {
  if (ended_) return;
  ended_ = true;
  for (int rank = 1; rank < size(); ++rank) {
    // Whoever was silent while we still listened will not answer now.
    const Peer& peer = peers_[static_cast<std::size_t>(rank)];
    const bool silent = peer.heard > Millis{0} && moved_ - peer.heard > kSilent;
    if (silent || died_.contains(rank)) give_up(rank);
    send(rank, kRank, kEnd);
  }
  Pause pause;
  const Millis until = clock_.now() + kByeWait;
  const auto all = [&] {
    return std::all_of(peers_.begin() + 1, peers_.end(),
                       [](const Peer& peer) { return peer.said_bye || peer.lost; });
  };
  while (!all() && clock_.now() < until)
    pause.wait(-1, progress([](int, int, std::string_view) {}), Millis(1));
}

// mpirun does not notice by itself that it should end when it has lost a whole host.
void Job::stop_launcher() const {
  const pid_t parent = ::getppid();
  std::ifstream file("/proc/" + std::to_string(parent) + "/comm");
  std::string name;
  std::getline(file, name);
  if (name == "mpirun" || name == "orterun" || name == "mpiexec") ::kill(parent, SIGTERM);
}

// MPI_Finalize waits for every rank, for ever when one of another host is gone: it is only called
// when nobody was lost, and even then not without an alarm clock.
void Job::leave(int status) {
  if (rank_ == 0) {
    end_nodes();
    finalize_ = true;
    bool host_lost = false;
    for (int rank = 1; rank < size(); ++rank) {
      if (peers_[static_cast<std::size_t>(rank)].said_bye) continue;
      finalize_ = false;
      const auto here = local_.find(rank);
      if (here == local_.end()) host_lost = true;
      // mpirun waits for everybody, also for a rank that was stopped.
      else if (here->second)
        ::syscall(SYS_pidfd_send_signal, here->second.get(), SIGKILL, nullptr, 0);
    }
    for (int rank = 1; rank < size(); ++rank)
      if (peers_[static_cast<std::size_t>(rank)].said_bye)
        send(rank, kRank, finalize_ ? kFinalize : kExit);
    flush(Millis(1000));
    if (host_lost) stop_launcher();
  }
  std::fflush(nullptr);
  if (!finalize_) ::_exit(status);
  static int exit_status;
  exit_status = status;
  ::signal(SIGALRM, [](int) { ::_exit(exit_status); });
  ::alarm(kFinalizeSeconds);
  MPI_Finalize();
  ::alarm(0);
}

class MpiTransport final : public Transport {
 public:
  MpiTransport() : job_(Job::get()), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    CHECK(job_.rank() == 0, "the controller is on rank 0");
    if (!wake_) throw UserError(std::string("cannot make an eventfd: ") + std::strerror(errno));
  }
  ~MpiTransport() override { job_.end_nodes(); }

  std::optional<Envelope> receive(Millis wait_max) override {
    const Millis until = clock_.now() + wait_max;
    while (true) {
      // MPI moves only while we are in it, so also when there are frames at hand.
      const bool worked = job_.progress([this](int rank, int worker, std::string_view frame) {
        if (worker >= 0) inbox_.push_back({{rank, worker}, std::string(frame)});
      });
      if (const auto rank = job_.ended_rank()) {
        Lost lost;
        lost.why = "the process of rank " + std::to_string(*rank) + " has ended";
        lost.last = true;
        inbox_.push_back({{*rank, 0}, encode(lost)});
      }
      if (!inbox_.empty()) {
        Envelope envelope = std::move(inbox_.front());
        inbox_.pop_front();
        return envelope;
      }
      const Millis left = until - clock_.now();
      std::uint64_t times = 0;
      const bool woken = ::read(wake_.get(), &times, sizeof times) > 0;
      if (woken || left <= Millis(0)) return std::nullopt;
      pause_.wait(wake_.get(), worked, left);
    }
  }

  void send(Address to, std::string_view frame) override {
    if (to.node > 0) job_.send(to.node, to.worker, frame);
  }

  void wake() noexcept override {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(wake_.get(), &one, sizeof one);
  }

 private:
  Job& job_;
  SystemClock clock_;
  Descriptor wake_;
  Pause pause_;
  std::deque<Envelope> inbox_;
};

// A launcher that wants the job to end signals every rank. Rank 0 decides how it ends; the others
// serve it until it says so, or until its lease is over.
void leave_signals_to_rank_0() {
  for (const int number : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2}) ::signal(number, SIG_IGN);
}

[[noreturn]] void abandon(const char* why) {
  std::fprintf(stderr, "brood: rank %d ends: %s\n", Job::get().rank(), why);
  ::_exit(75);  // EX_TEMPFAIL: run it again
}

// One node: what serve_rank() does until rank 0 says that it is over.
class Node {
 public:
  explicit Node(LocalOptions options)
      : processes_(std::move(options.processes)),
        supervisor_(
            job_.rank(), std::move(options.self), processes_,
            [this](Address from, std::string_view frame) { job_.send(0, from.worker, frame); }),
        heard_(clock_.now()) {}

  void serve() {
    supervisor_.begin(clock_.now());
    while (!over_) {
      const bool worked =
          job_.progress([this](int, int worker, std::string_view frame) { obey(worker, frame); });
      processes_.dispatch(
          [this](int worker, std::string_view frame) {
            supervisor_.from_worker(worker, frame, clock_.now());
          },
          [this](int worker, const Exit& exit) { supervisor_.exited(worker, exit, clock_.now()); });
      tick();
      pause_.wait(processes_.descriptor(), worked, kTick);
    }
  }

 private:
  void obey(int worker, std::string_view frame) {
    heard_ = clock_.now();
    spoken_to_ = true;
    if (worker == kRank)
      over_ = over_ || frame == kEnd;
    else
      supervisor_.from_controller(worker, frame, clock_.now());
  }

  void tick() {
    const Millis now = clock_.now();
    if (now < next_tick_) return;
    next_tick_ = now + kTick;
    supervisor_.tick(now);
    if (supervisor_.lease_lost() && processes_.alive() == 0)
      abandon("rank 0 was silent for the length of the lease");
    if (!spoken_to_ && now - heard_ > kFirstFrame) abandon("rank 0 has never spoken");
    if (supervisor_.finished() && now - heard_ > kForgotten) abandon("rank 0 is silent");
  }

  Job& job_ = Job::get();
  SystemClock clock_;
  OsProcesses processes_;
  Supervisor supervisor_;
  Pause pause_;
  Millis heard_;
  Millis next_tick_{0};
  bool spoken_to_ = false;
  bool over_ = false;
};

}  // namespace

bool launched_under_mpi() { return std::getenv("PMIX_RANK") != nullptr; }
int mpi_rank() { return Job::get().rank(); }
int mpi_size() { return Job::get().size(); }
int mpi_local_size() { return Job::get().local_size(); }
const RankPlace& mpi_place(int rank) { return Job::get().place(rank); }

std::unique_ptr<Transport> make_mpi_transport(LocalOptions options) {
  if (mpi_size() == 1) return make_local_transport(std::move(options));
  return std::make_unique<MpiTransport>();
}

int serve_rank(LocalOptions options) {
  Job& job = Job::get();
  CHECK(job.rank() > 0, "rank 0 does not serve itself");
  leave_signals_to_rank_0();
  Node(std::move(options)).serve();  // its end kills the workers
  job.send(0, kRank, kBye);
  Pause pause;
  const SystemClock clock;
  const Millis until = clock.now() + kGoWait;
  bool told = false;
  while (!told && clock.now() < until) {
    const bool worked = job.progress([&](int, int worker, std::string_view frame) {
      if (worker != kRank) return;
      if (frame == kFinalize) job.allow_finalize();
      told = told || frame == kFinalize || frame == kExit;
    });
    pause.wait(-1, worked, Millis(1));
  }
  return 0;
}

}  // namespace brood
