#include "lib/open/open.h"

#include "cairn/checkpoint.h"
#include "lib/read/open_checkpoint.h"

namespace cairn {

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path,
                                    const OpenOptions& options) noexcept {
  return internal::reported(options.on_event, path, [&] {
    return at_boundary([&] {
      return internal::open_by<Checkpoint>(path, options, [&](internal::Parts parts) {
        return internal::OpenCheckpoint::make(std::move(parts), options);
      });
    });
  });
}

std::string_view name(EventKind kind) noexcept {
  switch (kind) {
    case EventKind::Opened:
      return "opened";
    case EventKind::Failed:
      return "failed";
    case EventKind::Warning:
      return "warning";
    case EventKind::Checked:
      return "checked";
    case EventKind::Damaged:
      return "damaged";
    case EventKind::Skipped:
      return "skipped";
    case EventKind::Published:
      return "published";
    case EventKind::RolledBack:
      return "rolled back";
  }
  return "unknown";
}

namespace internal {

void tell_opened(const Checkpoint& checkpoint, std::string_view path,
                 std::chrono::nanoseconds duration) noexcept {
  const OpenCheckpoint& opened = OpenCheckpoint::of(checkpoint);
  for (const std::string& warning : checkpoint.warnings())
    opened.tell({EventKind::Warning, path, warning});
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < checkpoint.shard_count(); ++i)
    bytes += checkpoint.shard_at(i).size_bytes;
  opened.tell({EventKind::Opened, path, {}, {}, bytes, duration});
}

}  // namespace internal

}  // namespace cairn
