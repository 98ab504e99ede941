// A .safetensors file as a checkpoint.

#include <array>
#include <string>

#include "format/safetensors/header.h"
#include "format/safetensors/own_metadata.h"
#include "lib/open/file_formats.h"
#include "lib/try.h"

namespace cairn::internal {

Result<FileIndex> read_safetensors(OpenShard shard, const FileReadOptions& how) {
  const std::uint64_t size_bytes = shard.identity.size_bytes;
  std::array<std::byte, 8> length;
  CAIRN_TRY(count, shard.file.read_some_at(0, length));
  const auto json_bytes = format::safetensors::header_json_bytes(std::span(length).first(count));
  const auto refused = [&](const format::DecodeError& reason) {
    return named_for_what_it_is(shard.file, error_of(shard.file.path(), reason));
  };
  if (!json_bytes) return refused(json_bytes.error());
  if (*json_bytes > size_bytes - 8) {
    const Error truncated{Code::Corrupt, 0,
                          shard.file.path() + ": the header says that it has " +
                              std::to_string(*json_bytes) + " bytes, but the file has " +
                              std::to_string(size_bytes)};
    return named_for_what_it_is(shard.file, truncated);
  }
  os::Bytes head(length.size() + *json_bytes);
  CAIRN_CHECK(shard.file.read_at(0, head));
  auto header = format::safetensors::decode_header(
      head, how.whole ? std::optional(size_bytes) : std::nullopt);
  if (!header) return refused(header.error());
  format::IndexFacts facts;
  facts.tensors = std::move(header->tensors);
  facts.safetensors_metadata = std::move(header->metadata);
  format::safetensors::take_own_metadata(facts);
  format::ShardFacts shard_facts;
  shard_facts.name = how.name;
  shard_facts.kind = format::ShardKind::Safetensors;
  shard_facts.identity = shard.identity;
  shard_facts.head_bytes = head.size();
  shard_facts.live_bytes = size_bytes - head.size();
  facts.shards.push_back(std::move(shard_facts));
  return FileIndex{std::move(shard), std::move(facts)};
}

}  // namespace cairn::internal
