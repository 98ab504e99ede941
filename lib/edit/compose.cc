// Shards are numbered in the order in which tensors first lie in them, source after source, as
// TensorFlow's own merge does it, so that the P.index of parts that TensorFlow wrote is the one
// that TensorFlow would have written. Unlike there, a shard in which no tensor lies is left out and
// not counted: TensorFlow counts the shards of an empty part but does not number them, and cannot
// read the result.

#include "lib/edit/compose.h"

#include <algorithm>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>

#include "cairn/object_graph.h"
#include "cairn/version.h"
#include "format/checked.h"
#include "format/dtype.h"
#include "format/quoted.h"
#include "format/safetensors/own_metadata.h"
#include "lib/edit/names.h"
#include "lib/edit/transfer.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/slices.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::TensorFacts;

// A tensor, and where it comes from.
struct Tagged {
  TensorFacts facts;
  std::size_t source = 0;
};

// ---- Shards -------------------------------------------------------------------------------------

// The shards of the result, each file once however many sources have it.
class ShardList {
 public:
  explicit ShardList(Composed& result) : result_(result) {}

  Result<std::uint32_t> add(Parts& parts, const format::ShardFacts& facts, std::size_t shard);

 private:
  Composed& result_;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> by_file_;  // device, inode
};

// Two records of one file. Where they differ, what they agree on is that tensors lie in it.
void join(format::ShardFacts& known, const format::ShardFacts& other) {
  const bool same = known.kind == other.kind && known.head_bytes == other.head_bytes &&
                    known.head_crc32c == other.head_crc32c;
  if (!same) {
    known.kind = format::ShardKind::TensorFlow;
    known.head_bytes = 0;
    known.head_crc32c = 0;
  }
  const std::uint64_t room_bytes = known.identity.size_bytes - known.head_bytes;
  known.live_bytes = format::checked_add(known.live_bytes, other.live_bytes).value_or(room_bytes);
  known.live_bytes = std::min(known.live_bytes, room_bytes);
}

Result<std::uint32_t> ShardList::add(Parts& parts, const format::ShardFacts& facts,
                                     std::size_t shard) {
  if (parts.decoded_members) CAIRN_CHECK(parts.decoded_members->ensure_all(parts.shards));
  parts.decoded_members.reset();
  CAIRN_TRY(info, parts.shards[shard].info());
  const auto next = static_cast<std::uint32_t>(result_.files.size());
  const auto [at, is_new] = by_file_.try_emplace({info.device, info.inode}, next);
  const std::uint32_t position = at->second;
  if (is_new) {
    result_.facts.shards.push_back(facts);
    result_.files.push_back(std::move(parts.shards[shard]));
    result_.doubtful.push_back(parts.bytes_doubtful);
    return position;
  }
  format::ShardFacts& known = result_.facts.shards[position];
  if (parts.bytes_doubtful) known.identity = facts.identity;
  result_.doubtful[position] = result_.doubtful[position] || parts.bytes_doubtful;
  join(known, facts);
  return position;
}

// Takes over the tensors of a source, their spans in terms of the result's shards.
Result<void> take(MergeInput& source, std::size_t number, ShardList& shards,
                  std::vector<Tagged>& tensors, format::IndexFacts& facts) {
  std::vector<std::optional<std::uint32_t>> placed(facts.shards.size());
  const auto place = [&](format::Span& span) -> Result<void> {
    std::optional<std::uint32_t>& position = placed[span.shard];
    if (!position) {
      CAIRN_TRY(added, shards.add(source.found.parts, facts.shards[span.shard], span.shard));
      position = added;
    }
    span.shard = *position;
    return {};
  };
  for (TensorFacts& tensor : facts.tensors) {
    if (tensor.slices.empty()) CAIRN_CHECK(place(tensor.span));
    for (format::SliceFacts& slice : tensor.slices) CAIRN_CHECK(place(slice.span));
    tensors.push_back({std::move(tensor), number});
  }
  return {};
}

// ---- Tensors ------------------------------------------------------------------------------------

std::string both(std::span<const MergeInput> sources, const Tagged& a, const Tagged& b) {
  return sources[a.source].path.string() + " and " + sources[b.source].path.string();
}

std::string described(const TensorFacts& tensor) {
  return describe(tensor.dtype, tensor.shape, tensor.opaque_dtype);
}

// Whether the two are parts of one tensor.
Result<void> check_parts(std::span<const MergeInput> sources, const Tagged& a, const Tagged& b) {
  if (a.facts.slices.empty() || b.facts.slices.empty()) {
    const bool graph = a.facts.name == kObjectGraphName;
    return Error{
        Code::Exists, 0,
        "tensor " + format::quoted(a.facts.name) + " is in both " + both(sources, a, b) +
            (graph ? ": it is TensorFlow's object graph, and a checkpoint can have only one"
                   : "; to give it another name in one of them, use rename_tensors()")};
  }
  if (a.facts.dtype == b.facts.dtype && a.facts.opaque_dtype == b.facts.opaque_dtype &&
      a.facts.opaque_bits == b.facts.opaque_bits && a.facts.opaque_block == b.facts.opaque_block &&
      a.facts.other_byte_order == b.facts.other_byte_order && a.facts.shape == b.facts.shape)
    return {};
  return Error{Code::Invalid, 0,
               "tensor " + format::quoted(a.facts.name) + " has slices in both " +
                   both(sources, a, b) + ", but they belong to different tensors: " +
                   described(a.facts) + " and " + described(b.facts)};
}

// One tensor out of its parts in several sources.
Result<TensorFacts> joined(std::span<const MergeInput> sources, std::span<Tagged> parts,
                           std::vector<std::string>& warnings) {
  std::vector<Box> boxes;
  std::vector<std::size_t> owners;  // the source of each
  std::uint64_t covered = 0;
  const TensorFacts& first = parts.front().facts;
  for (const Tagged& part : parts) {
    if (&part != &parts.front()) CAIRN_CHECK(check_parts(sources, parts.front(), part));
    for (const format::SliceFacts& slice : part.facts.slices) {
      boxes.push_back(box_of(slice.extents, first.shape));
      owners.push_back(part.source);
      covered += element_count(boxes.back());
    }
  }
  const auto met = overlapping(boxes);
  if (!met) {
    return Error{met.error().code, 0,
                 "tensor " + format::quoted(first.name) + " " + met.error().what};
  }
  if (*met) {
    const auto& [a, b] = **met;
    return Error{Code::Invalid, 0,
                 "tensor " + format::quoted(first.name) + " has slices that overlap in " +
                     sources[owners[a]].path.string() + " and " + sources[owners[b]].path.string()};
  }
  if (covered < format::element_count(first.shape).value_or(0))
    warnings.push_back("tensor " + format::quoted(first.name) +
                       ": its slices leave a gap, so it cannot be read as a whole");
  TensorFacts whole = std::move(parts.front().facts);
  whole.content_hash.reset();
  for (Tagged& part : parts.subspan(1))
    std::ranges::move(part.facts.slices, std::back_inserter(whole.slices));
  return whole;
}

Result<void> join_tensors(std::span<const MergeInput> sources, std::vector<Tagged> tensors,
                          Composed& result) {
  const auto name = [](const Tagged& tensor) -> const std::string& { return tensor.facts.name; };
  const auto by_name = [](const Tagged& a, const Tagged& b) {
    return std::tie(a.facts.name, a.source) < std::tie(b.facts.name, b.source);
  };
  if (!std::ranges::is_sorted(tensors, by_name)) std::ranges::sort(tensors, by_name);
  result.facts.tensors.reserve(tensors.size());
  for (std::size_t begin = 0, end = 0; begin < tensors.size(); begin = end) {
    while (end < tensors.size() && name(tensors[end]) == name(tensors[begin])) ++end;
    if (end - begin == 1) {
      result.facts.tensors.push_back(std::move(tensors[begin].facts));
      continue;
    }
    const auto parts = std::span(tensors).subspan(begin, end - begin);
    CAIRN_TRY(whole, joined(sources, parts, result.warnings));
    result.facts.tensors.push_back(std::move(whole));
  }
  return {};
}

// ---- What is said of the checkpoint as a whole --------------------------------------------------

Result<void> check_alike(std::span<const MergeInput> sources) {
  const auto header = [](const MergeInput& source) {
    format::BundleHeader each = source.found.parts.index.bundle();
    each.num_shards = 1;
    return each;
  };
  const format::BundleHeader first = header(sources.front());
  for (const MergeInput& source : sources.subspan(1)) {
    const format::BundleHeader other = header(source);
    if (other == first) continue;
    const bool order = other.big_endian != first.big_endian;
    return Error{
        Code::Unsupported, 0,
        sources.front().path.string() + " and " + source.path.string() +
            (order ? " have different byte orders; rewrite one of them with convert() first"
                   : " are for different versions of TensorFlow; rewrite one of them with "
                     "convert() first")};
  }
  return {};
}

std::optional<std::int64_t> input_step(const MergeInput& source) {
  return step_of(source.found.location, source.found.parts.index);
}

std::optional<std::int64_t> common_step(std::span<const MergeInput> sources) {
  const auto first = input_step(sources.front());
  const auto differs = [&](const MergeInput& source) { return input_step(source) != first; };
  return std::ranges::any_of(sources, differs) ? std::nullopt : first;
}

// Those pairs whose key has no other value in another source, in the order of their appearance.
format::KeyValues agreeing(std::span<const format::KeyValues> all,
                           std::vector<std::string>& warnings) {
  std::map<std::string_view, std::pair<std::string_view, bool>> values;  // and whether they differ
  std::vector<std::string_view> order;
  for (const format::KeyValues& each : all) {
    for (const auto& [key, value] : each) {
      const auto [at, is_new] = values.try_emplace(key, value, false);
      if (is_new) order.push_back(key);
      at->second.second |= at->second.first != value;
    }
  }
  format::KeyValues kept;
  for (const std::string_view key : order) {
    const auto& [value, differs] = values.at(key);
    if (!differs) {
      kept.emplace_back(key, value);
    } else {
      warnings.push_back("metadata " + format::quoted(key) +
                         " is left out, because the sources have different values");
    }
  }
  return kept;
}

void remove_saver_keys(format::KeyValues& metadata) {
  std::erase_if(metadata,
                [](const auto& pair) { return pair.first.starts_with(format::kReservedKeys); });
}

void remove_file_keys(format::KeyValues& metadata) {
  std::erase_if(metadata,
                [](const auto& pair) { return format::safetensors::is_own_key(pair.first); });
}

}  // namespace

Result<Composed> compose(std::vector<MergeInput> sources) {
  CAIRN_CHECK(check_alike(sources));
  Composed result;
  ShardList shards(result);
  std::vector<Tagged> tensors;
  std::vector<format::KeyValues> metadata;
  std::vector<format::KeyValues> safetensors_metadata;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    Parts& parts = sources[i].found.parts;
    format::IndexFacts facts = parts.index.facts();
    result.no_hard_links = result.no_hard_links || parts.format == Format::Onnx;
    if (i == 0) {
      result.facts.chunk_bytes = facts.chunk_bytes;
      result.facts.created_ns = facts.created_ns;
      result.facts.bundle = facts.bundle;
    }
    if (facts.chunk_bytes != result.facts.chunk_bytes) {
      for (TensorFacts& tensor : facts.tensors) tensor.chunk_crc32cs.clear();
    }
    if (sources.size() > 1) remove_saver_keys(facts.metadata);
    remove_file_keys(facts.safetensors_metadata);
    metadata.push_back(std::move(facts.metadata));
    safetensors_metadata.push_back(std::move(facts.safetensors_metadata));
    CAIRN_CHECK(take(sources[i], i, shards, tensors, facts));
    result.warnings.insert(result.warnings.end(), parts.warnings.begin(), parts.warnings.end());
    warn_of_graph(sources[i].found.location, result.warnings);
  }
  CAIRN_CHECK(join_tensors(sources, std::move(tensors), result));
  result.facts.step = common_step(sources);
  result.facts.metadata = agreeing(metadata, result.warnings);
  std::ranges::sort(result.facts.metadata);
  result.facts.safetensors_metadata = agreeing(safetensors_metadata, result.warnings);
  if (sources.size() > 1 || result.facts.created_ns == 0) result.facts.created_ns = os::now_ns();
  result.facts.producer = "cairn " + std::string(version());
  for (MergeInput& source : sources)
    result.seen.push_back({std::move(source.found.location), std::move(source.found.seen)});
  return result;
}

}  // namespace cairn::internal
