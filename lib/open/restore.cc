#include "cairn/restore.h"

#include "lib/open/open.h"
#include "lib/read/io_method.h"
#include "lib/try.h"

namespace cairn {
namespace {

internal::Loading loading_of(IoMethod method) noexcept {
  switch (method) {
    case IoMethod::Map:
      return internal::Loading::Mapped;
    case IoMethod::Populate:
      return internal::Loading::Populated;
    case IoMethod::Read:
      return internal::Loading::Read;
    case IoMethod::Direct:
      return internal::Loading::Direct;
  }
  return internal::Loading::Mapped;
}

}  // namespace

std::string_view name(IoMethod method) noexcept {
  switch (method) {
    case IoMethod::Map:
      return "map";
    case IoMethod::Populate:
      return "populate";
    case IoMethod::Read:
      return "read";
    case IoMethod::Direct:
      return "direct";
  }
  return "unknown";
}

Result<Restored> restore(const std::filesystem::path& path,
                         const RestoreOptions& options) noexcept {
  return at_boundary([&]() -> Result<Restored> {
    OpenOptions opening{.verify = options.verify,
                        .follow_links = options.follow_links,
                        .expected = options.expected,
                        .expected_digest = options.expected_digest,
                        .formats = options.formats,
                        .exec = options.exec};
    return internal::open_by<Restored>(
        path, opening, [&](internal::Parts parts) -> Result<Restored> {
          CAIRN_TRY(seen, internal::io_conditions(parts));
          const internal::IoChoice choice =
              options.method ? internal::IoChoice{*options.method, "the caller requested it"}
                             : internal::choose(seen);
          const bool copies = choice.method == IoMethod::Read || choice.method == IoMethod::Direct;
          opening.access = copies ? Access::Copy : Access::Shared;
          CAIRN_TRY(checkpoint, internal::OpenCheckpoint::make(std::move(parts), opening,
                                                               loading_of(choice.method)));
          return Restored{std::move(checkpoint), choice.method,
                          choice.reason,         seen.payload_bytes,
                          seen.resident_bytes,   seen.available_bytes.value_or(0),
                          seen.file_system.name};
        });
  });
}

}  // namespace cairn
