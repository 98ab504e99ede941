// What several functions take, from C to C++.

#include <stop_token>

#include "lib/c/boundary.h"

namespace cairn::c {

Result<ExecOptions> exec_of(const cairn_exec_options* given) {
  CAIRN_TRY(known, struct_of(given, "cairn_exec_options"));
  CAIRN_CHECK(check_reserved(known.reserved, "cairn_exec_options"));
  ExecOptions exec;
  exec.threads_max = known.threads_max;
  if (known.stop != nullptr) exec.stop = known.stop->source.get_token();
  if (known.progress != nullptr) {
    exec.progress = [progress = known.progress,
                     context = known.progress_context](const Progress& now) {
      const cairn_progress of_c{now.done_bytes, now.total_bytes};
      progress(context, &of_c);
    };
  }
  return exec;
}

std::optional<DType> known_dtype(int number) noexcept {
  if (number == CAIRN_OPAQUE) return DType::Opaque;
  if (number >= 0 && number <= CAIRN_FLOAT4_E2M1FN) return static_cast<DType>(number);
  return std::nullopt;
}

Result<DType> dtype_of_number(int number) {
  if (const auto known = known_dtype(number)) return *known;
  return invalid(std::to_string(number) + " is no cairn_dtype");
}

cairn_dtype dtype_to_c(DType dtype) noexcept {
  static_assert(static_cast<int>(DType::Float4E2M1FN) == CAIRN_FLOAT4_E2M1FN);
  static_assert(static_cast<int>(DType::Opaque) == CAIRN_OPAQUE);
  return static_cast<cairn_dtype>(dtype);
}

Result<Verify> verify_of(int number, Verify otherwise) {
  switch (number) {
    case CAIRN_VERIFY_DEFAULT:
      return otherwise;
    case CAIRN_VERIFY_LAZY:
      return Verify::Lazy;
    case CAIRN_VERIFY_FULL:
      return Verify::Full;
    case CAIRN_VERIFY_NONE:
      return Verify::None;
    default:
      return invalid(std::to_string(number) + " is no cairn_verify");
  }
}

Result<FormatOptions> formats_of(int void_dtype, std::int32_t expand) {
  FormatOptions formats;
  CAIRN_TRY(dtype, dtype_of_number(void_dtype));
  if (dtype != DType::Invalid) formats.void_dtype = dtype;
  formats.expand = expand != 0;
  return formats;
}

Result<std::vector<TensorSpec>> specs_of(const cairn_tensor_spec* specs, std::size_t count) {
  CAIRN_TRY(known, structs_of(specs, count, "cairn_tensor_spec"));
  std::vector<TensorSpec> out;
  out.reserve(count);
  for (const cairn_tensor_spec& each : known) {
    CAIRN_TRY(dtype, dtype_of_number(number_of(each.dtype)));
    if (each.opaque_bits > std::numeric_limits<std::uint16_t>::max())
      return invalid("opaque_bits is " + std::to_string(each.opaque_bits) + ", more than 65535");
    TensorSpec& spec = out.emplace_back();
    spec.name = view_of(each.name);
    spec.dtype = dtype;
    spec.shape.assign(each.shape, each.shape + each.rank);
    spec.opaque.name = view_of(each.opaque_name);
    spec.opaque.bits = static_cast<std::uint16_t>(each.opaque_bits);
    spec.opaque.block_elements = each.opaque_block_elements;
    spec.opaque.block_bytes = each.opaque_block_bytes;
  }
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> pairs_of(const cairn_key_value* pairs,
                                                                  std::size_t count) {
  std::vector<std::pair<std::string, std::string>> out;
  out.reserve(count);
  for (const cairn_key_value& each : std::span(pairs, count))
    out.emplace_back(view_of(each.key), view_of(each.value));
  return out;
}

Result<std::chrono::milliseconds> lock_wait_of(std::int64_t milliseconds) {
  if (milliseconds == 0) return std::chrono::milliseconds(30'000);
  if (milliseconds == CAIRN_NO_WAIT) return std::chrono::milliseconds(0);
  if (milliseconds < 0)
    return invalid("lock_wait_ms is " + std::to_string(milliseconds) +
                   ": use CAIRN_NO_WAIT for no wait");
  return std::chrono::milliseconds(milliseconds);
}

std::vector<Range> ranges_of(const cairn_slice* slice) {
  std::vector<Range> ranges;
  if (slice == nullptr) return ranges;
  ranges.reserve(slice->rank);
  for (const cairn_range& each : std::span(slice->ranges, slice->rank))
    ranges.push_back({each.start, each.count});
  return ranges;
}

}  // namespace cairn::c

using namespace cairn::c;

cairn_string cairn_dtype_name(cairn_dtype dtype) {
  const auto known = known_dtype(number_of(dtype));
  return string_of(cairn::name(known.value_or(cairn::DType::Invalid)));
}

cairn_dtype cairn_dtype_from_name(cairn_string name) {
  return dtype_to_c(cairn::dtype_from_name(view_of(name)).value_or(cairn::DType::Invalid));
}

std::uint32_t cairn_dtype_element_bytes(cairn_dtype dtype) {
  const auto known = known_dtype(number_of(dtype));
  return cairn::element_bytes(known.value_or(cairn::DType::Invalid));
}
