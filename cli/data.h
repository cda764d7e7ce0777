// `brood data`: which data sets are known and where they lie, and what one is like. UserError is
// for main() to print.
#pragma once

#include <ostream>
#include <string>

namespace brood {

// `brood data list [--data-dir FOLDER] [--json]`
struct DataListOptions {
  std::string data_dir;  // empty: the usual places
  bool json = false;
};
int data_list_command(const DataListOptions& options, std::ostream& out);

// `brood data cache [CONFIG] [--remove NAME|all] [--json]`: decoded data sets on the disk.
struct DataCacheOptions {
  std::string config;  // whose cache_dir it is about; empty: the usual folder
  std::string remove;  // a name, the beginning of one, or all; empty: they are listed
  bool json = false;
};
int data_cache_command(const DataCacheOptions& options, std::ostream& out);

// `brood data describe CONFIG|DATASET [--data-dir FOLDER] [--sheet FILE] [--json]`. Of a config the
// parts are those that its trials see: training, validation, test.
struct DataDescribeOptions {
  std::string what;      // a config, a data set's name, or its settings as JSON
  std::string data_dir;  // instead of the config's; empty: that one, or the usual places
  std::string sheet;     // where to put a contact sheet; empty: none is made
  bool json = false;
};
int data_describe_command(const DataDescribeOptions& options, std::ostream& out);

}  // namespace brood
