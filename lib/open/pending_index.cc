#include "lib/open/pending_index.h"

#include <cerrno>
#include <utility>

#include "format/limits.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

bool all_there(const Location& location, const format::IndexView& index) {
  for (std::size_t i = 0; i < index.shard_count(); ++i) {
    if (!location.directory.exists(index.shard(i).name)) return false;
  }
  return true;
}

}  // namespace

Result<std::optional<PendingIndex>> find_pending_index(
    const Location& location, const format::TensorFlowIndexFacts& standing) {
  const auto names = location.directory.names();
  // Where nobody may list names, a P.index that was written anew opens all the same.
  if (!names && names.error().os_errno == EACCES) return std::optional<PendingIndex>();
  if (!names) return names.error();
  const std::string own = location.base + std::string(kCairnSuffix);
  for (const std::string& name : *names) {
    if (!os::is_temporary_name(name) || os::without_temporary_tail(name) != own) continue;
    auto opened = location.directory.open_seen(name, os::Links::Refuse);
    const bool skipped =
        !opened && (opened.error().code == Code::NotFound || opened.error().code == Code::Unsafe);
    if (skipped) continue;
    if (!opened) return std::move(opened).error();
    CAIRN_TRY(bytes, os::read_whole(opened->file, opened->info, format::limits::kIndexBytesMax));
    const auto index = format::IndexView::decode(bytes);
    if (!index) continue;  // it is being written
    const format::TensorFlowIndexFacts record = index->tensorflow_index();
    const bool known = record.present &&
                       (record.identity == standing.identity || record.digest == standing.digest);
    if (known && all_there(location, *index))
      return std::optional(PendingIndex{*std::move(opened), std::move(bytes), *index});
  }
  return std::optional<PendingIndex>();
}

}  // namespace cairn::internal
