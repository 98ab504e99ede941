#include "lib/read/io_method.h"

#include <algorithm>

#include "lib/os/direct.h"
#include "lib/os/machine.h"
#include "lib/os/mapping.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

std::string bytes(std::uint64_t count) { return std::to_string(count) + " bytes"; }

std::string how_much_is_resident(const IoConditions& seen) {
  const std::string of_all = " of " + std::to_string(seen.payload_bytes);
  if (!seen.resident_bytes)
    return "it is not known how many" + of_all + " bytes are in the page cache";
  return bytes(*seen.resident_bytes) + of_all + " are in the page cache";
}

}  // namespace

Result<IoConditions> io_conditions(const Parts& parts) {
  IoConditions seen;
  seen.available_bytes = os::available_memory_bytes();
  seen.direct_reads = true;
  for (std::uint32_t i = 0; i < parts.shards.size(); ++i) {
    const os::File& shard = parts.shards[i];
    const std::uint64_t size_bytes = parts.index.shard(i).identity.size_bytes;
    const auto mapped =
        os::Mapping::map(shard, std::min<std::uint64_t>(1, size_bytes), os::MapMode::ReadOnly);
    if (!mapped && os::is_unmappable(mapped.error())) seen.can_map = false;
    CAIRN_TRY(resident_bytes, os::resident_bytes(shard, size_bytes));
    seen.payload_bytes += size_bytes;
    // If the number of one shard is unknown, the sum is unknown.
    if (!resident_bytes) seen.resident_bytes.reset();
    if (seen.resident_bytes) *seen.resident_bytes += *resident_bytes;
    // Shards behind links may be on other file systems: one that is not local decides for all.
    const os::FileSystem file_system = os::file_system_of(shard);
    if (i == 0 || !file_system.is_local) seen.file_system = file_system;
    seen.direct_reads = seen.direct_reads && os::reopen_direct(shard).has_value();
  }
  return seen;
}

IoChoice choose(const IoConditions& seen) {
  const std::string payload = bytes(seen.payload_bytes);
  const std::uint64_t available_bytes = seen.available_bytes.value_or(0);
  const bool in_memory = seen.file_system.is_memory || seen.payload_bytes == 0;
  const bool too_large = seen.available_bytes && seen.payload_bytes > available_bytes;
  if (!seen.can_map) {
    const std::string why = "the shards are on " + seen.file_system.name + " and cannot be mapped";
    if (!too_large) return {IoMethod::Read, why};
    return {IoMethod::Map, why + "; " + payload + " are more than the available memory of " +
                               bytes(available_bytes) + ": each tensor is read on its first use"};
  }
  if (!in_memory && too_large) {
    return {IoMethod::Map, payload + " are more than the available memory of " +
                               bytes(available_bytes) +
                               ": mapped pages can be read and dropped again"};
  }
  if (!in_memory && !seen.file_system.is_local) {
    return {IoMethod::Read, "the shards are on " + seen.file_system.name +
                                ", which may not be local: mapped pages would be read one by one, "
                                "and a truncated file would end the process"};
  }
  const std::string resident = how_much_is_resident(seen);
  const bool warm = seen.resident_bytes && *seen.resident_bytes >= seen.payload_bytes / 2;
  if (in_memory || warm) return {IoMethod::Populate, resident + ": they are mapped, not copied"};
  if (seen.direct_reads && seen.available_bytes && seen.payload_bytes > available_bytes / 2) {
    return {IoMethod::Direct,
            resident + ", and all bytes are more than half of the available memory of " +
                bytes(available_bytes) +
                ": they would push the pages of other programs out of the page cache"};
  }
  return {IoMethod::Populate, resident + ": the rest is read into it once for all processes"};
}

IoChoice choose_for_memory(const IoConditions& seen) {
  IoChoice choice = choose(seen);
  if (choice.method == IoMethod::Read || choice.method == IoMethod::Direct) return choice;
  const bool scarce = choice.method == IoMethod::Map && seen.direct_reads;
  choice.method = scarce ? IoMethod::Direct : IoMethod::Read;
  choice.reason += "; they are read into memory of the caller";
  return choice;
}

}  // namespace cairn::internal
