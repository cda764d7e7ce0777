// What `brood data describe` has found out, and how it is shown.
#pragma once

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "trainers/data/dataset.h"
#include "trainers/data/dataset_statistics.h"

namespace brood {

struct DataReport {
  std::string name;                // of the data set, as the config says it
  std::vector<std::string> files;  // that it was read from
  std::shared_ptr<const data::Dataset> dataset;
  std::vector<data::PartView> views;        // train, validation, test, or what there is of them
  std::vector<data::PartStatistics> parts;  // of the same
  std::vector<data::Drift> drifts;          // from the first part to each other
  data::Duplicates duplicates;
  std::vector<std::string> findings;  // what a person should know before training; empty: nothing
  std::string sheet;                  // the contact sheet that was written; empty: none

  data::ImageShape size() const { return {dataset->height, dataset->width, dataset->channels}; }
};

// Measures everything but `sheet`.
DataReport make_report(std::string name, std::vector<std::string> files,
                       std::shared_ptr<const data::Dataset> dataset,
                       std::vector<data::PartView> views);

// For people, on a terminal of this width (0: as wide as it gets).
void print_report(const DataReport& report, int width, std::ostream& out);

std::string report_json(const DataReport& report);

}  // namespace brood
