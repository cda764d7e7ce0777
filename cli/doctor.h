// `brood doctor`: what this machine, or each rank of a job, has for a run, and whether a database
// is sound.
#pragma once

#include <ostream>

#include "cli/questions.h"

namespace brood {

// `brood doctor [DB|CONFIG] [-e NAME] [--json]`; under mpirun every rank says what it sees.
struct DoctorOptions {
  Where where;
  bool verify = false;  // makes every proposal of the record again and compares it
  Format format = Format::people;
};

// Writes to no database. Tries the folder where the database is, or would be, with small files.
// Returns 0 when nothing is bad, else 1.
int doctor_command(const DoctorOptions& options, std::ostream& out);

}  // namespace brood
