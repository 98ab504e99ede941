#pragma once

// What `cairn bench` measures with, and what comes of it. Each bench_*.h measures a part and adds
// to the report; bench_print.h and bench_document.h show it.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cairn/restore.h"
#include "measure.h"
#include "place.h"

namespace cairn::tools {

inline constexpr IoMethod kIoMethods[] = {IoMethod::Map, IoMethod::Populate, IoMethod::Read,
                                          IoMethod::Direct};

struct BenchOptions {
  std::string path;
  unsigned repeat = 5;
  unsigned processes = 0;  // 0: not asked
  bool peers = false;
  std::string save_dir;              // empty: not asked
  std::vector<std::string> reports;  // files
  bool json = false;
  bool follow_links = false;
  std::optional<IoMethod> method;
  ExecOptions exec;
};

enum class Group : std::uint8_t { Cairn, Machine, Peer };

// One row.
struct Figure {
  std::string step;   // "restore"
  std::string state;  // "warm", "cold", "first", "durable"; empty: there is one only
  Group group = Group::Cairn;
  std::uint64_t bytes = 0;  // that are in memory, or on the disk, afterwards; 0: none
  Spread seconds = {};
};

// How the last restore came about.
struct Chosen {
  std::string method;
  std::string reason;
};

// What processes hold together that restored the same checkpoint: their proportional set sizes.
struct Shares {
  std::uint64_t sum_bytes = 0;
  std::uint64_t largest_bytes = 0;
};

struct Peer {
  std::string name;
  std::string version;
  std::string why_not;  // empty: it was measured
};

struct BenchReport {
  std::string format;
  std::uint64_t bytes = 0;
  std::uint64_t unchecked_bytes = 0;
  std::size_t tensors = 0;
  std::uint64_t file_bytes = 0;  // of the shards
  Place place;
  unsigned cores = 0;
  unsigned opened_first = 0;  // how many processes
  std::vector<Figure> figures;
  Chosen warm_method;
  Chosen cold_method;
  std::optional<double> stayed_resident;  // of what was dropped; nothing: unknown
  std::optional<Shares> shares;
  std::vector<Peer> peers;
};

struct Bench {
  explicit Bench(const BenchOptions& asked)
      : options(asked), watch(asked.path, asked.repeat, asked.follow_links) {}

  // Adds a row of warm runs and a row of cold ones.
  Result<void> add_warm_and_cold(Figure row, const Trial& trial);

  const BenchOptions& options;
  Stopwatch watch;
  BenchReport report;
};

// Bytes per second of the median, in units of 10^9; nothing: the step has no bytes.
std::optional<double> gigabytes_per_second(const Figure& row);

// The median, in medians of reading the same files by pread with the same page cache.
std::optional<double> times_of_pread(const BenchReport& report, const Figure& row);

// Nothing: it was not measured.
const Figure* find(const BenchReport& report, std::string_view step, std::string_view state);

std::string label(const Figure& row);  // "restore, warm"

// Three digits and a unit, for documents: "12.3 µs", "3.37 s".
std::string duration(double seconds);

// What the checkpoint is, and what it lies on; what belongs to the figures, but is none. Of text
// and documents: a sentence or a line each, as it is, so not yet safe.
std::vector<std::string> description(const BenchReport& report);
std::vector<std::string> explanations(const BenchOptions& options, const BenchReport& report);

}  // namespace cairn::tools
