#pragma once

// Where the tensors of a new checkpoint will lie: pure arithmetic over their specs, before a byte
// is written.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cairn/error.h"
#include "cairn/tensor.h"
#include "format/facts.h"

namespace cairn::internal {

struct PlannedTensor {
  std::uint32_t shard = 0;
  std::uint64_t offset_bytes = 0;      // of an encoded one: set when its bytes come
  std::uint64_t size_bytes = 0;        // likewise
  bool encoded = false;                // strings and variants, whose size only their bytes tell
  std::optional<std::size_t> same_as;  // shares the bytes of that one
};

struct PlannedShard {
  format::ShardKind kind{};
  std::string head;              // the safetensors header; empty: none
  std::uint64_t size_bytes = 0;  // header and raw tensors; encoded ones are appended behind
};

struct Layout {
  std::vector<PlannedTensor> tensors;  // parallel to the specs
  std::vector<PlannedShard> shards;    // those that own a tensor
  unsigned alignment_bytes = 1;        // of encoded tensors too
};

// Which readers of safetensors take a header. To name one dtype that an older one does not know
// makes that one refuse the whole file.
enum class SafetensorsReaders : std::uint8_t { All, Newest };

struct LayoutRequest {
  std::span<const TensorSpec> specs;                    // sorted by name
  std::span<const std::optional<std::size_t>> same_as;  // parallel to the specs: tied tensors
  unsigned alignment_bytes = 0;                         // as WriterOptions
  std::span<const std::pair<std::string, std::string>> safetensors_metadata = {};
  SafetensorsReaders readers = SafetensorsReaders::All;
  std::vector<bool> linked = {};  // parallel: those that lie in shards of others; empty: none
};

// How many shards these tensors need at least: 1, or 2 where some cannot stand in a safetensors
// header; 0 where all are linked.
std::uint32_t shards_needed(const LayoutRequest& request);

// The first in byte order of those that share bytes owns them.
void normalise_ties(std::vector<std::optional<std::size_t>>& same_as);

// Spreads the tensors over `shard_count` ≥ shards_needed shards, so that each owns one while there
// are enough.
Layout plan_layout(const LayoutRequest& request, std::uint32_t shard_count);

// What of a file's __metadata__ is said of another one with these tensors: total_size is theirs,
// keys of Cairn's own are left out.
format::KeyValues rebuilt_metadata(const format::KeyValues& metadata,
                                   std::span<const TensorSpec> specs);

// The __metadata__ of a header that is written with these pairs: "format" is "pt" where there is
// none, which torch's loaders ask for.
format::KeyValues header_metadata(format::KeyValues metadata);

// Invalid or Unsupported: a spec that cannot be written. Gives its bytes, 0 for strings and
// variants.
Result<std::uint64_t> spec_bytes(const TensorSpec& spec);

// Whether its bytes come encoded, and no one knows before how many they are.
bool is_encoded(DType dtype) noexcept;

// Whether a safetensors header can name the tensor.
bool fits_header(const TensorSpec& spec, SafetensorsReaders readers) noexcept;

// Whether a P.index can.
bool fits_bundle(DType dtype, std::string_view name) noexcept;
// The same of one whose bytes stay where they are: TensorFlow takes them row-major and in the
// checkpoint's byte order.
bool fits_bundle(const format::TensorFacts& tensor) noexcept;

// The largest power of two that divides the size, at most 4,096: what every tensor is aligned to.
// 4,096 for 0.
std::uint64_t alignment_class(std::uint64_t size_bytes) noexcept;

}  // namespace cairn::internal
