// The universal shard: one file that is at once the data file of TensorFlow's bundle, a valid
// safetensors file, and mapped by Cairn with every tensor aligned. FORMAT.md, "Shards".
//
// safetensors allows no holes, so alignment cannot come from padding. It comes from the order:
// tensors stand by descending alignment class, the largest power of two that divides their size.
// All sizes before a tensor are multiples of its class, and the payload starts on a page, so each
// tensor starts at a multiple of its class, which is at least its element's size.
//
// What a safetensors header cannot say (dtypes it lacks, names that are not UTF-8, strings) goes to
// a second shard without one.

#include "lib/write/layout.h"

#include <algorithm>
#include <array>
#include <bit>
#include <map>
#include <numeric>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "format/safetensors/own_metadata.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::string_view kFormatKey = "format";
constexpr std::string_view kTotalSizeKey = "total_size";

struct Groups {
  std::vector<std::size_t> named;  // in a safetensors header
  std::vector<std::size_t> rest;   // raw, without one
  std::vector<std::size_t> encoded;
  std::vector<std::uint64_t> raw_bytes;  // of every spec: 0 of those that share another's bytes
};

// Nothing: more than 64 bits hold.
std::optional<std::uint64_t> checked_raw_bytes(const TensorSpec& spec) noexcept {
  const auto count = format::element_count(spec.shape);
  if (!count || is_encoded(spec.dtype)) return count ? std::optional<std::uint64_t>(0) : count;
  if (spec.dtype != DType::Opaque) return format::checked_mul(*count, element_bytes(spec.dtype));
  if (const std::uint32_t elements = spec.opaque.block_elements; elements != 0)
    return format::checked_mul(*count / elements, spec.opaque.block_bytes);
  const auto bits = format::checked_mul(*count, spec.opaque.bits);
  return bits ? std::optional(*bits / 8 + (*bits % 8 != 0 ? 1 : 0)) : bits;
}

// Of a spec that spec_bytes() takes.
std::uint64_t raw_bytes(const TensorSpec& spec) noexcept {
  return checked_raw_bytes(spec).value_or(0);
}

// Why the name and the layout of an opaque dtype cannot be stored; nothing: they can.
std::optional<Error> refuse_opaque(const TensorSpec& spec) {
  const OpaqueDType& opaque = spec.opaque;
  const bool has_block = opaque.block_elements != 0 && opaque.block_bytes != 0;
  const bool no_block = opaque.block_elements == 0 && opaque.block_bytes == 0;
  if (opaque.name.empty() || (opaque.bits != 0 ? !no_block : !has_block)) {
    return Error{Code::Invalid, 0,
                 ": an opaque dtype needs a name and either the bits of an element or the elements "
                 "and bytes of a block, not " +
                     format::quoted(opaque.name) + ", " + std::to_string(opaque.bits) +
                     " bits and " + std::to_string(opaque.block_elements) + " elements in " +
                     std::to_string(opaque.block_bytes) + " bytes"};
  }
  const auto count = format::element_count(spec.shape);
  if (!has_block || !count || *count % opaque.block_elements == 0) return std::nullopt;
  return Error{Code::Invalid, 0,
               ": " + std::to_string(*count) + " elements do not fill whole blocks of " +
                   std::to_string(opaque.block_elements)};
}

// Whether the tensor gets a place of its own.
bool is_placed(const LayoutRequest& request, std::size_t i) {
  return !request.same_as[i] && (request.linked.empty() || !request.linked[i]);
}

bool is_named(const LayoutRequest& request, const TensorSpec& spec) noexcept {
  return request.alignment_bytes == 0 && !is_encoded(spec.dtype) &&
         fits_header(spec, request.readers);
}

// By descending alignment class, and within one in the order they have: by name. Each class is a
// bucket, which takes a tenth of the time of a sort.
void sort_by_class(std::vector<std::size_t>& list, std::span<const std::uint64_t> raw_bytes) {
  constexpr std::size_t kClasses = std::countr_zero(kPageBytes) + 1;
  const auto bucket_of = [&](std::size_t i) {
    return static_cast<std::size_t>(std::countr_zero(kPageBytes / alignment_class(raw_bytes[i])));
  };
  std::array<std::size_t, kClasses + 1> begins{};
  for (const std::size_t i : list) ++begins[bucket_of(i) + 1];
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  std::vector<std::size_t> sorted(list.size());
  for (const std::size_t i : list) sorted[begins[bucket_of(i)]++] = i;
  list = std::move(sorted);
}

Groups group(const LayoutRequest& request) {
  Groups groups;
  groups.raw_bytes.resize(request.specs.size());
  for (std::size_t i = 0; i < request.specs.size(); ++i) {
    const TensorSpec& spec = request.specs[i];
    if (!is_placed(request, i)) continue;
    groups.raw_bytes[i] = raw_bytes(spec);
    if (is_encoded(spec.dtype)) {
      groups.encoded.push_back(i);
    } else {
      (is_named(request, spec) ? groups.named : groups.rest).push_back(i);
    }
  }
  sort_by_class(groups.named, groups.raw_bytes);
  sort_by_class(groups.rest, groups.raw_bytes);
  return groups;
}

// Cuts a list into at most `parts` runs of about equal bytes, none empty.
std::vector<std::span<const std::size_t>> cut(std::span<const std::uint64_t> raw_bytes,
                                              std::span<const std::size_t> list,
                                              std::size_t parts) {
  std::uint64_t left_bytes = 0;
  for (const std::size_t i : list) left_bytes += raw_bytes[i];
  std::vector<std::span<const std::size_t>> runs;
  parts = std::min(parts, list.size());
  for (std::size_t begin = 0; parts > 0; --parts) {
    const std::uint64_t share_bytes = left_bytes / parts;
    std::size_t end = begin;
    std::uint64_t run_bytes = 0;
    const std::size_t end_max = list.size() - (parts - 1);
    do run_bytes += raw_bytes[list[end++]];
    while (end < end_max && (run_bytes < share_bytes || parts == 1));
    runs.push_back(list.subspan(begin, end - begin));
    left_bytes -= run_bytes;
    begin = end;
  }
  return runs;
}

// {"alias":"owner"} for every tied name that a header could say.
std::string tied_names(const LayoutRequest& request, std::span<const std::size_t> owners) {
  const auto tied = [](const std::optional<std::size_t>& owner) { return owner.has_value(); };
  if (std::ranges::none_of(request.same_as, tied)) return {};
  std::vector<bool> owns(request.specs.size());
  for (const std::size_t owner : owners) owns[owner] = true;
  std::string json;
  for (std::size_t i = 0; i < request.specs.size(); ++i) {
    const auto owner = request.same_as[i];
    if (!owner || !owns[*owner] || !format::safetensors::is_utf8(request.specs[i].name)) continue;
    json += json.empty() ? "{" : ",";
    json += format::safetensors::json_string(request.specs[i].name) + ":" +
            format::safetensors::json_string(request.specs[*owner].name);
  }
  return json.empty() ? json : json + "}";
}

std::string header_of(const LayoutRequest& request, std::span<const std::uint64_t> raw_bytes,
                      std::span<const std::size_t> owners) {
  std::vector<format::safetensors::HeaderTensor> tensors;
  tensors.reserve(owners.size());
  for (const std::size_t i : owners) {
    const TensorSpec& spec = request.specs[i];
    tensors.push_back({spec.name, spec.dtype, spec.shape, raw_bytes[i], spec.opaque.name});
  }
  format::KeyValues metadata;
  if (std::string tied = tied_names(request, owners); !tied.empty())
    metadata.emplace_back(format::safetensors::kTiedKey, std::move(tied));
  std::ranges::copy(request.safetensors_metadata, std::back_inserter(metadata));
  return format::safetensors::encode_header(tensors, header_metadata(std::move(metadata)),
                                            kPageBytes);
}

void place(std::span<const std::uint64_t> raw_bytes, std::span<const std::size_t> owners,
           Layout& layout) {
  PlannedShard& shard = layout.shards.back();
  for (const std::size_t i : owners) {
    shard.size_bytes = format::round_up(shard.size_bytes, layout.alignment_bytes);
    layout.tensors[i].shard = static_cast<std::uint32_t>(layout.shards.size() - 1);
    layout.tensors[i].offset_bytes = shard.size_bytes;
    layout.tensors[i].size_bytes = raw_bytes[i];
    shard.size_bytes += layout.tensors[i].size_bytes;
  }
}

}  // namespace

format::KeyValues rebuilt_metadata(const format::KeyValues& metadata,
                                   std::span<const TensorSpec> specs) {
  format::KeyValues anew;
  for (const auto& [key, value] : metadata) {
    if (format::safetensors::is_own_key(key)) continue;
    anew.emplace_back(key, value);
    if (key != kTotalSizeKey) continue;
    std::uint64_t total_bytes = 0;
    for (const TensorSpec& spec : specs) total_bytes += raw_bytes(spec);
    anew.back().second = std::to_string(total_bytes);
  }
  return anew;
}

format::KeyValues header_metadata(format::KeyValues metadata) {
  const bool has_format =
      std::ranges::any_of(metadata, [](const auto& entry) { return entry.first == kFormatKey; });
  if (!has_format) metadata.emplace_back(kFormatKey, "pt");
  return metadata;
}

bool is_encoded(DType dtype) noexcept { return dtype == DType::String || dtype == DType::Variant; }

bool fits_header(const TensorSpec& spec, SafetensorsReaders readers) noexcept {
  if (spec.name == format::safetensors::kMetadataKey || !format::safetensors::is_utf8(spec.name))
    return false;
  if (spec.dtype != DType::Opaque)
    return !format::safetensors_name(spec.dtype, readers == SafetensorsReaders::All).empty();
  // safetensors knows no bits that fill up a byte.
  const auto count = format::element_count(spec.shape);
  return readers == SafetensorsReaders::Newest && count && *count * spec.opaque.bits % 8 == 0 &&
         format::opaque_bits_from_safetensors(spec.opaque.name) == spec.opaque.bits;
}

bool fits_bundle(DType dtype, std::string_view name) noexcept {
  return format::storable(dtype) && !name.empty();
}

bool fits_bundle(const format::TensorFacts& tensor) noexcept {
  return fits_bundle(tensor.dtype, tensor.name) && tensor.strides.empty() &&
         !tensor.other_byte_order;
}

std::uint64_t alignment_class(std::uint64_t size_bytes) noexcept {
  if (size_bytes == 0) return kPageBytes;
  return std::min(kPageBytes, std::uint64_t{1} << __builtin_ctzll(size_bytes));
}

Result<std::uint64_t> spec_bytes(const TensorSpec& spec) {
  const auto refuse = [&](Code code, const std::string& why) {
    return Error{code, 0, "tensor " + format::quoted(spec.name) + why};
  };
  if (spec.name.size() > format::limits::kNameBytesMax) {
    return refuse(Code::Invalid, ": a name may have at most " +
                                     std::to_string(format::limits::kNameBytesMax) + " bytes");
  }
  if (spec.dtype == DType::Opaque) {
    const auto refused = refuse_opaque(spec);
    if (refused) return refuse(refused->code, refused->what);
  } else if (spec.opaque != OpaqueDType{}) {
    return refuse(Code::Invalid, ": is " + std::string(cairn::name(spec.dtype)) +
                                     ", but also has the name of an opaque dtype");
  } else if (!format::storable(spec.dtype)) {
    return refuse(Code::Unsupported,
                  ": dtype " + std::string(cairn::name(spec.dtype)) + " cannot be stored");
  }
  if (spec.shape.size() > format::limits::kRankMax) {
    return refuse(Code::Invalid,
                  ": has more than " + std::to_string(format::limits::kRankMax) + " dimensions");
  }
  const auto bytes = checked_raw_bytes(spec);
  if (!bytes || !format::fits<std::int64_t>(*bytes)) {
    return refuse(Code::Invalid,
                  ": the shape has a negative dimension, or more bytes than a file can hold");
  }
  return *bytes;
}

std::uint32_t shards_needed(const LayoutRequest& request) {
  bool first = false;
  bool second = false;
  for (std::size_t i = 0; i < request.specs.size() && !(first && second); ++i) {
    if (is_placed(request, i)) (is_named(request, request.specs[i]) ? first : second) = true;
  }
  if (!first && !second && !request.linked.empty()) return 0;
  return first && second ? 2 : 1;
}

void normalise_ties(std::vector<std::optional<std::size_t>>& same_as) {
  std::map<std::size_t, std::size_t> first;
  for (std::size_t i = 0; i < same_as.size(); ++i) {
    if (same_as[i]) first.try_emplace(*same_as[i], std::min(i, *same_as[i]));
  }
  for (const auto& [root, owner] : first) {
    if (owner == root) continue;
    for (auto& other : same_as) {
      if (other == root) other = owner;
    }
    same_as[root] = owner;
    same_as[owner].reset();
  }
}

Layout plan_layout(const LayoutRequest& request, std::uint32_t shard_count) {
  const Groups groups = group(request);
  const bool second = !groups.rest.empty() || !groups.encoded.empty();
  const std::size_t for_named =
      groups.named.empty()
          ? 0
          : std::min<std::size_t>(groups.named.size(), shard_count - (second ? 1 : 0));
  Layout layout;
  layout.alignment_bytes = std::max(1u, request.alignment_bytes);
  layout.tensors.resize(request.specs.size());
  for (const auto& run : cut(groups.raw_bytes, groups.named, for_named)) {
    std::string head = header_of(request, groups.raw_bytes, run);
    const auto kind = head.empty() ? format::ShardKind::Headerless : format::ShardKind::Universal;
    const std::uint64_t head_bytes = head.size();
    layout.shards.push_back({kind, std::move(head), head_bytes});
    place(groups.raw_bytes, run, layout);
  }
  for (const auto& run : cut(groups.raw_bytes, groups.rest, shard_count - for_named)) {
    layout.shards.push_back({format::ShardKind::Headerless, {}, 0});
    place(groups.raw_bytes, run, layout);
  }
  if ((layout.shards.empty() && request.linked.empty()) ||
      (groups.rest.empty() && !groups.encoded.empty())) {
    layout.shards.push_back({format::ShardKind::Headerless, {}, 0});
  }
  for (const std::size_t i : groups.encoded) {
    layout.tensors[i].shard = static_cast<std::uint32_t>(layout.shards.size() - 1);
    layout.tensors[i].encoded = true;
  }
  for (std::size_t i = 0; i < request.specs.size(); ++i) {
    if (!request.same_as[i]) continue;
    layout.tensors[i] = layout.tensors[*request.same_as[i]];
    layout.tensors[i].same_as = request.same_as[i];
  }
  return layout;
}

}  // namespace cairn::internal
