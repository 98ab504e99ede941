#pragma once

// What the other rooms ask of a Writer and users need not.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>
#include <vector>

#include "cairn/writer.h"
#include "lib/os/file.h"
#include "lib/write/linked_shards.h"

namespace cairn {

struct WriterAccess {
  // Writer::create() in a directory that is open, and from which the caller has swept what died; of
  // `prefix` the last part counts, the rest is for messages.
  static Result<Writer> create_in(os::Directory directory, const std::filesystem::path& prefix,
                                  std::vector<TensorSpec> specs, const WriterOptions& options);

  // commit() asks this first, when it holds the prefix's lock: an Error ends it, and nothing has
  // happened. For who makes a checkpoint of what it replaces.
  static void before_publishing(Writer& writer, std::function<Result<void>()> check);

  // Where the checkpoint is written, whatever has happened to the path since.
  static const os::Directory& directory(const Writer& writer) noexcept;

  // What P.cairn is to say of when it was made, by which a journal recognises it.
  static void created_at(Writer& writer, std::int64_t created_ns);

  // Tensors that lie in shards of an older checkpoint. Call it before the first bytes are written;
  // they have all their bytes then, and cannot be tied.
  static void link(Writer& writer, internal::LinkedShards linked);

  // Whether the tensor has all its bytes. Of a name that is in the specs.
  static bool is_whole(const Writer& writer, std::string_view name);

  // What its own shards take, after commit().
  static std::uint64_t written_bytes(const Writer& writer) noexcept;

  // write_all() works in idle time from here on: as in os::ThreadGroupOptions.
  static void in_idle_time(Writer& writer, std::chrono::milliseconds idle_max) noexcept;
};

}  // namespace cairn
