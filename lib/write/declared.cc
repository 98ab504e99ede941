#include "lib/write/declared.h"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "format/checked.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "lib/try.h"
#include "lib/write/layout.h"
#include "lib/write/remarks.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kAlignmentBytesMax = 4096;

Error invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

Result<void> check_options(const std::string& prefix, const WriterOptions& options) {
  const unsigned align = options.alignment_bytes;
  if (align != 0 && (align < 64 || align > 4096 || (align & (align - 1)) != 0)) {
    return invalid(prefix + ": alignment_bytes must be 0 or a power of two from 64 to 4096, not " +
                   std::to_string(align));
  }
  if (!options.tensorflow_index && !options.cairn_index) {
    return invalid(prefix + ": a checkpoint needs an index, P.cairn or P.index");
  }
  return {};
}

Result<void> check_metadata(const std::string& prefix, const WriterOptions& options) {
  for (const auto* metadata : {&options.metadata, &options.safetensors_metadata}) {
    std::set<std::string_view> keys;
    for (const auto& [key, value] : *metadata) {
      if (keys.insert(key).second) continue;
      return invalid(prefix + ": metadata " + format::quoted(key) + " is given twice");
    }
  }
  for (const auto& [key, value] : options.safetensors_metadata) {
    if (format::safetensors::is_utf8(key) && format::safetensors::is_utf8(value)) continue;
    return invalid(prefix + ": metadata " + format::quoted(key) +
                   " of safetensors is not UTF-8, which safetensors needs");
  }
  return {};
}

// Nothing but P.index is wanted, and it cannot hold all of them.
Result<void> check_bundle(const std::string& prefix, std::span<const TensorSpec> specs) {
  for (const TensorSpec& spec : specs) {
    if (fits_bundle(spec.dtype, spec.name)) continue;
    return Error{Code::Unsupported, 0,
                 prefix + ": TensorFlow cannot hold tensor " + format::quoted(spec.name) + " (" +
                     describe(spec) +
                     "), and P.cairn, which can hold it, is turned off (cairn_index)"};
  }
  return {};
}

// The specs are sorted.
Result<void> check_specs(const std::string& prefix, std::span<const TensorSpec> specs) {
  std::optional<std::uint64_t> total_bytes = 0;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto bytes = spec_bytes(specs[i]);
    if (!bytes) return Error{bytes.error().code, 0, prefix + ": " + bytes.error().what};
    if (i > 0 && specs[i].name == specs[i - 1].name) {
      return invalid(prefix + ": tensor " + format::quoted(specs[i].name) + " is given twice");
    }
    total_bytes = format::checked_add(*total_bytes, *bytes + kAlignmentBytesMax);
    if (!total_bytes || !format::fits<std::int64_t>(*total_bytes)) {
      return invalid(prefix + ": the tensors up to " + format::quoted(specs[i].name) +
                     " have more bytes than a file can hold");
    }
  }
  return {};
}

// An index says once how the elements of an opaque dtype lie in blocks.
Result<void> check_blocks(const std::string& prefix, std::span<const TensorSpec> specs) {
  using Block = std::pair<std::uint32_t, std::uint32_t>;
  std::map<std::string_view, Block> blocks;
  for (const TensorSpec& spec : specs) {
    if (spec.dtype != DType::Opaque) continue;
    const Block block{spec.opaque.block_elements, spec.opaque.block_bytes};
    const auto [at, is_new] = blocks.try_emplace(spec.opaque.name, block);
    if (is_new || at->second == block) continue;
    return invalid(prefix + ": tensor " + format::quoted(spec.name) + ": dtype " +
                   format::quoted(spec.opaque.name) +
                   " has different layouts in different tensors");
  }
  return {};
}

}  // namespace

Result<void> check_announced(const std::string& prefix, std::span<const TensorSpec> specs,
                             const WriterOptions& options) {
  CAIRN_CHECK(check_options(prefix, options));
  CAIRN_CHECK(check_metadata(prefix, options));
  CAIRN_CHECK(check_specs(prefix, specs));
  CAIRN_CHECK(check_blocks(prefix, specs));
  return options.cairn_index ? Result<void>() : check_bundle(prefix, specs);
}

}  // namespace cairn::internal
