#include "trainers/cnn/network_spec.h"

#include <algorithm>

#include "engine/json_library.h"
#include "engine/suggest.h"
#include "trainers/cnn/layer_spec.h"
#include "trainers/data/object_reader.h"

namespace brood::cnn {

namespace {

using data::brief;
using data::join;
using data::ObjectReader;

constexpr std::int64_t kCountMax = 1'000'000'000;

bool contains(const std::vector<std::string>& list, const std::string& word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

// Which keys have an effect depends on the name.
void read_optimizer_settings(OptimizerSpec& out, const std::string& name, ObjectReader& reader) {
  const auto refuse = [&](const std::vector<const char*>& keys, const std::string& remedy) {
    for (const char* key : keys)
      reader.refuse(key, "has no effect with " + name + "; remove it, " + remedy);
  };
  if (name == "sgd") {
    out.momentum = reader.real("momentum", 0.0, 0.0, 1.0, false, true);
    out.nesterov = reader.flag("nesterov", false);
    if (out.nesterov && out.momentum == 0.0)
      reader.problem("nesterov", "has no effect without momentum; add one, or remove it");
    refuse({"beta1", "beta2", "epsilon"}, "or use adam");
    refuse({"alpha"}, "or use rmsprop");
    return;
  }
  const std::string remedy = "make its parameter depend on the optimizer with \"when\", or use sgd";
  out.epsilon = reader.real("epsilon", 1e-8, 0.0, 1.0, true);
  if (name == "rmsprop") {
    out.kind = OptimizerSpec::Kind::rmsprop;
    out.alpha = reader.real("alpha", 0.99, 0.0, 1.0, false, true);
    out.momentum = reader.real("momentum", 0.0, 0.0, 1.0, false, true);
    refuse({"nesterov"}, remedy);
    refuse({"beta1", "beta2"}, "or use adam");
    return;
  }
  out.kind = name == "adam" ? OptimizerSpec::Kind::adam : OptimizerSpec::Kind::adamw;
  out.beta1 = reader.real("beta1", 0.9, 0.0, 1.0, false, true);
  out.beta2 = reader.real("beta2", 0.999, 0.0, 1.0, false, true);
  refuse({"momentum", "nesterov"}, remedy);
  refuse({"alpha"}, "or use rmsprop");
}

OptimizerSpec read_optimizer(const Json& json, const std::string& pointer,
                             std::vector<Problem>& problems) {
  OptimizerSpec out;
  if (!json.is_object()) {
    problems.push_back({pointer,
                        "must be an object, for example {\"name\": \"adam\", "
                        "\"learning_rate\": 0.001} (is " +
                            brief(json) + ")"});
    return out;
  }
  ObjectReader reader(json, pointer, problems);
  const std::vector<std::string> names = {"sgd", "adam", "adamw", "rmsprop"};
  const bool known = json.contains("name") && json["name"].is_string() &&
                     contains(names, json["name"].get<std::string>());
  const std::string name = reader.word("name", std::nullopt, names);
  out.learning_rate = reader.real("learning_rate", std::nullopt, 0.0, 1000.0, true);
  out.weight_decay = reader.real("weight_decay", name == "adamw" ? 0.01 : 0.0, 0.0, 1000.0);
  out.clip_norm = reader.real("clip_norm", 0.0, 0.0, 1e9, true);
  if (known)
    read_optimizer_settings(out, name, reader);
  else  // which keys have an effect is not known either
    for (const char* key : {"momentum", "nesterov", "beta1", "beta2", "epsilon", "alpha"})
      reader.find(key);
  reader.finish();
  return out;
}

ScheduleSpec read_schedule(const Json& json, const std::string& pointer, int epochs,
                           std::vector<Problem>& problems) {
  ScheduleSpec out;
  if (!json.is_object()) {
    problems.push_back({pointer, "must be an object, for example {\"name\": \"cosine\"} (is " +
                                     brief(json) + ")"});
    return out;
  }
  const std::vector<std::string> names = {"constant", "cosine", "step", "one_cycle"};
  ObjectReader reader(json, pointer, problems);
  const std::string name = reader.word("name", std::nullopt, names);
  out.kind =
      static_cast<ScheduleSpec::Kind>(std::find(names.begin(), names.end(), name) - names.begin());
  const auto refuse = [&](const std::vector<const char*>& keys, const std::string& use) {
    for (const char* key : keys)
      reader.refuse(key, "has an effect with " + use + " only; remove it");
  };
  if (out.kind == ScheduleSpec::Kind::step) {
    out.every_epochs = reader.real("every_epochs", std::nullopt, 0.0, 1e6, true);
    out.factor = reader.real("factor", out.factor, 0.0, 1.0, true, true);
  } else {
    refuse({"every_epochs", "factor"}, "step");
  }
  if (out.kind == ScheduleSpec::Kind::one_cycle) {
    out.rise = reader.real("rise", out.rise, 0.0, 1.0, true, true);
    out.start_factor = reader.real("start_factor", out.start_factor, 0.0, 1.0);
    out.end_factor = reader.real("end_factor", out.end_factor, 0.0, 1.0);
    reader.refuse("warmup_epochs",
                  "has no effect with one_cycle, which rises by itself; set "
                  "\"rise\", or remove it");
  } else {
    refuse({"rise", "start_factor", "end_factor"}, "one_cycle");
    out.warmup_epochs = reader.real("warmup_epochs", 0.0, 0.0, epochs);
  }
  reader.finish();
  return out;
}

AugmentSpec read_change(AugmentSpec::Kind kind, ObjectReader& reader) {
  AugmentSpec out;
  out.kind = kind;
  out.pointer = reader.pointer();
  switch (kind) {
    case AugmentSpec::Kind::flip:
      out.probability = reader.real("probability", out.probability, 0.0, 1.0);
      break;
    case AugmentSpec::Kind::translate:
      out.pixels = static_cast<int>(reader.whole("pixels", std::nullopt, 0, 4096));
      break;
    case AugmentSpec::Kind::cutout:
      out.pixels = static_cast<int>(reader.whole("size", std::nullopt, 0, 4096));
      break;
    case AugmentSpec::Kind::mixup:
      out.alpha = reader.real("alpha", std::nullopt, 0.0, 100.0);
      break;
  }
  return out;
}

std::vector<AugmentSpec> read_augment(const Json& json, const std::string& pointer,
                                      std::vector<Problem>& problems) {
  const std::vector<std::string> names = {"flip", "translate", "cutout", "mixup"};
  std::vector<AugmentSpec> out;
  if (!json.is_array()) {
    problems.push_back({pointer, "must be a list of changes, for example [{\"flip\": {}}] (is " +
                                     brief(json) + ")"});
    return out;
  }
  for (std::size_t i = 0; i < json.size(); ++i) {
    const std::string place = join(pointer, i);
    if (!json[i].is_object() || json[i].size() != 1 || !json[i].begin()->is_object()) {
      problems.push_back({place,
                          "must be an object with one key, the kind of change, and its "
                          "settings, for example {\"translate\": {\"pixels\": 2}} (is " +
                              brief(json[i]) + ")"});
      continue;
    }
    const std::string name = json[i].begin().key();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      problems.push_back({join(place, name),
                          "is not a kind of change; there are flip, translate, "
                          "cutout, mixup" +
                              did_you_mean(name, names)});
      continue;
    }
    const auto kind = static_cast<AugmentSpec::Kind>(found - names.begin());
    ObjectReader reader(*json[i].begin(), join(place, name), problems);
    if (std::any_of(out.begin(), out.end(), [&](const auto& a) { return a.kind == kind; }))
      reader.problem("", "is there a second time; remove one");
    if (!out.empty() && out.back().kind == AugmentSpec::Kind::mixup)
      reader.problem("", "cannot follow mixup, which mixes finished images; move it before");
    out.push_back(read_change(kind, reader));
    reader.finish();
  }
  return out;
}

void read_validation(ObjectReader& reader, NetworkSpec& spec) {
  const Json* found = reader.find("validation");
  if (!found) return;
  const double value = found->is_number() ? found->get<double>() : -1.0;
  if (found->is_number_integer() && value >= 0 && value < static_cast<double>(kCountMax)) {
    spec.validation_count = static_cast<std::int64_t>(value);
    spec.validation_fraction = 0.0;
  } else if (found->is_number_float() && value >= 0.0 && value < 1.0) {
    spec.validation_fraction = value;
  } else {
    reader.problem("validation",
                   "must be a share of the training samples from 0.0, below 1.0, or "
                   "a whole number of them (is " +
                       brief(*found) + ")");
  }
}

void read_report(ObjectReader& reader, NetworkSpec& spec) {
  const Json* found = reader.find("report");
  if (!found) return;
  const std::vector<std::string> names = {"class_accuracy", "cost"};
  if (!found->is_array()) {
    reader.problem("report", "must be a list of class_accuracy, cost (is " + brief(*found) + ")");
    return;
  }
  for (const Json& item : *found) {
    const std::string name = item.is_string() ? item.get<std::string>() : "";
    if (!contains(names, name))
      reader.problem("report", "knows class_accuracy and cost, not " + brief(item) +
                                   did_you_mean(name, names));
    spec.report_classes = spec.report_classes || name == names[0];
    spec.report_cost = spec.report_cost || name == names[1];
  }
  if (spec.report_classes && !spec.evaluate_test && spec.validation_fraction == 0.0 &&
      spec.validation_count == 0)
    reader.problem("report",
                   "class_accuracy has no effect without a validation part; remove it, "
                   "or set \"validation\"");
}

}  // namespace

NetworkSpec parse_network(const std::string& resolved_trainer_json,
                          std::vector<Problem>& problems) {
  NetworkSpec spec;
  const Json json = parse_json(resolved_trainer_json);
  if (!json.is_object()) {
    problems.push_back({"", "must be an object (is " + brief(json) + ")"});
    return spec;
  }
  ObjectReader reader(json, "", problems);
  reader.word("name", "cnn", {"cnn"});
  if (const Json* found = reader.require("dataset", "\"fashion_mnist\""))
    spec.dataset = data::read_dataset(*found, "/dataset", problems);
  read_validation(reader, spec);
  spec.epochs = static_cast<int>(reader.whole("epochs", std::nullopt, 1, 1'000'000));
  spec.batch_size = static_cast<int>(reader.whole("batch_size", 64, 1, 65536));
  spec.limit_train = reader.whole("limit_train", 0, 1, kCountMax);
  spec.limit_test = reader.whole("limit_test", 0, 1, kCountMax);
  spec.evaluate_test = reader.flag("evaluate_test", false);
  if (spec.limit_test > 0 && !spec.evaluate_test)
    reader.problem("limit_test", "has no effect without \"evaluate_test\": true; remove it");
  if (reader.word("initialization", "he", {"he", "pytorch"}) == "pytorch")
    spec.initialization = Initialization::pytorch;
  const std::string precision = reader.word("precision", "auto", {"auto", "bf16", "fp32"});
  spec.precision = precision == "bf16"   ? ComputePrecision::bf16
                   : precision == "fp32" ? ComputePrecision::fp32
                                         : ComputePrecision::automatic;
  spec.direct_kernels = reader.word("kernels", "auto", {"auto", "direct"}) == "direct";
  if (const Json* found =
          reader.require("optimizer", "{\"name\": \"adam\", \"learning_rate\": 0.001}"))
    spec.optimizer = read_optimizer(*found, "/optimizer", problems);
  if (const Json* found = reader.find("schedule"))
    spec.schedule = read_schedule(*found, "/schedule", spec.epochs, problems);
  if (const Json* found = reader.require("layers", "[{\"dense\": {\"units\": 128}}]"))
    spec.layers = read_layers(*found, "/layers", problems);
  if (const Json* found = reader.find("augment"))
    spec.augment = read_augment(*found, "/augment", problems);
  spec.label_smoothing = reader.real("label_smoothing", 0.0, 0.0, 1.0, false, true);
  spec.optimizer.ema = reader.real("ema", 0.0, 0.0, 1.0, true, true);
  read_report(reader, spec);
  reader.finish();
  spec.block = json.dump();
  return spec;
}

}  // namespace brood::cnn
