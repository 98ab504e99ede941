#include "format/torch/view.h"

#include <optional>
#include <utility>

#include "format/checked.h"
#include "format/dtype.h"
#include "format/limits.h"
#include "format/plain_facts.h"
#include "format/torch/refusals.h"
#include "lib/try.h"

namespace cairn::format::torch {
namespace {

// ---- Strides ------------------------------------------------------------------------------------

// Elements from the first to the last; nothing: more than 64 bits hold. None of the shape is 0.
std::optional<std::uint64_t> reach_of(const std::vector<std::int64_t>& shape,
                                      const std::vector<std::int64_t>& strides) {
  std::optional<std::uint64_t> reach = 1;
  for (std::size_t i = 0; i < shape.size() && reach; ++i) {
    const auto part = checked_mul(static_cast<std::uint64_t>(shape[i] - 1),
                                  static_cast<std::uint64_t>(strides[i]));
    reach = part ? checked_add(*reach, *part) : std::nullopt;
  }
  return reach;
}

void set_dtype(TensorFacts& facts, const TorchDtype& dtype) {
  facts.dtype = dtype.dtype;
  if (dtype.dtype != DType::Opaque) return;
  facts.opaque_dtype = dtype.opaque;
  const auto bits = opaque_bits_from_safetensors(dtype.opaque);
  if (bits) facts.opaque_bits = *bits;
  if (!bits) facts.opaque_block = {1, dtype.bytes};
}

// Elements that lie apart, or over each other, or have other signs: to be put in order first.
Decoded<std::unique_ptr<Rearranged>> rearranged_of(const View& view, bool overlaps,
                                                   bool row_major) {
  const bool has_strides = view.dtype->dtype != DType::Opaque || row_major;
  if (!view.conjugated && !view.negated && !overlaps && has_strides)
    return std::unique_ptr<Rearranged>();
  if (view.conjugated && !view.dtype->is_complex)
    return broken("it is conjugated, but its dtype is ", view.dtype->name);
  if ((view.conjugated || view.negated) && view.dtype->sign_at == 0)
    return not_readable("it is marked as negated, and its dtype is ", view.dtype->name);
  return std::make_unique<Rearranged>(Rearranged{
      view.dtype->bytes, view.shape, view.strides, view.dtype->sign_at,
      view.dtype->bytes / (view.dtype->is_complex ? 2 : 1), view.conjugated, view.negated});
}

// Of F4, two elements are in each byte, so the last dimension has twice as many of them.
Decoded<void> set_shape(TensorFacts& facts, std::vector<std::int64_t> of_view) {
  facts.shape = std::move(of_view);
  if (facts.opaque_dtype != "F4") return {};
  std::vector<std::int64_t>& shape = facts.shape;
  if (shape.empty()) return not_readable("it has no dimension, and two elements in its byte");
  const auto twice = checked_mul(static_cast<std::uint64_t>(shape.back()), 2);
  const auto last = twice ? fits<std::int64_t>(*twice) : std::nullopt;
  if (!last) return broken("its shape is too large");
  shape.back() = *last;
  if (!element_count(shape)) return broken("its shape is too large");
  return {};
}

}  // namespace

bool is_row_major(std::span<const std::int64_t> shape,
                  std::span<const std::int64_t> strides) noexcept {
  std::int64_t due = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] != 1 && strides[i] != due) return false;
    due *= shape[i];
  }
  return true;
}

void append_stored(const PlainTensors& from, std::vector<StoredTensor>& to) {
  std::vector<TensorFacts> all;
  append_facts(from, all);
  to.reserve(to.size() + all.size());
  for (TensorFacts& facts : all) to.push_back({std::move(facts), nullptr, false});
}

Decoded<StoredTensor> placed(const Place& place, View view) {
  const auto count = element_count(view.shape);
  if (!count) return broken("its shape is too large");
  if (view.strides.size() != view.shape.size())
    return broken("it has ", view.shape.size(), " dimensions and ", view.strides.size(),
                  " strides");
  StoredTensor stored;
  TensorFacts& facts = stored.facts;
  set_dtype(facts, *view.dtype);
  facts.span = {place.storage, place.offset_bytes, 0, std::nullopt};
  if (*count == 0) {
    CAIRN_CHECK(set_shape(facts, std::move(view.shape)));
    return stored;
  }
  const std::uint64_t element_bytes = view.dtype->bytes;
  const auto reach = reach_of(view.shape, view.strides);
  const auto size = reach ? checked_mul(*reach, element_bytes) : std::nullopt;
  const auto offset = checked_mul(view.offset, element_bytes);
  if (!size || !offset || !inside(*offset, *size, place.size_bytes))
    return broken("it reaches beyond the ", place.size_bytes, " bytes of its storage");
  const bool overlaps = *reach < *count;
  const auto most = checked_mul(place.size_bytes, limits::kPickleRatioMax);
  const auto dense = checked_mul(*count, element_bytes);
  const bool is_large = most && dense && *dense > *most;
  if (overlaps && (!dense || (is_large && !view.expand))) {
    return not_readable("its elements lie over each other, and apart they would take more than ",
                        limits::kPickleRatioMax, " times the ", place.size_bytes,
                        " bytes that are stored; the option expand (--expand) reads it");
  }
  facts.span.offset_bytes += *offset;
  facts.span.size_bytes = *size;
  const bool row_major = is_row_major(view.shape, view.strides);
  CAIRN_TRY(rearranged, rearranged_of(view, overlaps, row_major));
  stored.rearranged = std::move(rearranged);
  CAIRN_CHECK(set_shape(facts, std::move(view.shape)));
  if (!stored.rearranged && !row_major) facts.strides = std::move(view.strides);
  return stored;
}

}  // namespace cairn::format::torch
