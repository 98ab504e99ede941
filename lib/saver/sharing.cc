// An incremental save: which tensors are in the base already, and which shards of it are linked.
//
//   names, dtypes, shapes → content hashes → shards that are worth a link → links
//
// What is in a shard that is not linked is written again, from the caller's memory, or from the
// base if the caller has given no bytes. A link that the file system refuses is such a case too.

#include "lib/saver/sharing.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

#include "format/digest.h"
#include "format/le.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/edit/transfer.h"
#include "lib/os/parallel.h"
#include "lib/try.h"
#include "lib/write/layout.h"
#include "lib/write/shard_names.h"
#include "lib/write/writer_access.h"

namespace cairn::internal {
namespace {

constexpr std::size_t kReadBytes = 1u << 20;

// A tensor of the save that the base has too.
struct Candidate {
  const TensorSpec* spec = nullptr;
  const NamedTensor* bytes = nullptr;  // in memory; nullptr: not given
  std::size_t position = 0;            // in the base's index
  bool by_word = false;
  bool same = false;
};

bool is_same_spec(const TensorSpec& a, const TensorSpec& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.opaque == b.opaque;
}

// Why the new checkpoint cannot point to the base's bytes of a tensor; empty: it can.
std::string_view obstacle(const Parts& from, const format::IndexView::Tensor& tensor) {
  if (from.decoded || from.bytes_doubtful || from.index.source_index())
    return "the base is not a checkpoint whose shards are as Cairn has recorded them";
  if (tensor.partitioned() || !tensor.strides.empty() || tensor.big_endian)
    return "the base has its values in slices, or in another order";
  if (!tensor.content_hash || !tensor.span.crc32c)
    return "the base has no content hash or checksum of it";
  if (!may_be_linked(from.index.shard(tensor.span.shard).kind))
    return "the base has it in a file of another tool";
  return {};
}

Error about(const Parts& from, Code code, std::string_view name, std::string_view what) {
  return {code, 0,
          from.prefix.string() + ": tensor " + format::quoted(name) +
              " is said to be unchanged, but " + std::string(what)};
}

bool has_bytes(const NamedTensor& tensor) {
  return !tensor.bytes.empty() || !tensor.strings.empty();
}

// ---- Which tensors are the same -----------------------------------------------------------------

Result<std::vector<Candidate>> candidates_of(const Parts& from, const SaveContents& contents,
                                             std::span<const NamedTensor> in_memory,
                                             std::span<const std::string> unchanged) {
  std::map<std::string_view, const NamedTensor*> bytes;
  for (const NamedTensor& tensor : in_memory)
    if (has_bytes(tensor)) bytes.emplace(tensor.spec.name, &tensor);
  std::set<std::string_view> words(unchanged.begin(), unchanged.end());
  std::vector<Candidate> candidates;
  for (const TensorSpec& spec : contents.specs) {
    const bool by_word = words.erase(spec.name) != 0;
    const auto position = from.index.find(spec.name);
    if (!position && by_word)
      return about(from, Code::Invalid, spec.name, "this base has no such tensor");
    if (!position) continue;
    const auto tensor = from.index.tensor(*position);
    const bool same_spec = is_same_spec(spec, spec_of(tensor));
    if (!same_spec && by_word)
      return about(from, Code::Invalid, spec.name, "this base has it with another dtype or shape");
    if (!same_spec || tensor.size_bytes == 0) continue;
    const auto given = bytes.find(spec.name);
    Candidate candidate{&spec, given == bytes.end() ? nullptr : given->second, *position, by_word};
    if (candidate.bytes == nullptr && !by_word) continue;
    const std::string_view why = obstacle(from, tensor);
    if (!why.empty() && candidate.bytes == nullptr)
      return about(from, Code::Unsupported, spec.name, why);
    if (why.empty()) candidates.push_back(candidate);
  }
  if (!words.empty())
    return about(from, Code::Invalid, *words.begin(), "it is not among the tensors of this save");
  return candidates;
}

// What a Writer would store of it.
Digest128 content_hash(const NamedTensor& tensor) {
  if (tensor.spec.dtype != DType::String) return format::xxh3_128(tensor.bytes);
  const auto head = format::tensorflow::encode_string_head(tensor.strings);
  format::Xxh3Stream hash;
  hash.update(format::as_bytes(head.bytes));
  for (const std::string_view text : tensor.strings) hash.update(format::as_bytes(text));
  return hash.digest();
}

// Whether the base's bytes have their sums.
Result<bool> is_undamaged(const Parts& from, std::size_t position, const std::stop_token& stop) {
  const auto tensor = from.index.tensor(position);
  os::Bytes block(std::min<std::uint64_t>(kReadBytes, tensor.span.size_bytes));
  format::Xxh3Stream hash;
  for (std::uint64_t done = 0; done < tensor.span.size_bytes;) {
    CAIRN_CHECK(os::unless_stopped(stop));
    const auto part = std::span(block).first(
        std::min<std::uint64_t>(block.size(), tensor.span.size_bytes - done));
    CAIRN_CHECK(from.shards[tensor.span.shard].read_at(tensor.span.offset_bytes + done, part));
    hash.update(part);
    done += part.size();
  }
  return hash.digest() == tensor.content_hash;
}

// `each` of the candidates, on several threads.
Result<void> for_each(std::span<Candidate> candidates, const Parts& from,
                      const SaveContents& contents, const ExecOptions& exec,
                      const std::function<Result<void>(Candidate&)>& each) {
  ExecOptions quiet = exec;  // the progress is that of the bytes that are written
  quiet.progress = nullptr;
  os::ThreadGroupOptions group{candidates.size(), 0, 1, {}};
  for (const Candidate& candidate : candidates)
    group.total_bytes += from.index.tensor_size_bytes(candidate.position);
  if (group.total_bytes >= kReadBytes) {
    group.threads = os::thread_count(exec);
    group.idle_max = contents.idle_max;
  }
  return os::run_threads(quiet, group, [&](os::WorkQueue& queue) -> Result<void> {
    while (const auto next = queue.next()) CAIRN_CHECK(each(candidates[*next]));
    return {};
  });
}

Result<void> compare(std::span<Candidate> candidates, const Parts& from,
                     const SaveContents& contents, const SharingOptions& options) {
  return for_each(candidates, from, contents, options.exec,
                  [&](Candidate& candidate) -> Result<void> {
                    const auto tensor = from.index.tensor(candidate.position);
                    candidate.same = candidate.by_word;
                    if (!candidate.by_word)
                      candidate.same = content_hash(*candidate.bytes) == tensor.content_hash;
                    return {};
                  });
}

// What is damaged is written from memory.
Result<void> verify(std::span<Candidate> candidates, const Parts& from,
                    const SaveContents& contents, const SharingOptions& options,
                    std::vector<std::string>& warnings) {
  std::mutex mutex;
  return for_each(candidates, from, contents, options.exec,
                  [&](Candidate& candidate) -> Result<void> {
                    if (!candidate.same) return {};
                    CAIRN_TRY(whole, is_undamaged(from, candidate.position, options.exec.stop));
                    if (whole) return {};
                    if (candidate.bytes == nullptr)
                      return about(from, Code::Corrupt, candidate.spec->name,
                                   "its bytes in this base are damaged");
                    candidate.same = false;
                    const std::lock_guard lock(mutex);
                    warnings.push_back(from.prefix.string() + ": tensor " +
                                       format::quoted(candidate.spec->name) +
                                       " is damaged; the new checkpoint has its own copy of it");
                    return {};
                  });
}

// ---- Which shards are linked --------------------------------------------------------------------

std::vector<ShardUse> uses_of(const Parts& from, std::span<const Candidate> candidates) {
  std::vector<ShardUse> uses;
  for (std::size_t i = 0; i < from.index.shard_count(); ++i)
    uses.push_back({from.index.shard(i).identity.size_bytes, 0});
  std::set<std::pair<std::uint32_t, std::uint64_t>> counted;
  for (const Candidate& candidate : candidates) {
    const format::Span span = from.index.tensor(candidate.position).span;
    if (!candidate.same || !counted.emplace(span.shard, span.offset_bytes).second) continue;
    ShardUse& use = uses[span.shard];
    use.live_bytes += std::min(span.size_bytes, use.size_bytes - use.live_bytes);
  }
  return uses;
}

// A file system that cannot link, a file with too many names, of another user, or gone by now.
bool is_no_link(const Error& error) noexcept {
  switch (error.os_errno) {
    case EXDEV:
    case EMLINK:
    case EPERM:
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOENT:
      return true;
    default:
      return false;
  }
}

// A shard of which everything is used stays what it is. Another one has bytes between its tensors,
// as those of other writers have, and a header that nobody is to read any more.
format::ShardFacts facts_of(const format::IndexView::Shard& shard, std::uint64_t live_bytes) {
  format::ShardFacts facts;
  const bool all = live_bytes == shard.live_bytes && shard.kind != format::ShardKind::TensorFlow;
  facts.kind = all ? shard.kind : format::ShardKind::TensorFlow;
  facts.head_bytes = all ? shard.head_bytes : 0;
  facts.head_crc32c = all ? shard.head_crc32c : 0;
  return facts;
}

Result<void> link_shards(const Parts& from, std::span<const ShardUse> uses, const os::Directory& to,
                         const std::string& base, std::vector<std::optional<std::size_t>>& links,
                         Sharing& sharing) {
  const std::vector<bool> chosen = choose_linked(uses);
  const std::string name = shard_names(base, 1, 1).front();  // for now
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (!chosen[i]) continue;
    auto file = TempFile::link(to, name, from.shards[i]);
    if (!file && !is_no_link(file.error())) return std::move(file).error();
    if (!file) {
      sharing.warnings.push_back(file.error().what + "; its tensors are written again");
      continue;
    }
    links[i] = sharing.linked.shards.size();
    sharing.linked.shards.push_back(
        {*std::move(file), facts_of(from.index.shard(i), uses[i].live_bytes)});
    sharing.shared_bytes += uses[i].live_bytes;
    sharing.dead_bytes += uses[i].size_bytes - uses[i].live_bytes;
  }
  return {};
}

Sums sums_in(const Parts& from, const format::IndexView::Tensor& tensor) {
  Sums sums{*tensor.span.crc32c, {}, *tensor.content_hash};
  if (from.index.chunk_bytes() == kChunkBytes)
    sums.chunk_crc32cs.assign(tensor.chunk_crc32cs.begin(), tensor.chunk_crc32cs.end());
  return sums;
}

}  // namespace

Result<Sharing> share_with(const Parts& from, const SaveContents& contents,
                           const SharingOptions& options, const os::Directory& to,
                           const std::string& base) {
  Sharing sharing;
  const auto in_memory = contents.in_memory ? contents.in_memory() : std::vector<NamedTensor>();
  CAIRN_TRY(candidates, candidates_of(from, contents, in_memory, options.unchanged));
  std::vector<std::optional<std::size_t>> links(from.index.shard_count());
  if (options.link) {
    CAIRN_CHECK(compare(candidates, from, contents, options));
    if (options.verify) CAIRN_CHECK(verify(candidates, from, contents, options, sharing.warnings));
    CAIRN_CHECK(link_shards(from, uses_of(from, candidates), to, base, links, sharing));
  }
  for (const Candidate& candidate : candidates) {
    const auto tensor = from.index.tensor(candidate.position);
    const auto link = candidate.same ? links[tensor.span.shard] : std::nullopt;
    if (link) {
      sharing.linked.tensors.push_back({candidate.spec->name, *link, tensor.span.offset_bytes,
                                        tensor.span.size_bytes, sums_in(from, tensor)});
    } else if (candidate.bytes == nullptr) {
      sharing.copied.push_back({candidate.spec->name, candidate.position});
    }
  }
  return sharing;
}

namespace {

Result<void> copy(const Parts& from, const CopiedTensor& copied, Writer& writer) {
  const auto tensor = from.index.tensor(copied.position);
  os::Bytes bytes(tensor.span.size_bytes);
  CAIRN_CHECK(from.shards[tensor.span.shard].read_at(tensor.span.offset_bytes, bytes));
  if (format::xxh3_128(bytes) != tensor.content_hash)
    return about(from, Code::Corrupt, copied.name, "its bytes in this base are damaged");
  return is_encoded(tensor.dtype) ? writer.write_encoded(copied.name, bytes)
                                  : writer.write(copied.name, std::span<const std::byte>(bytes));
}

}  // namespace

Result<void> take_from_base(const Parts& from, Sharing& sharing, Writer& writer) {
  WriterAccess::link(writer, std::move(sharing.linked));
  // Names that share their bytes in the base share them here too.
  std::ranges::sort(sharing.copied, {}, &CopiedTensor::name);
  std::map<std::pair<std::uint32_t, std::uint64_t>, const CopiedTensor*> owners;
  std::vector<const CopiedTensor*> written;
  for (const CopiedTensor& copied : sharing.copied) {
    const auto tensor = from.index.tensor(copied.position);
    const auto [owner, first] =
        owners.try_emplace({tensor.span.shard, tensor.span.offset_bytes}, &copied);
    const auto other = from.index.tensor(owner->second->position);
    const bool tied = !first && !is_encoded(tensor.dtype) && other.dtype == tensor.dtype &&
                      other.span.size_bytes == tensor.span.size_bytes;
    if (tied) CAIRN_CHECK(writer.tie(copied.name, owner->second->name));
    if (!tied) written.push_back(&copied);
  }
  for (const CopiedTensor* copied : written) CAIRN_CHECK(copy(from, *copied, writer));
  return {};
}

}  // namespace cairn::internal
