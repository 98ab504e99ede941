#include "lib/write/shard_writer.h"

#include <algorithm>
#include <utility>

#include "format/checked.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "lib/read/identity.h"
#include "lib/try.h"
#include "lib/write/free_space.h"
#include "lib/write/linked_shards.h"

namespace cairn::internal {

namespace {

// What is summed is still in the processor's cache when it is hashed.
constexpr std::uint64_t kStepBytes = 64u << 10;
// As much of a file is handed to the disk at once.
constexpr std::uint64_t kWritebackBytes = 8u << 20;
static_assert(kChunkBytes % kStepBytes == 0);

}  // namespace

void TensorSums::update(std::span<const std::byte> bytes) {
  size_bytes_ += bytes.size();
  while (!bytes.empty()) {
    const std::uint64_t step_bytes = kStepBytes - in_chunk_ % kStepBytes;
    const auto part = bytes.first(std::min<std::uint64_t>(bytes.size(), step_bytes));
    chunk_ = format::crc32c(part, chunk_);
    hash_.update(part);
    in_chunk_ += part.size();
    bytes = bytes.subspan(part.size());
    if (in_chunk_ == kChunkBytes) end_chunk();
  }
}

void TensorSums::end_chunk() {
  whole_ = format::crc32c_combine(whole_, chunk_, in_chunk_);
  chunks_.push_back(chunk_);
  chunk_ = 0;
  in_chunk_ = 0;
}

Sums TensorSums::finish() {
  if (in_chunk_ != 0) end_chunk();
  if (size_bytes_ <= kChunkBytes) chunks_.clear();
  return {whole_, std::move(chunks_), hash_.digest()};
}

Sums sums_of(std::span<const std::byte> bytes) {
  if (bytes.size() <= kStepBytes) return {format::crc32c(bytes), {}, format::xxh3_128(bytes)};
  TensorSums sums;
  sums.update(bytes);
  return sums.finish();
}

ShardWriter::ShardWriter(Layout layout)
    : layout_(std::move(layout)), append_(std::make_unique<std::mutex>()) {}

Result<ShardWriter> ShardWriter::create(const os::Directory& directory,
                                        std::vector<std::string> names, Layout layout) {
  ShardWriter writer(std::move(layout));
  CAIRN_ASSERT(names.size() == writer.layout_.shards.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    const PlannedShard& plan = writer.layout_.shards[i];
    CAIRN_TRY(temp, TempFile::create(directory, std::move(names[i])));
    if (i == 0) CAIRN_CHECK(check_locks(directory, temp.file()));
    CAIRN_CHECK(temp.file().reserve(plan.size_bytes));
    CAIRN_CHECK(temp.file().write_at(0, format::as_bytes(plan.head)));
    writer.drafts_.push_back(std::move(temp));
  }
  return writer;
}

Result<void> ShardWriter::write(std::size_t tensor, std::uint64_t at_bytes,
                                std::span<const std::byte> bytes) const {
  const PlannedTensor& plan = layout_.tensors[tensor];
  const os::File& file = drafts_[plan.shard].file();
  const std::uint64_t begin_bytes = plan.offset_bytes + at_bytes;
  CAIRN_CHECK(file.write_at(begin_bytes, bytes));
  // The disk begins, so that the sync waits for little. What others have not written yet of this
  // range is left for later.
  const std::uint64_t from = begin_bytes / kWritebackBytes;
  const std::uint64_t to = (begin_bytes + bytes.size()) / kWritebackBytes;
  if (from == to) return {};
  return file.start_writeback({from * kWritebackBytes, (to - from) * kWritebackBytes});
}

void ShardWriter::place_encoded(std::size_t tensor, std::uint64_t size_bytes) {
  const std::lock_guard lock(*append_);
  PlannedTensor& plan = layout_.tensors[tensor];
  PlannedShard& shard = layout_.shards[plan.shard];
  // The gap is a hole of the file, which reads as zeros; behind the last byte there may be none.
  if (size_bytes != 0)
    shard.size_bytes = format::round_up(shard.size_bytes, layout_.alignment_bytes);
  plan.offset_bytes = shard.size_bytes;
  plan.size_bytes = size_bytes;
  shard.size_bytes += size_bytes;
}

void ShardWriter::add_linked(std::vector<LinkedShard> shards) {
  for (LinkedShard& shard : shards) {
    drafts_.push_back(std::move(shard.file));
    linked_.push_back(std::move(shard.facts));
  }
}

Result<void> ShardWriter::sync() const {
  for (std::size_t i = 0; i < drafts_.size(); ++i) {
    // The mode of a linked one is that of its other names too.
    if (i < layout_.shards.size()) CAIRN_CHECK(drafts_[i].file().make_read_only());
    CAIRN_CHECK(drafts_[i].file().sync());
  }
  return {};
}

void ShardWriter::set_names(std::vector<std::string> names) {
  CAIRN_ASSERT(names.size() == drafts_.size());
  for (std::size_t i = 0; i < names.size(); ++i) drafts_[i].set_name(std::move(names[i]));
}

Result<std::vector<format::ShardFacts>> ShardWriter::facts() const {
  std::vector<format::ShardFacts> shards;
  for (std::size_t i = 0; i < drafts_.size(); ++i) {
    CAIRN_TRY(info, drafts_[i].file().info());
    format::ShardFacts facts;
    if (i < layout_.shards.size()) {
      const PlannedShard& plan = layout_.shards[i];
      facts.kind = plan.kind;
      facts.head_bytes = plan.head.size();
      facts.head_crc32c = format::crc32c(format::as_bytes(plan.head));
    } else {
      facts = linked_[i - layout_.shards.size()];
    }
    facts.name = drafts_[i].name();
    facts.identity = identity_of(info);
    shards.push_back(std::move(facts));
  }
  for (const PlannedTensor& tensor : layout_.tensors) {
    if (!tensor.same_as) shards[tensor.shard].live_bytes += tensor.size_bytes;
  }
  return shards;
}

}  // namespace cairn::internal
