// The data that an experiment learns from is recorded with it: trials that see other data are not
// comparable, and one that is trained again has other bits.
#pragma once

#include "engine/store.h"
#include "store/query.h"
#include "trainers/data_identity.h"

namespace brood {

// Throws UserError, with the remedy, when the record knows other data than these. True: it knows
// them; false: nothing is recorded yet.
bool require_same_data(Reader& reader, const ExperimentRecord& experiment, const DataIdentity& now);

// What the record keeps of it.
EventLogged data_event(const DataIdentity& data, std::int64_t at_us);

}  // namespace brood
