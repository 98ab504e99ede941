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

#include "lib/store/layout.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "lib/try.h"

namespace cairn::store {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::string_view kTiedKey = "cairn.tied";

struct Groups {
  std::vector<std::size_t> named;  // in a safetensors header
  std::vector<std::size_t> rest;   // raw, without one
  std::vector<std::size_t> encoded;
};

bool is_encoded(DType dtype) noexcept { return dtype == DType::String || dtype == DType::Variant; }

std::uint64_t raw_bytes(const TensorSpec& spec) noexcept {
  return is_encoded(spec.dtype)
             ? 0
             : format::element_count(spec.shape).value_or(0) * element_bytes(spec.dtype);
}

Groups group(const LayoutRequest& request) {
  Groups groups;
  for (std::size_t i = 0; i < request.specs.size(); ++i) {
    const TensorSpec& spec = request.specs[i];
    if (request.same_as[i]) continue;
    if (is_encoded(spec.dtype)) {
      groups.encoded.push_back(i);
    } else if (request.alignment_bytes == 0 && fits_header(spec)) {
      groups.named.push_back(i);
    } else {
      groups.rest.push_back(i);
    }
  }
  const auto order = [&](std::size_t i) {
    return std::tuple(kPageBytes - alignment_class(raw_bytes(request.specs[i])), i);
  };
  std::ranges::sort(groups.named, {}, order);
  std::ranges::sort(groups.rest, {}, order);
  return groups;
}

// Cuts a list into at most `parts` runs of about equal bytes, none empty.
std::vector<std::span<const std::size_t>> cut(const LayoutRequest& request,
                                              std::span<const std::size_t> list,
                                              std::size_t parts) {
  std::uint64_t left_bytes = 0;
  for (const std::size_t i : list) left_bytes += raw_bytes(request.specs[i]);
  std::vector<std::span<const std::size_t>> runs;
  parts = std::min(parts, list.size());
  for (std::size_t begin = 0; parts > 0; --parts) {
    const std::uint64_t share_bytes = left_bytes / parts;
    std::size_t end = begin;
    std::uint64_t run_bytes = 0;
    const std::size_t end_max = list.size() - (parts - 1);
    do run_bytes += raw_bytes(request.specs[list[end++]]);
    while (end < end_max && (run_bytes < share_bytes || parts == 1));
    runs.push_back(list.subspan(begin, end - begin));
    left_bytes -= run_bytes;
    begin = end;
  }
  return runs;
}

// {"alias":"owner"} for every tied name that a header could say.
std::string tied_names(const LayoutRequest& request, std::span<const std::size_t> owners) {
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

std::string header_of(const LayoutRequest& request, std::span<const std::size_t> owners) {
  std::vector<format::safetensors::HeaderTensor> tensors;
  for (const std::size_t i : owners) {
    const TensorSpec& spec = request.specs[i];
    tensors.push_back({spec.name, spec.dtype, spec.shape, raw_bytes(spec)});
  }
  format::KeyValues metadata;
  if (std::string tied = tied_names(request, owners); !tied.empty())
    metadata.emplace_back(kTiedKey, std::move(tied));
  metadata.emplace_back("format", "pt");  // torch's loaders ask for it
  return format::safetensors::encode_header(tensors, metadata, kPageBytes);
}

void place(const LayoutRequest& request, std::span<const std::size_t> owners, Layout& layout) {
  PlannedShard& shard = layout.shards.back();
  for (const std::size_t i : owners) {
    shard.size_bytes = round_up(shard.size_bytes, layout.alignment_bytes);
    layout.tensors[i].shard = static_cast<std::uint32_t>(layout.shards.size() - 1);
    layout.tensors[i].offset_bytes = shard.size_bytes;
    layout.tensors[i].size_bytes = raw_bytes(request.specs[i]);
    shard.size_bytes += layout.tensors[i].size_bytes;
  }
}

}  // namespace

bool fits_header(const TensorSpec& spec) noexcept {
  return !format::safetensors_name(spec.dtype, true).empty() && spec.name != "__metadata__" &&
         format::safetensors::is_utf8(spec.name);
}

std::uint64_t round_up(std::uint64_t offset_bytes, unsigned alignment_bytes) noexcept {
  return (offset_bytes + alignment_bytes - 1) / alignment_bytes * alignment_bytes;
}

std::uint64_t alignment_class(std::uint64_t size_bytes) noexcept {
  if (size_bytes == 0) return kPageBytes;
  return std::min(kPageBytes, std::uint64_t{1} << __builtin_ctzll(size_bytes));
}

Result<std::uint64_t> spec_bytes(const TensorSpec& spec) {
  const auto refuse = [&](Code code, const std::string& why) {
    return Error{code, 0, "tensor " + format::quoted(spec.name) + why};
  };
  if (spec.name.empty()) return Error{Code::Invalid, 0, "a tensor without a name cannot be stored"};
  if (spec.name.size() > format::limits::kNameBytesMax) {
    return refuse(Code::Invalid, ": a name may have at most " +
                                     std::to_string(format::limits::kNameBytesMax) + " bytes");
  }
  if (!format::storable(spec.dtype)) {
    return refuse(Code::Unsupported,
                  ": dtype " + std::string(cairn::name(spec.dtype)) + " cannot be stored");
  }
  if (spec.shape.size() > format::limits::kRankMax) {
    return refuse(Code::Invalid,
                  ": has more than " + std::to_string(format::limits::kRankMax) + " dimensions");
  }
  const auto count = format::element_count(spec.shape);
  const auto bytes = count ? format::checked_mul(*count, element_bytes(spec.dtype)) : count;
  if (!bytes || !format::fits<std::int64_t>(*bytes)) {
    return refuse(Code::Invalid,
                  ": the shape has a negative dimension, or more bytes than a file can");
  }
  return *bytes;
}

std::uint32_t shards_needed(const LayoutRequest& request) {
  const Groups groups = group(request);
  const bool second = !groups.rest.empty() || !groups.encoded.empty();
  return !groups.named.empty() && second ? 2 : 1;
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
  for (const auto& run : cut(request, groups.named, for_named)) {
    std::string head = header_of(request, run);
    const auto kind = head.empty() ? format::ShardKind::Headerless : format::ShardKind::Universal;
    const std::uint64_t head_bytes = head.size();
    layout.shards.push_back({kind, std::move(head), head_bytes});
    place(request, run, layout);
  }
  for (const auto& run : cut(request, groups.rest, shard_count - for_named)) {
    layout.shards.push_back({format::ShardKind::Headerless, {}, 0});
    place(request, run, layout);
  }
  if (layout.shards.empty() || (groups.rest.empty() && !groups.encoded.empty())) {
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

}  // namespace cairn::store
