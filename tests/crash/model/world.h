#pragma once

// What a user was told is there, and whether a disk keeps to it.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "disk.h"
#include "tests/unit/scratch.h"

namespace cairn::crash {

using Contents = std::vector<test::Content>;

// What a prefix stands for.
struct Held {
  enum class Claim : std::uint8_t {
    Nothing,
    Whole,     // these contents, bit by bit
    Anything,  // somebody else wrote it, and nobody has said that it is durable
  };
  Claim claim = Claim::Nothing;
  const Contents* contents = nullptr;
  bool cairn = true;       // by P.cairn
  bool tensorflow = true;  // by P.index alone too
  bool is_model = false;   // a directory of safetensors files
  std::string meta_graph;  // bytes of P.meta
  bool pinned = false;     // says P.cairn
  std::string note;        // its metadata of that name
  // Anything: their indexes. One that is not among them is ours, and must tell the truth.
  std::vector<Inode> foreign_indexes;

  bool operator==(const Held&) const = default;
};

struct World {
  std::map<std::string, Held> checkpoints;  // by prefix; a .safetensors file by its own path
  std::string directory;                    // the catalog's
  std::vector<std::string> listed;          // in the catalog, the latest last; empty: no catalog
  bool by_saver = false;                    // the next save in the directory is a Saver's
  std::set<std::string> either;             // of these one opens, whole, at each moment
  std::set<std::string> foreign_shards;     // no publisher of ours has named them: they may stay

  bool operator==(const World&) const = default;
};

// All tensors of a checkpoint with their bytes.
Contents contents_of(const Checkpoint& checkpoint);

// Opens everything on this disk by the library and compares it. Each prefix and the catalog must be
// as one of the two worlds says; what the catalog lists must be whole. Returns what is wrong.
std::optional<std::string> breach(const Image& image, const World& before, const World& after);

// Saves once more on this disk, under each prefix of the world or by a Saver, and looks for what
// should have been cleaned up. Returns what is wrong. After a power cut a Saver may leave whole
// shards, where a name that it removed has come back, or the journal's own name was lost.
enum class After : std::uint8_t { Kill, PowerCut };
std::optional<std::string> breach_of_next_save(const Image& image, const World& world, After what);

}  // namespace cairn::crash
