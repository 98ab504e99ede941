#include "lib/edit/diff_renames.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "format/digest.h"
#include "format/le.h"
#include "lib/edit/outgoing.h"
#include "lib/edit/stream.h"
#include "lib/try.h"
#include "lib/write/layout.h"

namespace cairn::internal {
namespace {

// Equal for tensors of the same dtype and shape, and for no others.
std::string kind_of(const format::IndexView::Tensor& tensor) {
  std::string kind;
  format::append_le(kind, static_cast<std::uint16_t>(tensor.dtype));
  format::append_le(kind, tensor.element_bits);
  format::append_le(kind, tensor.block.elements);
  format::append_le(kind, tensor.block.bytes);
  format::append_le(kind, std::uint64_t{tensor.shape.size()});
  for (const std::int64_t size : tensor.shape) format::append_le(kind, size);
  return kind += tensor.opaque_dtype;
}

// Ascending positions of tensors on both sides that have something in common.
struct Group {
  std::vector<std::size_t> of_a;
  std::vector<std::size_t> of_b;
};

std::map<std::string, Group> groups_of(const OpenCheckpoint& a, const OpenCheckpoint& b,
                                       const IndexDiff& found) {
  std::map<std::string, Group> groups;
  if (found.removed.empty() || found.added.empty()) return groups;
  for (const std::size_t i : found.removed) groups[kind_of(a.index().tensor(i))].of_a.push_back(i);
  for (const std::size_t i : found.added) groups[kind_of(b.index().tensor(i))].of_b.push_back(i);
  return groups;
}

// The hash of one tensor, which comes in blocks. Most have one.
struct Hashing {
  std::uint64_t left_bytes = 0;
  std::unique_ptr<format::Xxh3Stream> stream;
  Digest128 digest = format::xxh3_128({});

  void add(std::span<const std::byte> block) {
    if (stream == nullptr && block.size() == left_bytes) {
      digest = format::xxh3_128(block);
      return;
    }
    if (stream == nullptr) stream = std::make_unique<format::Xxh3Stream>();
    stream->update(block);
    left_bytes -= block.size();
    if (left_bytes != 0) return;
    digest = stream->digest();
    stream.reset();
  }
};

void erase_all(std::vector<std::size_t>& from, std::vector<std::size_t> what) {
  std::ranges::sort(what);
  std::erase_if(from, [&](std::size_t i) { return std::ranges::binary_search(what, i); });
}

}  // namespace

bool ContentHashes::can_compute(std::size_t position) const noexcept {
  return checkpoint_.index().tensor(position).encoding == format::Encoding::Raw;
}

void ContentHashes::want(std::size_t position) {
  if (checkpoint_.index().tensor(position).content_hash || !can_compute(position)) return;
  wanted_.push_back(position);
  wanted_bytes_ += checkpoint_.index().tensor_size_bytes(position);
}

Result<void> ContentHashes::compute(const ExecOptions& exec) {
  if (wanted_.empty()) return {};
  CAIRN_CHECK(checkpoint_.ensure_has_bytes());
  CAIRN_CHECK(checkpoint_.shards().ensure_not_faulted());
  std::ranges::sort(wanted_);
  const auto tensors = as_stored(checkpoint_.index(), wanted_);
  std::vector<Hashing> hashings(tensors.size());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    CAIRN_TRY(size_bytes, spec_bytes(tensors[i].spec));
    hashings[i].left_bytes = size_bytes;
  }
  // The blocks of one tensor come in order, from one thread.
  const auto sink = [&](std::size_t i, std::uint64_t /*at_bytes*/,
                        std::span<const std::byte> block) -> Result<void> {
    hashings[i].add(block);
    return {};
  };
  CAIRN_CHECK(stream_tensors({checkpoint_, tensors, exec, {}}, sink));
  for (std::size_t i = 0; i < tensors.size(); ++i)
    computed_.emplace(wanted_[i], hashings[i].digest);
  return {};
}

std::optional<Digest128> ContentHashes::of(std::size_t position) const {
  if (const auto* hash = checkpoint_.index().tensor_columns().content_hash(position)) return *hash;
  if (computed_.empty()) return std::nullopt;
  const auto found = computed_.find(position);
  return found == computed_.end() ? std::nullopt : std::optional(found->second);
}

void want_rename_hashes(const OpenCheckpoint& a, const OpenCheckpoint& b, const IndexDiff& found,
                        ContentHashes& of_a, ContentHashes& of_b) {
  for (const auto& [kind, group] : groups_of(a, b, found)) {
    if (group.of_a.empty() || group.of_b.empty()) continue;
    for (const std::size_t i : group.of_a) of_a.want(i);
    for (const std::size_t i : group.of_b) of_b.want(i);
  }
}

std::vector<DiffPair> take_renamed(const OpenCheckpoint& a, const OpenCheckpoint& b,
                                   const ContentHashes& of_a, const ContentHashes& of_b,
                                   IndexDiff& found) {
  std::vector<DiffPair> renamed;
  for (const auto& [kind, group] : groups_of(a, b, found)) {
    std::map<std::array<std::byte, 16>, Group> by_content;
    if (group.of_a.empty() || group.of_b.empty()) continue;
    for (const std::size_t i : group.of_a)
      if (const auto hash = of_a.of(i)) by_content[hash->bytes].of_a.push_back(i);
    for (const std::size_t i : group.of_b)
      if (const auto hash = of_b.of(i)) by_content[hash->bytes].of_b.push_back(i);
    for (const auto& [hash, same] : by_content) {
      for (std::size_t i = 0; i < std::min(same.of_a.size(), same.of_b.size()); ++i)
        renamed.push_back({same.of_a[i], same.of_b[i]});
    }
  }
  if (renamed.empty()) return renamed;
  std::vector<std::size_t> removed;
  std::vector<std::size_t> added;
  for (const DiffPair& pair : renamed) {
    removed.push_back(pair.a);
    added.push_back(pair.b);
  }
  erase_all(found.removed, std::move(removed));
  erase_all(found.added, std::move(added));
  return renamed;
}

}  // namespace cairn::internal
