#pragma once

// Cairn's own index, P.cairn: its bytes, what they say, and the shards that it names.

#include "cairn/error.h"
#include "format/cairn/index.h"
#include "lib/open/locate.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The bytes of P.cairn, and what they say, checked from end to end. `threads_max` as in
// ExecOptions: two threads read and check a large index.
// Not mapped: every call relies on it without bounds checks, and who truncated the file would end
// the process.
Result<os::Bytes> read_index(const os::File& file, const os::FileInfo& info, unsigned threads_max);
format::Decoded<format::IndexView> decode_index(std::span<const std::byte> bytes,
                                                unsigned threads_max);

// Opens the shards that parts.index names; true where one of them was touched since it was written.
// Errors: NotFound, Corrupt (a shard of another size), Io.
Result<bool> open_own_shards(const Location& location, bool follow_links, Parts& parts);

}  // namespace cairn::internal
