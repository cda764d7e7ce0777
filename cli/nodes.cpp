#include "cli/nodes.h"

#include <algorithm>
#include <set>
#include <utility>
#include <variant>

#include "engine/node.h"
#include "trainers/trainers.h"

namespace brood {

namespace {

bool computes_in(const NodeHello& node, const std::string& architecture) {
  return std::any_of(node.numeric_classes.begin(), node.numeric_classes.end(),
                     [&](const std::string& one) { return architecture_of(one) == architecture; });
}

class HeardBefore final : public Transport {
 public:
  HeardBefore(std::unique_ptr<Transport> transport, std::deque<Envelope> heard)
      : transport_(std::move(transport)), heard_(std::move(heard)) {}

  std::optional<Envelope> receive(Millis wait_max) override {
    if (heard_.empty()) return transport_->receive(wait_max);
    Envelope out = std::move(heard_.front());
    heard_.pop_front();
    return out;
  }
  void send(Address to, std::string_view frame) override { transport_->send(to, frame); }
  void wake() noexcept override { transport_->wake(); }

 private:
  const std::unique_ptr<Transport> transport_;
  std::deque<Envelope> heard_;
};

}  // namespace

NodeHello describe_here(bool with_devices) {
  if (!with_devices) return describe_node(numeric_classes());
  const Devices for_cnn = usable_devices("cnn");
  NodeHello out = describe_node(numeric_classes(for_cnn.found), true);
  out.no_gpu = for_cnn.why_none;
  // Emulated ones are no programs' business, but there is nothing else then.
  if (out.devices.empty()) out.devices = for_cnn.found;
  return out;
}

Nodes meet(Transport& transport, const NodeHello& self, int ranks, Millis longest) {
  Nodes out;
  out.hellos[0] = self;
  std::set<int> lost;
  const SystemClock clock;
  const Millis until = clock.now() + longest;
  const auto all = static_cast<std::size_t>(ranks) + 1;
  while (out.hellos.size() + lost.size() < all && clock.now() < until) {
    auto envelope = transport.receive(std::max(Millis{0}, until - clock.now()));
    if (!envelope) continue;
    const int rank = envelope->from.node;
    try {
      const Message message = decode(envelope->frame);
      if (const auto* hello = std::get_if<NodeHello>(&message)) {
        out.hellos[rank] = *hello;
        lost.erase(rank);
      } else if (std::get_if<Lost>(&message) != nullptr) {
        out.hellos.erase(rank);
        lost.insert(rank);
      }
    } catch (const UserError&) {
      // Another build, perhaps: whoever reads it next says what is wrong.
      if (!out.hellos.contains(rank)) lost.insert(rank);
    }
    out.heard.push_back(std::move(*envelope));
  }
  return out;
}

std::string rank_name(int rank, const NodeHello& node) {
  return "rank " + std::to_string(rank) + " (" + node.host + ")";
}

Devices devices_of(const std::map<int, NodeHello>& nodes, bool usable) {
  Devices out;
  std::set<std::pair<std::string, std::string>> seen, hosts;
  for (const auto& [rank, node] : nodes) {
    if (rank == 0) continue;
    if (!node.devices.empty()) out.driver = "of its host";
    if (usable && !node.no_gpu.empty() && hosts.insert({node.host, node.no_gpu}).second &&
        hosts.size() <= 3)  // of many hosts the first ones say enough
      out.why_none += (out.why_none.empty() ? "" : "; ") + node.host + ": " + node.no_gpu;
    for (const Device& device : node.devices) {
      if (usable && !computes_in(node, device.architecture)) continue;
      if (!seen.insert({node.host, identity_of(device)}).second) continue;
      out.found.push_back(device);
      out.found.back().name = device.name + " of " + node.host;
    }
  }
  if (out.found.empty() && out.why_none.empty()) out.why_none = "no rank that trains has one";
  return out;
}

std::string where_they_train(const std::vector<Device>& gpus) {
  constexpr std::size_t kNamed = 8;
  std::string out = "trials train on ";
  for (std::size_t i = 0; i < std::min(gpus.size(), kNamed); ++i)
    out += (i > 0 ? ", " : "") + gpus[i].name;
  if (gpus.size() > kNamed) out += " and " + std::to_string(gpus.size() - kNamed) + " GPUs more";
  return gpus.empty() ? out : out + " (" + gpus.front().architecture + ")";
}

void note_what_rank_0_has(const std::map<int, NodeHello>& nodes, std::vector<std::string>& notes) {
  const NodeHello& self = nodes.at(0);
  if (!self.no_gpu.empty()) return;
  for (const Device& device : self.devices) {
    bool trains = false, company = false;
    for (const auto& [rank, node] : nodes) {
      if (rank == 0 || node.host != self.host) continue;
      company = true;
      for (const Device& other : node.devices)
        trains = trains || identity_of(other) == identity_of(device);
    }
    if (trains) continue;
    notes.push_back(device.name + " of " + self.host + " lies idle: " +
                    (company ? "only rank 0 sees it, which trains nothing; let each rank see all "
                               "GPUs of its host, they divide them"
                             : "only rank 0 runs there, which trains nothing"));
  }
}

std::unique_ptr<Transport> after(std::unique_ptr<Transport> transport, std::deque<Envelope> heard) {
  return std::make_unique<HeardBefore>(std::move(transport), std::move(heard));
}

}  // namespace brood
