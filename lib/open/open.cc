#include "lib/open/open.h"

#include "cairn/checkpoint.h"
#include "lib/read/open_checkpoint.h"

namespace cairn {

Result<Checkpoint> Checkpoint::open(const std::filesystem::path& path,
                                    const OpenOptions& options) noexcept {
  return at_boundary([&] {
    return internal::open_by<Checkpoint>(path, options, [&](internal::Parts parts) {
      return internal::OpenCheckpoint::make(std::move(parts), options);
    });
  });
}

}  // namespace cairn
