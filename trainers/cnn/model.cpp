#include "trainers/cnn/model.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>

#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"
#include "trainers/cnn/checkpoint.h"

namespace brood::cnn {

namespace {

// How Network::set_image makes a number of a pixel. A file that says otherwise is not for us.
Json pixels() { return {{"divide", 255}, {"mean", 0.5}, {"std", 0.5}}; }

const std::string* find_text(const Checkpoint& file, const std::string& key) {
  for (const auto& [name, value] : file.metadata)
    if (name == key) return &value;
  return nullptr;
}

int whole(const Checkpoint& file, const std::string& key) {
  const std::string& text = file.text(key);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    throw UserError("its entry \"" + key + "\" is \"" + text + "\", not a whole number");
  return value;
}

std::string text_of(const std::vector<std::int64_t>& shape) {
  std::string out;
  for (const std::int64_t side : shape) out += (out.empty() ? "" : "x") + std::to_string(side);
  return out;
}

std::vector<NamedArray> pick(const Checkpoint& file, const std::vector<Parameter>& table,
                             const std::string& prefix) {
  std::vector<NamedArray> out;
  for (const Parameter& parameter : table) {
    const std::string name = prefix + parameter.name;
    const auto found = std::find_if(file.arrays.begin(), file.arrays.end(),
                                    [&](const NamedArray& array) { return array.name == name; });
    if (found == file.arrays.end()) throw UserError("it has no array \"" + name + "\"");
    if (found->shape != parameter.shape)
      throw UserError("its array \"" + name + "\" is " + text_of(found->shape) +
                      ", its network's " + text_of(parameter.shape));
    out.push_back({parameter.name, found->shape, found->values});
  }
  return out;
}

Model model_of(const Checkpoint& file, const std::optional<Description>& known) {
  const std::string& format = file.text("format");
  const bool checkpoint = format == kCheckpointFormat;
  if (!checkpoint && format != kModelFormat)
    throw UserError("its format is \"" + format + "\", expected \"" + kModelFormat + "\"");
  const std::string* description = find_text(file, "model");
  if (description == nullptr && !known)
    throw UserError(
        "it does not say what network it is of: an earlier version of brood made it; "
        "`brood export` makes a model of it with the help of its database");
  Model model;
  model.description = description != nullptr ? description_from_json(*description) : *known;
  auto [spec, plan] = network_of(model.description);
  model.spec = std::move(spec);
  model.plan = std::move(plan);
  model.epochs = checkpoint ? whole(file, "epoch") - 1 : whole(file, "epochs");
  const std::string prefix = checkpoint && model.spec.optimizer.ema > 0.0 ? "average." : "";
  model.parameters = pick(file, model.plan.parameters, prefix);
  model.states = pick(file, model.plan.states, prefix);
  return model;
}

// The order of keys makes no other network.
Json sorted(const Json& json) {
  if (json.is_object()) {
    std::map<std::string, Json> members;
    for (const auto& [key, value] : json.items()) members.emplace(key, sorted(value));
    Json out = Json::object();
    for (auto& [key, value] : members) out[key] = std::move(value);
    return out;
  }
  if (!json.is_array()) return json;
  Json out = Json::array();
  for (const Json& element : json) out.push_back(sorted(element));
  return out;
}

}  // namespace

Description describe(const NetworkSpec& spec, const Dataset& data, const std::string& numeric_class,
                     std::uint64_t experiment_seed, std::uint64_t trial_seed) {
  Description out;
  out.trainer = sorted(Json::parse(spec.block)).dump();
  out.data = divided(spec, shape_of(data));
  out.classes = data.class_names;
  out.numeric_class = numeric_class;
  out.experiment_seed = experiment_seed;
  out.trial_seed = trial_seed;
  return out;
}

DescribedNetwork network_of(const Description& description) {
  DescribedNetwork out;
  std::vector<Problem> problems;
  out.spec = parse_network(description.trainer, problems);
  if (!problems.empty())
    throw UserError("its network cannot be: " + problems.front().pointer + ": " +
                    problems.front().message);
  out.plan = make_plan(out.spec, description.data);
  if (!out.plan.infeasible.empty())
    throw UserError("its network cannot be: " + out.plan.infeasible_pointer + ": " +
                    out.plan.infeasible);
  return out;
}

std::string to_json(const Description& d) {
  const DataShape& data = d.data;
  const Json json = {{"trainer", parse_json(d.trainer)},
                     {"data",
                      {{"height", data.height},
                       {"width", data.width},
                       {"channels", data.channels},
                       {"classes", data.classes},
                       {"train", data.train},
                       {"validation", data.validation},
                       {"test", data.test}}},
                     {"classes", d.classes},
                     {"pixels", pixels()},
                     {"numeric_class", d.numeric_class},
                     {"experiment_seed", d.experiment_seed},
                     {"trial_seed", d.trial_seed}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Description description_from_json(const std::string& text) {
  const Json json = parse_json(text);
  Description out;
  try {
    const Json& data = json.at("data");
    const auto count = [&data](const char* key, std::int64_t max) {
      const auto value = data.at(key).get<std::int64_t>();
      if (value < 0 || value > max)
        throw UserError("its description has " + std::to_string(value) + " as \"" + key + "\"");
      return value;
    };
    const auto side = [&count](const char* key) { return static_cast<int>(count(key, 4096)); };
    constexpr std::int64_t kCountMax = std::int64_t{1} << 40;
    out.trainer = json.at("trainer").dump();
    out.data = {side("height"),
                side("width"),
                side("channels"),
                static_cast<int>(count("classes", 65536)),
                count("train", kCountMax),
                count("validation", kCountMax),
                count("test", kCountMax)};
    out.classes = json.at("classes").get<std::vector<std::string>>();
    out.numeric_class = json.at("numeric_class").get<std::string>();
    out.experiment_seed = json.at("experiment_seed").get<std::uint64_t>();
    out.trial_seed = json.at("trial_seed").get<std::uint64_t>();
    if (json.at("pixels") != pixels())
      throw UserError("its pixels are scaled by " + json.at("pixels").dump() +
                      ", which this version of brood does not do");
  } catch (const Json::exception& error) {
    throw UserError(std::string("its description is not one of brood: ") + error.what());
  }
  const DataShape& data = out.data;
  if (data.height < 1 || data.width < 1 || data.channels < 1 || data.classes < 2)
    throw UserError("its description has an empty image, or fewer than two classes");
  if (out.classes.size() != static_cast<std::size_t>(data.classes))
    throw UserError("its description names " + std::to_string(out.classes.size()) +
                    " classes, and has " + std::to_string(data.classes));
  return out;
}

Model read_model(const std::string& path, const std::optional<Description>& known) {
  const Checkpoint file = read_checkpoint(path);
  try {
    return model_of(file, known);
  } catch (const UserError& problem) {
    throw UserError(path + ": cannot be used as a model: " + problem.what());
  }
}

void write_model(const std::string& path, const Model& model) {
  Checkpoint out;
  out.metadata = {{"format", kModelFormat},
                  {"epochs", std::to_string(model.epochs)},
                  {"model", to_json(model.description)}};
  out.arrays = model.parameters;
  out.arrays.insert(out.arrays.end(), model.states.begin(), model.states.end());
  write_checkpoint(path, out);
}

bool looks_like_model(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char first[9] = {};
  file.read(first, sizeof first);
  // Eight bytes of header length, of which the last are zero, then a JSON object.
  return file.gcount() == sizeof first && first[8] == '{' && first[7] == '\0' && first[6] == '\0';
}

}  // namespace brood::cnn
