#include "cairn/restore.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

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

// How the bytes come, and whereto, where the caller has memory for them.
struct Way {
  internal::IoChoice choice;
  std::vector<CallerMemory> places;  // empty: Cairn's own
};

bool copies(IoMethod method) noexcept {
  return method == IoMethod::Read || method == IoMethod::Direct;
}

bool is_aligned(const CallerMemory& place) noexcept {
  return reinterpret_cast<std::uintptr_t>(place.bytes.data()) % kDirectAlignment == 0;
}

Result<std::vector<CallerMemory>> places_for(const internal::Parts& parts,
                                             const RestoreOptions& options) {
  std::vector<CallerMemory> places(parts.shards.size());
  for (std::uint32_t i = 0; i < places.size(); ++i) {
    const auto shard = parts.index.shard(i);
    const std::uint64_t size_bytes = shard.identity.size_bytes;
    if (size_bytes == 0) continue;
    CallerMemory memory = options.memory(size_bytes);
    if (memory.bytes.size() < size_bytes) {
      return Error{Code::OutOfMemory, 0,
                   parts.shards[i].path() + ": needs " + std::to_string(size_bytes) +
                       " bytes, but RestoreOptions::memory gave " +
                       std::to_string(memory.bytes.size())};
    }
    places[i] = {memory.bytes.first(size_bytes), std::move(memory.owner)};
  }
  return places;
}

Error not_aligned(const internal::Parts& parts) {
  return {Code::Invalid, 0,
          parts.prefix.string() + ": IoMethod::Direct needs memory that begins at a multiple of " +
              std::to_string(kDirectAlignment) +
              " bytes for each shard, and RestoreOptions::memory gave other memory; use "
              "IoMethod::Read, or align it"};
}

// Into the memory of the caller.
Result<Way> way_to_memory(const internal::Parts& parts, internal::IoChoice choice,
                          const RestoreOptions& options) {
  if (!copies(choice.method)) {
    return Error{Code::Invalid, 0,
                 parts.prefix.string() +
                     ": IoMethod::" + (choice.method == IoMethod::Map ? "Map" : "Populate") +
                     " leaves the bytes in the page cache, so RestoreOptions::memory has no use; "
                     "use Read or Direct, or leave one of them out"};
  }
  CAIRN_TRY(places, places_for(parts, options));
  if (choice.method != IoMethod::Direct || std::ranges::all_of(places, is_aligned))
    return Way{std::move(choice), std::move(places)};
  if (options.method) return not_aligned(parts);
  choice.method = IoMethod::Read;
  choice.reason += "; that memory is not aligned to " + std::to_string(kDirectAlignment) +
                   " bytes, so they are read through the page cache";
  return Way{std::move(choice), std::move(places)};
}

Result<Way> way_of(const internal::Parts& parts, const internal::IoConditions& seen,
                   const RestoreOptions& options) {
  internal::IoChoice choice{options.method.value_or(IoMethod::Map), "the caller requested it"};
  if (!options.method) choice = options.memory ? choose_for_memory(seen) : choose(seen);
  if (options.memory) return way_to_memory(parts, std::move(choice), options);
  return Way{std::move(choice), {}};
}

Result<Restored> restore_by(const std::filesystem::path& path,
                            const RestoreOptions& options) noexcept {
  return at_boundary([&]() -> Result<Restored> {
    OpenOptions opening{.verify = options.verify,
                        .follow_links = options.follow_links,
                        .expected = options.expected,
                        .expected_digest = options.expected_digest,
                        .formats = options.formats,
                        .exec = options.exec,
                        .on_event = options.on_event};
    return internal::open_by<Restored>(
        path, opening, [&](internal::Parts parts) -> Result<Restored> {
          CAIRN_TRY(seen, internal::io_conditions(parts));
          CAIRN_TRY(way, way_of(parts, seen, options));
          const IoMethod method = way.choice.method;
          opening.access = copies(method) ? Access::Copy : Access::Shared;
          CAIRN_TRY(checkpoint,
                    internal::OpenCheckpoint::make(std::move(parts), opening,
                                                   {loading_of(method), std::move(way.places)}));
          return Restored{std::move(checkpoint), method,
                          way.choice.reason,     seen.payload_bytes,
                          seen.resident_bytes,   seen.available_bytes.value_or(0),
                          seen.file_system.name};
        });
  });
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
  return internal::reported(options.on_event, path, [&] { return restore_by(path, options); });
}

}  // namespace cairn
