#pragma once

// What an incremental save takes from its base: docs/decisions/0022.

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cairn/saver.h"
#include "lib/open/load.h"
#include "lib/os/file.h"
#include "lib/write/linked_shards.h"

namespace cairn::internal {

// The tensors of a save.
struct SaveContents {
  std::vector<TensorSpec> specs;
  Saver::Fill fill;
  std::function<std::vector<NamedTensor>()> in_memory;  // empty: nobody knows before they come
  std::chrono::milliseconds idle_max{0};                // as in os::ThreadGroupOptions
};

struct SharingOptions {
  std::span<const std::string> unchanged;
  bool link = true;  // false: everything is written
  bool verify = false;
  const ExecOptions& exec;
};

// Bytes of the base that are written again, and nobody gives.
struct CopiedTensor {
  std::string name;
  std::size_t position = 0;  // in the base's index
};

struct Sharing {
  LinkedShards linked;
  std::vector<CopiedTensor> copied;
  std::uint64_t shared_bytes = 0;
  std::uint64_t dead_bytes = 0;
  std::vector<std::string> warnings;
};

// Decides which tensors have the contents of the base, and gives the shards that are worth it
// temporary names in `to`, which must outlive the result; `base`: of the new checkpoint. Errors:
// Invalid (an unchanged tensor is not in the base as it is announced), Unsupported (the same, and
// the base has no sums of it), Corrupt (the same, and it is damaged), Io, NoSpace, Cancelled.
// Memory: 1 MiB for each thread.
Result<Sharing> share_with(const Parts& from, const SaveContents& contents,
                           const SharingOptions& options, const os::Directory& to,
                           const std::string& base);

// Gives the Writer, before its first bytes, what it takes from the base. Errors: those of Writer;
// Corrupt. Memory: the largest tensor that is copied.
Result<void> take_from_base(const Parts& from, Sharing& sharing, Writer& writer);

}  // namespace cairn::internal
