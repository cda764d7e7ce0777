// The views that people query: real names for what the tables keep compactly.
#pragma once

#include <string>

#include "store/layout.h"
#include "store/sqlite.h"

namespace brood {

// Makes, or makes anew, trials_<suffix>, best_, curve_ and lineage_<suffix> of this experiment;
// for the newest experiment of the file also trials, best, curve and lineage, which show it; and
// the views over all experiments. Within a transaction of the caller's.
void create_views(sqlite::Connection& db, const Layout& layout);

// The SELECT of trials_<suffix>.
std::string trials_view(const Layout& layout);

}  // namespace brood
