#include "cli/doctor.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <map>

#include "cli/asked.h"
#include "cli/config.h"
#include "cli/nodes.h"
#include "cli/storage_check.h"
#include "engine/device.h"
#include "engine/error.h"
#include "engine/message.h"
#include "engine/mpi.h"
#include "engine/strategy.h"
#include "engine/units.h"
#include "strategies/strategies.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

namespace fs = std::filesystem;

constexpr Millis kHelloWait{20000};
constexpr std::uint64_t kFewBytes = std::uint64_t{1} << 30;
constexpr double kSlowSyncMs = 20;
constexpr std::uint64_t kFewFiles = 1024;
constexpr std::uint64_t kInUse = std::uint64_t{1} << 30;  // of a GPU; a driver takes some itself

enum class Finding { fine, note, bad };

class Findings {
 public:
  void add(const std::string& part, Finding finding, const std::string& text) {
    constexpr std::array kWords = {"ok", "note", "BAD"};
    table_.rows.push_back({part, std::string(kWords[static_cast<std::size_t>(finding)]), text});
    bad_ = bad_ || finding == Finding::bad;
  }
  bool bad() const { return bad_; }
  const Table& table() const { return table_; }

 private:
  Table table_{{"part", "finding", "what"}, {}};
  bool bad_ = false;
};

std::string listed(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// What each node said of itself, by rank; alone, this process is the only one.
std::map<int, NodeHello> gather(Findings& findings) {
  const NodeHello self = describe_here(true);
  if (!launched_under_mpi() || mpi_size() == 1) return {{0, self}};
  const auto transport = make_mpi_transport({self, {}});
  std::map<int, NodeHello> nodes = meet(*transport, self, mpi_size() - 1, kHelloWait).hellos;
  for (int rank = 1; rank < mpi_size(); ++rank)
    if (nodes.count(rank) == 0)
      findings.add("rank " + std::to_string(rank), Finding::bad,
                   "said nothing for " + duration_text(kHelloWait) +
                       ": is the same brood installed on its host?");
  return nodes;
}

void look_at_nodes(const std::map<int, NodeHello>& nodes, Findings& findings) {
  const bool job = launched_under_mpi();
  const NodeHello& self = nodes.at(0);
  findings.add("program", Finding::fine,
               "brood " + self.build + (job ? ", " + std::to_string(mpi_size()) + " ranks" : ""));
  std::vector<std::string> common = self.numeric_classes;
  for (const auto& [rank, node] : nodes) {
    const std::string part = job ? "rank " + std::to_string(rank) : "machine";
    std::string text = node.host + ": " + count_text(node.cores, "core") + ", " +
                       size_text(node.bytes) + ", computes in " +
                       (node.numeric_classes.empty() ? "-" : node.numeric_classes.front());
    const bool alone = !job || mpi_size() == 1;
    const RankPlace place = alone ? RankPlace{} : mpi_place(rank);
    if (!alone && place.locals == 0) text += "; the controller, trains nothing";
    const bool crowded = place.locals > 0 && !place.divided;
    if (place.locals > 0)
      text += "; executor rank " + std::to_string(place.local) + " of " +
              std::to_string(place.locals) + " there, " +
              (crowded                   ? "shares cores "
               : place.cores.size() == 1 ? "on core "
                                         : "on cores ") +
              to_text(place.cores) +
              (crowded ? " with others: more ranks than cores, or a binding of mpirun's" : "");
    const bool same = node.build == self.build;
    if (!same) text += "; another build of brood (" + node.build + "): install the same everywhere";
    findings.add(part, !same ? Finding::bad : crowded ? Finding::note : Finding::fine, text);
    if (rank > 0)
      std::erase_if(common, [&offered = node.numeric_classes](const std::string& one) {
        return std::find(offered.begin(), offered.end(), one) == offered.end();
      });
  }
  findings.add("classes", common.empty() ? Finding::bad : Finding::fine,
               common.empty() ? "no numeric class is common to all ranks: a CNN cannot be trained "
                                "on all of them with the same bits"
                              : "in common, best first: " + listed(common));
}

// GPUs of this machine, and what other ranks say of theirs.
void look_at_gpus(const std::map<int, NodeHello>& nodes, Findings& findings) {
  const Devices here = find_devices(), of_cnn = usable_devices("cnn");
  const auto uses = [&](const Device& device) {
    return std::any_of(of_cnn.found.begin(), of_cnn.found.end(),
                       [&](const Device& one) { return one.name == device.name; });
  };
  if (here.found.empty())
    findings.add("gpus", Finding::fine, "none: " + here.why_none + "; trials train on the CPU");
  for (const Device& device : here.found)
    findings.add(
        device.name, Finding::fine,
        device.model + ", " + size_text(device.bytes) + ", " + device.architecture + ", driver " +
            here.driver +
            (device.used > kInUse ? "; " + size_text(device.used) + " of it are in use now" : "") +
            (uses(device) ? "" : "; for programs only (trainer command): " + of_cnn.why_none));
  for (const Device& device : of_cnn.found)
    if (of_cnn.driver == "emulated") findings.add(device.name, Finding::note, device_warning());
  for (const auto& [rank, node] : nodes) {
    if (rank == 0) continue;
    std::string text = node.host + ": ";
    for (const Device& device : node.devices)
      text += (text.ends_with(": ") ? "" : ", ") + device.name + " " + device.model + " (" +
              device.architecture + ")";
    if (node.devices.empty()) text += "no GPU";
    if (!node.no_gpu.empty()) text += "; none for the cnn trainer: " + node.no_gpu;
    findings.add("rank " + std::to_string(rank), Finding::fine, text);
  }
}

void look_at_limits(Findings& findings) {
  struct rlimit files {};
  ::getrlimit(RLIMIT_NOFILE, &files);
  const bool few = files.rlim_cur != RLIM_INFINITY && files.rlim_cur < kFewFiles;
  findings.add(
      "open files", few ? Finding::note : Finding::fine,
      (files.rlim_cur == RLIM_INFINITY ? "no limit" : std::to_string(files.rlim_cur) + " allowed") +
          (few ? "; each executor needs three: raise it with ulimit -n" : ""));
}

void look_at_storage(const std::string& folder, Findings& findings) {
  const StorageCheck check = check_storage(folder);
  if (!check.trouble.empty())
    return findings.add("storage", Finding::bad,
                        folder + ": " + check.trouble + ": name another place in output/database");
  std::array<char, 32> time{};
  std::snprintf(time.data(), time.size(), "%.1f", check.sync_ms);
  std::string text = folder + ": " + check.file_system + ", " + size_text(check.free_bytes) +
                     " free, 4 kB are durable in " + time.data() + " ms";
  std::string notes;
  if (check.shared)
    notes += "; a network file system: only one host may open the database at a time";
  if (check.forgets) notes += "; in memory: gone when the machine restarts";
  if (check.free_bytes < kFewBytes) notes += "; little room is left";
  if (check.sync_ms > kSlowSyncMs) notes += "; slow: results are acknowledged late";
  findings.add("storage", notes.empty() ? Finding::fine : Finding::note, text + notes);
}

void look_at_database(Asked& asked, Findings& findings) {
  const Rows rows = asked.reader.sql("PRAGMA integrity_check");
  const std::string said =
      rows.rows.empty() ? "nothing" : std::get<std::string>(rows.rows.front().front());
  const auto counts = asked.reader.counts(asked.experiment);
  findings.add(
      "database", said == "ok" ? Finding::fine : Finding::bad,
      asked.reader.path() + ": " +
          (said == "ok" ? "sound, experiment \"" + asked.experiment.name + "\", " +
                              count_text(counts.all(), "trial") + ", " + asked.experiment.state
                        : "is damaged (" + said + "): restore a copy"));
  const Rows saved = asked.reader.sql(
      "SELECT c.path FROM checkpoint c JOIN trial t ON t.id = c.trial WHERE t.experiment = " +
      std::to_string(asked.experiment.id));
  std::size_t missing = 0;
  for (const auto& row : saved.rows) {
    std::error_code ignored;
    const auto& path = std::get<std::string>(row.front());
    if (!fs::is_regular_file(path_beside(asked.reader.path(), path), ignored)) ++missing;
  }
  findings.add("checkpoints", missing > 0 ? Finding::note : Finding::fine,
               count_text(static_cast<std::int64_t>(saved.rows.size()), "checkpoint") + " known" +
                   (missing > 0 ? ", " + std::to_string(missing) +
                                      " of them missing: those trials start over, or are not kept"
                                : ""));
}

// Every proposal is a function of the seed and of what was told before it.
void verify_proposals(Asked& asked, Findings& findings) {
  const auto sessions = asked.reader.sessions(asked.experiment);
  const ExperimentSpec spec = read_config_text(
      asked.experiment.config,
      sessions.empty() ? asked.reader.path() : sessions.back().session.config_file);
  const auto strategy = make_strategy(spec);
  const std::int64_t count = asked.reader.counts(asked.experiment).all();
  std::vector<Trial> trials;
  PointIndex points;
  TrialId told = 0;
  std::int64_t compared = 0, different = 0, first = -1;
  for (TrialId k = 0; k < count; ++k) {
    trials.push_back(with_result(asked.reader, asked.experiment, k));
    const Trial& trial = trials.back();
    const bool asked_for = trial.origin == Origin::strategy;
    const TrialId horizon = asked_for ? strategy->horizon(k) : told;
    // Proposed ahead of a result that has not come: the record cannot be told that far.
    if (asked_for && horizon <= k &&
        std::all_of(trials.begin() + told, trials.begin() + horizon,
                    [](const Trial& t) { return ended(t.state); })) {
      for (; told < horizon; ++told) strategy->tell(trials[static_cast<std::size_t>(told)]);
      const auto again = strategy->propose(
          k, Rng(spec.seed, static_cast<std::uint64_t>(k), Purpose::propose), points);
      ++compared;
      if (again && again->proposal.params != trial.params && different++ == 0) first = k;
    }
    points.add(trial.params);
  }
  findings.add("proposals", different > 0 ? Finding::bad : Finding::fine,
               different > 0
                   ? std::to_string(different) + " of " + std::to_string(compared) +
                         " would be others today, the first is trial " + std::to_string(first) +
                         ": the record was made by another version of brood"
                   : count_text(compared, "proposal") + " made again, each is the recorded one");
}

}  // namespace

int doctor_command(const DoctorOptions& options, std::ostream& out) {
  if (launched_under_mpi() && mpi_rank() > 0) return serve_rank({describe_here(true), {}});
  Findings findings;
  const auto nodes = gather(findings);
  look_at_nodes(nodes, findings);
  look_at_gpus(nodes, findings);
  look_at_limits(findings);
  const Where where = resolved(options.where);
  const fs::path database = fs::absolute(where.database);
  std::error_code missing;
  const bool there = fs::exists(database, missing);
  const bool folder_there = fs::is_directory(database.parent_path(), missing);
  look_at_storage((folder_there ? database.parent_path() : fs::current_path()).string(), findings);
  if (there) {
    Asked asked = ask(options.where);
    look_at_database(asked, findings);
    if (options.verify) verify_proposals(asked, findings);
  } else {
    // Asked for by name, or to be verified, it should be there; a config's comes with its run.
    const bool named = options.verify || (!options.where.database.empty() &&
                                          options.where.database == where.database);
    findings.add("database", named ? Finding::bad : Finding::note,
                 where.database + ": there is none" + (named ? "" : " yet"));
  }
  print(findings.table(), options.format, terminal_width(), out);
  return findings.bad() ? 1 : 0;
}

}  // namespace brood
