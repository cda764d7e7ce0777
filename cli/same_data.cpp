#include "cli/same_data.h"

#include "cli/table.h"
#include "engine/error.h"
#include "engine/json.h"
#include "engine/json_library.h"

namespace brood {

namespace {

constexpr const char* kKind = "data_set";

}  // namespace

bool require_same_data(Reader& reader, const ExperimentRecord& experiment,
                       const DataIdentity& now) {
  const auto known = reader.last_note(experiment, kKind);
  if (now.key.empty() || !known) return false;
  const Json body = parse_json(*known);
  const std::string key = body.value("key", ""), name = body.value("name", "");
  if (key == now.key) return true;
  throw UserError(printable("experiment \"" + experiment.name + "\" (" + reader.path() +
                            "): its data has changed: " + now.name + " has the content " + now.key +
                            " now, it was " + key + (name == now.name ? "" : ", " + name) +
                            ". Put the files back as they were; or train on the new ones under "
                            "another experiment/name"));
}

EventLogged data_event(const DataIdentity& data, std::int64_t at_us) {
  return {-1, at_us, kKind,
          Json({{"key", data.key}, {"name", data.name}})
              .dump(-1, ' ', false, Json::error_handler_t::replace)};
}

}  // namespace brood
