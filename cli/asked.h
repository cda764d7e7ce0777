// What the questions share: finding the database they are about, and words for what it says.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/questions.h"
#include "engine/trainer.h"
#include "store/query.h"

namespace brood {

struct Asked {
  Reader reader;
  ExperimentRecord experiment;
};

// Throws UserError when there is no such database or experiment.
Asked ask(const Where& where);

// Does the file begin like one?
bool is_database(const std::string& path);

// Where with the database's path and, if a config was named, its experiment. Throws UserError.
Where resolved(const Where& where);

// What the experiment's workers were told.
TrainerSetup recorded_setup(Asked& asked);

// Is a process running this experiment now? Told by the lock, so also after a kill -9.
bool alive(Reader& reader, const ExperimentRecord& experiment);

// Has a run begun that has not said that it ended? A paused one too.
bool is_open(const ExperimentRecord& experiment);

// As typed into a shell: quoted where it needs to be.
std::string shell_word(const std::string& text);

// The command that continues it: brood resume DATABASE. Not its config: the record has what --set
// changed, and stays where it is.
std::string resume_command(Reader& reader, const ExperimentRecord& experiment);

// The trial; a duplicate with its original's epochs, reports and objective.
Trial with_result(Reader& reader, const ExperimentRecord& experiment, TrialId id);

// An event in words, without its trial.
std::string event_text(const EventRecord& event);

// The first line of a reason, without what announces a log that followed it. Printable.
std::string short_reason(const std::string& why);

std::int64_t now_us();
std::string time_text(std::int64_t us);                           // 2026-03-04 05:06:07, local
std::string span_text(std::int64_t from_us, std::int64_t to_us);  // 1m 20s
std::string shown_number(double value);                           // for people
// Missing for what is not there: nullopt, nullptr, an empty text.
Cell cell_of(const Value* value);
Cell cell_of(const std::optional<double>& value);
Cell text_cell(std::string text);
std::string path_beside(const std::string& database, const std::string& path);
std::string count_text(std::int64_t count, const std::string& noun);  // 1 trial, 2 trials

}  // namespace brood
