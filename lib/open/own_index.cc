#include "lib/open/own_index.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "format/limits.h"
#include "lib/open/assemble.h"
#include "lib/open/identify.h"
#include "lib/os/mapping.h"
#include "lib/os/parallel.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// Whether two threads see to an index: one takes tens of microseconds to start.
bool is_shared(std::uint64_t size_bytes, unsigned threads_max) noexcept {
  return size_bytes >= std::uint64_t{2} << 20 && threads_max != 1;
}

Result<void> in_halves(unsigned threads_max, const std::function<Result<void>(bool first)>& half) {
  ExecOptions exec;
  exec.threads_max = threads_max;
  return os::run_parallel(exec, 2, 0, [&](std::size_t i) -> Result<std::uint64_t> {
    CAIRN_CHECK(half(i == 0));
    return std::uint64_t{0};
  });
}

}  // namespace

Result<os::Bytes> read_index(const os::File& file, const os::FileInfo& info, unsigned threads_max) {
  if (!is_shared(info.size_bytes, threads_max) || info.size_bytes > format::limits::kIndexBytesMax)
    return os::read_whole(file, info, format::limits::kIndexBytesMax);
  os::Bytes bytes(info.size_bytes);
  // Where a new process has no memory yet, small pages take longer than the reading.
  os::want_huge_pages(bytes);
  const std::size_t middle = bytes.size() / 2;
  CAIRN_CHECK(in_halves(threads_max, [&](bool first) {
    const std::span all(bytes);
    return first ? file.read_at(0, all.first(middle)) : file.read_at(middle, all.subspan(middle));
  }));
  return bytes;
}

format::Decoded<format::IndexView> decode_index(std::span<const std::byte> bytes,
                                                unsigned threads_max) {
  if (!is_shared(bytes.size(), threads_max)) return format::IndexView::decode(bytes);
  format::Decoded<void> digest;
  std::optional<format::Decoded<format::IndexView>> contents;
  const auto done = in_halves(threads_max, [&](bool first) -> Result<void> {
    if (first) {
      contents = format::IndexView::check_contents(bytes);
    } else {
      digest = format::IndexView::check_digest(bytes);
    }
    return {};
  });
  if (!done) return format::DecodeError{done.error().code, 0, done.error().what};
  if (!digest) return std::move(digest).error();
  return *std::move(contents);
}

// Opens the shards that P.cairn names; true where one of them was touched since.
Result<bool> open_own_shards(const Location& location, bool follow_links, Parts& parts) {
  bool touched = false;
  for (std::size_t i = 0; i < parts.index.shard_count(); ++i) {
    const auto recorded = parts.index.shard(i);
    auto shard = open_shard(location.directory, std::string(recorded.name), follow_links);
    if (!shard && shard.error().code == Code::NotFound && !location.has(kTensorFlowSuffix)) {
      shard = Error{Code::NotFound, shard.error().os_errno,
                    shard.error().what + ": " + location.file(kCairnSuffix) +
                        " is a leftover of a checkpoint that was removed"};
    }
    if (!shard) return std::move(shard).error();
    if (shard->identity.size_bytes != recorded.identity.size_bytes) {
      const Error resized{Code::Corrupt, 0,
                          shard->file.path() + ": has " +
                              std::to_string(shard->identity.size_bytes) + " bytes, but " +
                              location.file(kCairnSuffix) + " records " +
                              std::to_string(recorded.identity.size_bytes) +
                              " bytes: the file is truncated, or it is a different file"};
      return named_for_what_it_is(shard->file, resized);
    }
    touched |= shard->identity != recorded.identity;
    parts.shards.push_back(std::move(shard->file));
  }
  return touched;
}

}  // namespace cairn::internal
