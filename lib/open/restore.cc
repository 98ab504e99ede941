#include "cairn/restore.h"

#include "lib/open/open.h"
#include "lib/read/io_method.h"
#include "lib/try.h"

namespace cairn {
namespace {

internal::Loading loading_of(Way way) noexcept {
  switch (way) {
    case Way::Map:
      return internal::Loading::Mapped;
    case Way::Populate:
      return internal::Loading::Populated;
    case Way::Read:
      return internal::Loading::Read;
    case Way::Direct:
      return internal::Loading::Direct;
  }
  return internal::Loading::Mapped;
}

}  // namespace

std::string_view name(Way way) noexcept {
  switch (way) {
    case Way::Map:
      return "map";
    case Way::Populate:
      return "populate";
    case Way::Read:
      return "read";
    case Way::Direct:
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
                        .work = options.work};
    return internal::open_by<Restored>(
        path, opening, [&](internal::Parts parts) -> Result<Restored> {
          CAIRN_TRY(seen, internal::surroundings_of(parts));
          const internal::Choice choice =
              options.way ? internal::Choice{*options.way, "the caller asked for it"}
                          : internal::choose(seen);
          const bool copies = choice.way == Way::Read || choice.way == Way::Direct;
          opening.access = copies ? Access::Copy : Access::Shared;
          CAIRN_TRY(checkpoint, internal::OpenCheckpoint::make(std::move(parts), opening,
                                                               loading_of(choice.way)));
          return Restored{std::move(checkpoint), choice.way,
                          choice.reason,         seen.payload_bytes,
                          seen.resident_bytes,   seen.available_bytes.value_or(0),
                          seen.file_system.name};
        });
  });
}

}  // namespace cairn
