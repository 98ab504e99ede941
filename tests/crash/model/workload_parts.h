#pragma once

// What workloads are put together from.

#include <cstdint>
#include <string>
#include <vector>

#include "recording.h"

namespace cairn::crash {

// Tensors with other values for each number: two blocks and a bit, a small one, strings, and of the
// odd ones one more.
const Contents& generation(std::int64_t number);

// What a save of these contents notes in P.cairn, and no P.index can say.
std::string note_of(const Contents& contents);

// The promise that these contents are there, by both indexes.
Held whole(const Contents& contents);

// What a prefix holds on the running machine.
const Contents& contents_of(const std::string& prefix);

// A checkpoint that TensorFlow wrote.
struct Foreign {
  std::string prefix;                 // below the golden files
  std::vector<std::string> suffixes;  // of its files, the index last
};
extern const Foreign kOneShard;
extern const Foreign kThreeShards;

// TensorFlow syncs nothing.
void save_by_tensorflow(Recorder& recorder, const Foreign& foreign, const std::string& prefix);

// Saves generation `number` with a Saver that keeps two, as the last of `listed`, which the catalog
// lists then.
Result<void> save_with_saver(Recorder& recorder, std::int64_t number,
                             std::vector<std::string> listed);

// The promise that the directory of a Saver lists these, and no more what it listed and does not.
void promise_listed(World& world, std::vector<std::string> listed);

// Those of one room: workloads() has them all.
std::vector<Workload> move_workloads();
std::vector<Workload> saver_workloads();
std::vector<Workload> edit_workloads();
std::vector<Workload> hub_workloads();

}  // namespace cairn::crash
