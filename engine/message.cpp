#include "engine/message.h"

#include <array>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace {

// Every frame is an object whose "is" names its kind. `put` writes a message's fields, `get` reads
// them back; the two stand side by side so that they cannot drift apart.

constexpr std::array<std::string_view, 5> kEvents = {"progress", "report", "saved", "ended",
                                                     "failed"};

Event::Kind event_kind(const std::string& word) {
  for (std::size_t i = 0; i < kEvents.size(); ++i)
    if (kEvents[i] == word) return static_cast<Event::Kind>(i);
  throw UserError("unknown event \"" + word + "\"");
}

template <class T>
T field(const Json& json, const char* name) {
  const auto at = json.find(name);
  if (at == json.end()) throw UserError(std::string("a frame without \"") + name + '"');
  try {
    return at->get<T>();
  } catch (const Json::exception&) {
    throw UserError(std::string("a frame with a wrong \"") + name + "\": " + at->dump());
  }
}

Json put(const Hello& m) {
  return {{"is", "hello"},
          {"device", m.offer.device},
          {"numeric_class", m.offer.numeric_class},
          {"slots", m.offer.slots},
          {"bytes", m.offer.bytes},
          {"build", m.build},
          {"host", m.host},
          {"pid", m.pid}};
}
void get(const Json& j, Hello& m) {
  m.offer.device = field<std::string>(j, "device");
  m.offer.numeric_class = field<std::string>(j, "numeric_class");
  m.offer.slots = field<int>(j, "slots");
  m.offer.bytes = field<std::uint64_t>(j, "bytes");
  m.build = field<std::string>(j, "build");
  m.host = field<std::string>(j, "host");
  m.pid = field<std::int64_t>(j, "pid");
}

Json put(const Idle& m) { return {{"is", "idle"}, {"slot", m.slot}}; }
void get(const Json& j, Idle& m) { m.slot = field<int>(j, "slot"); }

Json put(const Told& m) {
  const Event& e = m.event;
  Json j = {{"is", "told"},     {"sequence", m.sequence},
            {"trial", m.trial}, {"attempt", m.attempt},
            {"slot", e.slot},   {"event", kEvents[static_cast<std::size_t>(e.kind)]}};
  if (e.kind == Event::Kind::progress) j["step"] = e.step;
  if (e.kind == Event::Kind::report) j["report"] = to_json(e.report);
  if (e.kind == Event::Kind::saved) j["path"] = e.path;
  if (e.kind == Event::Kind::saved || e.kind == Event::Kind::ended) j["epoch"] = e.epoch;
  if (e.kind == Event::Kind::failed) {
    j["cause"] = to_text(e.cause);
    j["why"] = e.why;
  }
  return j;
}
void get(const Json& j, Told& m) {
  m.sequence = field<std::int64_t>(j, "sequence");
  m.trial = field<TrialId>(j, "trial");
  m.attempt = field<int>(j, "attempt");
  Event& e = m.event;
  e.slot = field<int>(j, "slot");
  e.kind = event_kind(field<std::string>(j, "event"));
  if (e.kind == Event::Kind::progress) e.step = field<std::int64_t>(j, "step");
  if (e.kind == Event::Kind::report) e.report = report_from_json(field<Json>(j, "report"));
  if (e.kind == Event::Kind::saved) e.path = field<std::string>(j, "path");
  if (e.kind == Event::Kind::saved || e.kind == Event::Kind::ended)
    e.epoch = field<int>(j, "epoch");
  if (e.kind == Event::Kind::failed) {
    e.cause = cause(field<std::string>(j, "cause"));
    e.why = field<std::string>(j, "why");
  }
}

Json put(const NodeHello& m) {
  Json devices = Json::array();
  for (const Device& d : m.devices)
    devices.push_back({{"name", d.name},
                       {"model", d.model},
                       {"architecture", d.architecture},
                       {"bytes", d.bytes},
                       {"uuid", d.uuid},
                       {"used", d.used}});
  return {{"is", "node"},
          {"host", m.host},
          {"build", m.build},
          {"pid", m.pid},
          {"cores", m.cores},
          {"bytes", m.bytes},
          {"numeric_classes", m.numeric_classes},
          {"devices", std::move(devices)},
          {"no_gpu", m.no_gpu}};
}
void get(const Json& j, NodeHello& m) {
  for (const Json& d : field<Json>(j, "devices")) {
    m.devices.push_back({field<std::string>(d, "name"), field<std::string>(d, "model"),
                         field<std::string>(d, "architecture"), field<std::uint64_t>(d, "bytes"),
                         field<std::string>(d, "uuid")});
    if (d.contains("used")) m.devices.back().used = field<std::uint64_t>(d, "used");
  }
  // Another build, which may not say it, is to be refused by its name.
  if (j.contains("no_gpu")) m.no_gpu = field<std::string>(j, "no_gpu");
  m.numeric_classes = field<std::vector<std::string>>(j, "numeric_classes");
  m.host = field<std::string>(j, "host");
  m.build = field<std::string>(j, "build");
  m.pid = field<std::int64_t>(j, "pid");
  m.cores = field<int>(j, "cores");
  m.bytes = field<std::uint64_t>(j, "bytes");
}

Json put(const Beat& m) {
  Json slots = Json::array();
  for (const SlotBeat& s : m.slots) slots.push_back({s.worker, s.slot, s.trial, s.step, s.rss});
  Json out = {{"is", "beat"}, {"slots", std::move(slots)}};
  if (m.free) out["free"] = *m.free;
  return out;
}
void get(const Json& j, Beat& m) {
  for (const Json& s : field<Json>(j, "slots")) {
    if (!s.is_array() || s.size() != 5) throw UserError("a beat with a wrong slot: " + s.dump());
    m.slots.push_back({s[0].get<int>(), s[1].get<int>(), s[2].get<TrialId>(),
                       s[3].get<std::int64_t>(), s[4].get<std::uint64_t>()});
  }
  if (j.contains("free")) m.free = field<std::uint64_t>(j, "free");
}

Json put(const Lost& m) {
  return {{"is", "lost"},           {"worker", m.worker},     {"cause", to_text(m.cause)},
          {"why", m.why},           {"log_tail", m.log_tail}, {"max_rss", m.max_rss},
          {"sequence", m.sequence}, {"last", m.last},         {"trial", m.trial}};
}
void get(const Json& j, Lost& m) {
  m.worker = field<int>(j, "worker");
  m.cause = cause(field<std::string>(j, "cause"));
  m.why = field<std::string>(j, "why");
  m.log_tail = field<std::string>(j, "log_tail");
  m.max_rss = field<std::uint64_t>(j, "max_rss");
  m.sequence = field<std::int64_t>(j, "sequence");
  m.last = field<bool>(j, "last");
  m.trial = field<TrialId>(j, "trial");
}

Json put(const Setup& m) {
  return {{"is", "setup"},
          {"trainer", m.trainer.name},
          {"config", m.trainer.config},
          {"objective", m.trainer.objective},
          {"seed", m.trainer.seed},
          {"data_dir", m.trainer.data_dir},
          {"cache_dir", m.trainer.cache_dir},
          {"base_dir", m.trainer.base_dir},
          {"numeric_class", m.trainer.numeric_class},
          {"memory_per_trial", m.trainer.memory_per_trial},
          {"device", m.trainer.device},
          {"share", m.trainer.share},
          {"shares", m.trainer.shares},
          {"slots", m.trainer.slots},
          {"choose_slots", m.trainer.choose_slots},
          {"workers", m.workers},
          {"devices", m.devices},
          {"report_timeout_ms", m.report_timeout_ms},
          {"max_trial_ms", m.max_trial_ms},
          {"lease_ms", m.lease_ms},
          {"log_dir", m.log_dir}};
}
void get(const Json& j, Setup& m) {
  m.trainer.name = field<std::string>(j, "trainer");
  m.trainer.config = field<std::string>(j, "config");
  m.trainer.objective = field<std::string>(j, "objective");
  m.trainer.seed = field<std::uint64_t>(j, "seed");
  m.trainer.data_dir = field<std::string>(j, "data_dir");
  m.trainer.cache_dir = field<std::string>(j, "cache_dir");
  m.trainer.base_dir = field<std::string>(j, "base_dir");
  m.trainer.numeric_class = field<std::string>(j, "numeric_class");
  m.trainer.memory_per_trial = field<std::uint64_t>(j, "memory_per_trial");
  m.trainer.device = field<std::string>(j, "device");
  m.trainer.share = field<int>(j, "share");
  m.trainer.shares = field<int>(j, "shares");
  m.trainer.slots = field<int>(j, "slots");
  m.trainer.choose_slots = field<bool>(j, "choose_slots");
  m.workers = field<int>(j, "workers");
  m.devices = field<std::vector<std::string>>(j, "devices");
  m.report_timeout_ms = field<std::int64_t>(j, "report_timeout_ms");
  m.max_trial_ms = field<std::int64_t>(j, "max_trial_ms");
  m.lease_ms = field<std::int64_t>(j, "lease_ms");
  m.log_dir = field<std::string>(j, "log_dir");
}

Json put(const Lease&) { return {{"is", "lease"}}; }
void get(const Json&, Lease&) {}

Json put(const Kill& m) { return {{"is", "kill"}, {"worker", m.worker}, {"why", m.why}}; }
void get(const Json& j, Kill& m) {
  m.worker = field<int>(j, "worker");
  m.why = field<std::string>(j, "why");
}

Json put(const Shutdown&) { return {{"is", "shutdown"}}; }
void get(const Json&, Shutdown&) {}

Json put(const Assign& m) {
  const Assignment& a = m.assignment;
  return {
      {"is", "assign"},
      {"session", m.session},
      {"slot", m.slot},
      {"trial", a.trial},
      {"attempt", a.attempt},
      {"params", to_json(a.params)},
      {"first_epoch", a.first_epoch},
      {"last_epoch", a.last_epoch},
      {"seed", a.seed},
      {"resume_from", a.resume_from},
      {"save_dir", a.save_dir},
      {"save_every_epochs", a.save_every_epochs},
      {"save_last_if", a.save_last_if ? Json{a.save_last_if->better_than, a.save_last_if->maximize,
                                             a.save_last_if->any_epoch}
                                      : Json()},
      {"log", a.log}};
}
void get(const Json& j, Assign& m) {
  m.session = field<std::int64_t>(j, "session");
  m.slot = field<int>(j, "slot");
  Assignment& a = m.assignment;
  a.trial = field<TrialId>(j, "trial");
  a.attempt = field<int>(j, "attempt");
  a.params = params_from_json(field<Json>(j, "params"));
  a.first_epoch = field<int>(j, "first_epoch");
  a.last_epoch = field<int>(j, "last_epoch");
  a.seed = field<std::uint64_t>(j, "seed");
  a.resume_from = field<std::string>(j, "resume_from");
  a.save_dir = field<std::string>(j, "save_dir");
  a.save_every_epochs = field<int>(j, "save_every_epochs");
  if (const Json worth = field<Json>(j, "save_last_if"); !worth.is_null()) {
    if (!worth.is_array() || worth.size() != 3 || !worth[0].is_number() || !worth[1].is_boolean() ||
        !worth[2].is_boolean())
      throw UserError("a frame's save_last_if is not [number, bool, bool]: " + worth.dump());
    a.save_last_if = {worth[0].get<double>(), worth[1].get<bool>(), worth[2].get<bool>()};
  }
  a.log = field<std::string>(j, "log");
}

template <class M>
Json put_slot(const char* is, const M& m) {
  return {{"is", is}, {"slot", m.slot}, {"trial", m.trial}, {"attempt", m.attempt}};
}
template <class M>
void get_slot(const Json& j, M& m) {
  m.slot = field<int>(j, "slot");
  m.trial = field<TrialId>(j, "trial");
  m.attempt = field<int>(j, "attempt");
}
Json put(const Stop& m) { return put_slot("stop", m); }
void get(const Json& j, Stop& m) { get_slot(j, m); }
Json put(const Save& m) { return put_slot("save", m); }
void get(const Json& j, Save& m) { get_slot(j, m); }

Json put(const Ack& m) { return {{"is", "ack"}, {"sequence", m.sequence}}; }
void get(const Json& j, Ack& m) { m.sequence = field<std::int64_t>(j, "sequence"); }

template <class M>
Message made(const Json& json) {
  M message;
  get(json, message);
  return message;
}

struct Kind {
  std::string_view is;
  Message (*make)(const Json&);
};
constexpr std::array<Kind, 14> kKinds = {{{"hello", made<Hello>},
                                          {"idle", made<Idle>},
                                          {"told", made<Told>},
                                          {"node", made<NodeHello>},
                                          {"beat", made<Beat>},
                                          {"lost", made<Lost>},
                                          {"setup", made<Setup>},
                                          {"lease", made<Lease>},
                                          {"kill", made<Kill>},
                                          {"shutdown", made<Shutdown>},
                                          {"assign", made<Assign>},
                                          {"stop", made<Stop>},
                                          {"save", made<Save>},
                                          {"ack", made<Ack>}}};

}  // namespace

std::string encode(const Message& message) {
  // A log tail or a metric name may hold any bytes; a frame is always valid UTF-8.
  return std::visit([](const auto& m) { return put(m); }, message)
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

Message decode(std::string_view frame) {
  try {
    const Json json = parse_json(frame);
    if (!json.is_object()) throw UserError("a frame that is no object");
    const auto is = field<std::string>(json, "is");
    for (const Kind& kind : kKinds)
      if (kind.is == is) return kind.make(json);
    throw UserError("a frame of unknown kind \"" + is + '"');
  } catch (const Json::exception& error) {
    throw UserError(std::string("a frame with a wrong field: ") + error.what());
  }
}

}  // namespace brood
