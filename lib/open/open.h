#pragma once

// Opening by a path of any kind. If a writer replaces files meanwhile, the attempt is repeated.
// Steps: locate() finds what the path leads to, load() finds the valid index and opens the shards,
// `make` builds the result from these parts.

#include <chrono>

#include "cairn/restore.h"
#include "lib/open/catalog.h"
#include "lib/open/load.h"
#include "lib/open/locate.h"
#include "lib/try.h"

namespace cairn::internal {

// For load(): with an executor no thread is started.
inline unsigned index_threads(const ExecOptions& exec) noexcept {
  return exec.executor ? 1 : exec.threads_max;
}

// Finds and loads the parts of the checkpoint at the path, and returns the result of `make(parts)`.
// Uses only these options: follow_links, formats, index_only, exec.executor and exec.threads_max.
// Errors: those of Checkpoint::open and of `make`.
template <class Opened, class Make>
Result<Opened> open_by(const std::filesystem::path& path, const OpenOptions& options, Make make) {
  OpenAttempt attempt;
  bool whole = false;
  auto opened = retry_until_stable(attempt, [&]() -> Result<Opened> {
    whole = false;
    CAIRN_TRY(location, locate(path, options.follow_links, attempt));
    location.formats = options.formats;
    location.index_only = options.index_only;
    CAIRN_TRY(parts, load(location, options.follow_links, attempt, index_threads(options.exec)));
    whole = true;
    return make(std::move(parts));
  });
  if (opened) return opened;
  Error error = attempt.explain(path, std::move(opened).error());
  return whole ? error : with_newest_whole(std::move(error), attempt, options.follow_links);
}

// Calls the on_event of the options for each warning, and once for the checkpoint that is now open.
void tell_opened(const Checkpoint& checkpoint, std::string_view path,
                 std::chrono::nanoseconds duration) noexcept;

// Calls `open`, tells `on_event` how it ended, and returns the result.
template <class Open>
std::invoke_result_t<Open> reported(const EventListener& on_event,
                                    const std::filesystem::path& path, Open open) noexcept {
  if (!on_event) return open();
  const auto begin = std::chrono::steady_clock::now();
  auto opened = open();
  const std::chrono::nanoseconds duration = std::chrono::steady_clock::now() - begin;
  if (opened) {
    if constexpr (requires { opened->checkpoint; }) {
      tell_opened(opened->checkpoint, path.native(), duration);
    } else {
      tell_opened(*opened, path.native(), duration);
    }
  } else {
    on_event({EventKind::Failed, path.native(), opened.error().what, {}, 0, duration});
  }
  return opened;
}

}  // namespace cairn::internal
