// The Watcher.

#include <stop_token>

#include "lib/c/boundary.h"

struct cairn_watcher {
  cairn::Watcher value;
};

namespace cairn::c {

namespace {

using OwnedPublished = OwnedFound<cairn_published>;

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

void cairn_published_free(cairn_published* published) {
  delete static_cast<OwnedPublished*>(published);
}

cairn_code cairn_watcher_open(const char* dir, const cairn_watcher_options* options,
                              cairn_watcher** watcher, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(path, path_of(dir, "the directory of a Watcher"));
    CAIRN_TRY(known, struct_of(options, "cairn_watcher_options"));
    cairn::WatcherOptions of_cairn;
    of_cairn.cursor = view_of(known.cursor);
    of_cairn.only_latest = known.only_latest != 0;
    of_cairn.latest_filename = text_or(known.latest_filename, of_cairn.latest_filename);
    of_cairn.follow_links = known.follow_links != 0;
    if (known.poll_ms != 0) of_cairn.poll = std::chrono::milliseconds(known.poll_ms);
    CAIRN_TRY(opened, cairn::Watcher::open(path, of_cairn));
    *watcher = new cairn_watcher{std::move(opened)};
    return {};
  });
}

void cairn_watcher_free(cairn_watcher* watcher) { delete watcher; }

cairn_code cairn_watcher_next(cairn_watcher* watcher, std::int64_t timeout_ms,
                              const cairn_stop* stop, cairn_published** published,
                              cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    const std::stop_token token = stop != nullptr ? stop->source.get_token() : std::stop_token();
    const std::chrono::milliseconds timeout(std::max<std::int64_t>(timeout_ms, 0));
    CAIRN_TRY(next, watcher->value.next(timeout, token));
    *published = new OwnedPublished(std::move(next));
    return {};
  });
}

cairn_string cairn_watcher_cursor(const cairn_watcher* watcher) {
  return string_of(watcher->value.cursor());
}
