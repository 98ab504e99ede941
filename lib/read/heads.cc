#include "lib/read/heads.h"

#include <algorithm>

#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::tensorflow::StringHeads;
using format::tensorflow::StringPlace;
using format::tensorflow::StringStart;

// Pieces that overlap, and so belong to one thread.
struct Group {
  std::size_t begin = 0;
  std::size_t end = 0;
};

std::vector<Group> groups_of(std::span<const Piece> pieces) {
  std::vector<Group> groups;
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Piece& piece = pieces[i];
    const bool apart = groups.empty() || pieces[groups.back().begin].shard != piece.shard ||
                       piece.offset_bytes >= end;
    if (apart) groups.push_back({i, i});
    groups.back().end = i + 1;
    const std::uint64_t own_end = piece.offset_bytes + piece.size_bytes;
    end = apart ? own_end : std::max(end, own_end);
  }
  return groups;
}

Result<void> read_group(const OpenCheckpoint& checkpoint, std::span<const Piece> pieces,
                        bool in_memory, const std::stop_token& stop,
                        std::span<StringStart> starts) {
  std::vector<StringPlace> places;
  std::uint64_t end = 0;
  for (const Piece& piece : pieces) {
    places.push_back({piece.offset_bytes, piece.size_bytes, piece.encoded_count});
    end = std::max(end, piece.offset_bytes + piece.size_bytes);
  }
  const std::uint32_t shard = pieces.front().shard;
  StringHeads heads(places, checkpoint.index().big_endian());
  std::vector<std::byte> buffer;
  while (const auto need = heads.need()) {
    CAIRN_CHECK(os::unless_stopped(stop));
    const std::uint64_t size_bytes =
        std::min({need->size_bytes, kCachedBlockBytes, end - need->offset_bytes});
    if (in_memory) {
      heads.take(checkpoint.shards().in_memory({shard, need->offset_bytes, size_bytes, {}}));
      continue;
    }
    buffer.resize(size_bytes);
    CAIRN_CHECK(checkpoint.shards().read_at(shard, need->offset_bytes, buffer));
    heads.take(buffer);
  }
  std::ranges::copy(heads.starts(), starts.begin());
  return {};
}

}  // namespace

Result<std::vector<StringStart>> read_string_heads(const OpenCheckpoint& checkpoint,
                                                   std::span<const Piece> pieces, bool in_memory,
                                                   const ExecOptions& exec) {
  std::vector<StringStart> starts(pieces.size());
  const std::vector<Group> groups = groups_of(pieces);
  ExecOptions quiet = exec;
  quiet.progress = nullptr;  // what is told of are the pieces' bytes, later
  const auto read = [&](std::size_t i) -> Result<std::uint64_t> {
    const auto [begin, end] = groups[i];
    CAIRN_CHECK(read_group(checkpoint, pieces.subspan(begin, end - begin), in_memory, exec.stop,
                           std::span(starts).subspan(begin, end - begin)));
    return std::uint64_t{0};
  };
  CAIRN_CHECK(os::run_parallel(quiet, groups.size(), 0, read));
  return starts;
}

}  // namespace cairn::internal
