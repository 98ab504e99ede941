#pragma once

// What a format that was asked for can hold of a checkpoint, and what it cannot: that is said
// before a byte is written, and is an error unless the caller allows it.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "format/cairn/index.h"
#include "format/facts.h"

namespace cairn::internal {

// What does not fit: names, and for each a sentence's part that describes it.
struct Misfits {
  std::vector<std::string> tensors;
  std::vector<std::string> metadata;
  std::vector<std::string> safetensors_metadata;
  std::vector<std::string> described;

  // `why`: unless its dtype or its name says it.
  void add_tensor(const TensorSpec& spec, std::string_view why = {});
  void add_metadata(std::string_view key);
  void add_safetensors_metadata(std::string_view key);
};

// Which tensors of a checkpoint go where.
struct Fit {
  std::vector<std::size_t> taken;  // positions, ascending
  Misfits misfits;
};
Fit fit_of(const format::IndexView& index, Format target);

// The metadata, of either kind, that a P.index loses.
void add_metadata_lost_to_bundle(const format::IndexView& index, Misfits& misfits);

// Unsupported: something does not fit, and `allow_lossy` is not said. Else it is named in
// `transfer`.
Result<void> accept(const Misfits& misfits, Format target, const TransferOptions& options,
                    Transfer& transfer);

// The __metadata__ of a safetensors file of this checkpoint, with what Cairn keeps there.
format::KeyValues metadata_for_file(const Checkpoint& checkpoint,
                                    std::span<const TensorSpec> specs);

}  // namespace cairn::internal
