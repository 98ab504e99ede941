#pragma once

// Cairn's own index, P.cairn: reading it, decoding it, and opening the shards that it names.

#include "cairn/error.h"
#include "format/cairn/index.h"
#include "lib/open/locate.h"
#include "lib/os/file.h"
#include "lib/read/open_checkpoint.h"

namespace cairn::internal {

// The bytes of P.cairn; and its decoded form, fully checked. `threads_max` as in ExecOptions: two
// threads read and check a large index. It is read and not mapped, because every later call uses it
// without bounds checks: if it were mapped, truncating the file would end the process.
Result<os::Bytes> read_index(const os::File& file, const os::FileInfo& info, unsigned threads_max);
format::Decoded<format::IndexView> decode_index(std::span<const std::byte> bytes,
                                                unsigned threads_max);

// Opens the shards that parts.index names; returns true if one of them was touched since it was
// written. Errors: NotFound, Corrupt (a shard of another size), Io.
Result<bool> open_own_shards(const Location& location, bool follow_links, Parts& parts);

}  // namespace cairn::internal
