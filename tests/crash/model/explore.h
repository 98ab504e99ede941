#pragma once

// Cuts the power at every moment of a recording.

#include <cstdint>
#include <string>
#include <vector>

#include "recording.h"

namespace cairn::crash {

struct Effort {
  std::size_t states_per_moment = 128;  // all of them where there are no more, else a sample
  std::size_t next_save_every = 16;     // of the states; 0: none
  std::size_t first_moment = 0;         // earlier ones have been looked at already
  std::size_t moments_max = static_cast<std::size_t>(-1);
  bool stop_at_first = false;
  std::uint64_t seed = 1;
};

struct Findings {
  std::size_t moments = 0;
  std::size_t states = 0;           // that a power cut may leave, of those moments
  std::size_t opened = 0;           // of them, those that differ under the same promise
  std::size_t next_saves = 0;       // tried on what was left
  std::size_t sampled_moments = 0;  // with more states than were looked at
  std::vector<std::string> breaches;
};

// What a power cut may leave.
Findings cut_power(const Recording& recording, const Effort& effort);

// What a process leaves that is killed: everything that it has done so far.
Findings kill(const Recording& recording, Effort effort);

// A recording with something wrong in it, which must be found from this moment on.
struct Mutant {
  std::string what;
  Recording recording;
  std::size_t first_moment = 0;
};

// One for each sync: without it.
std::vector<Mutant> without_each_sync(const Recording& recording);

// Syncs that do nothing.
Mutant without_syncs(Recording recording);

// Does the first operation that begins with `late` before the first that begins with `early`.
Mutant exchanged(Recording recording, const std::string& late, const std::string& early);

}  // namespace cairn::crash
