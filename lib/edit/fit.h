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
#include "lib/edit/outgoing.h"

namespace cairn::internal {

struct Parts;

// What a Saver notes of when it saved, for the rules of its own directory. It means nothing
// elsewhere, and never goes along.
bool is_bookkeeping(std::string_view key) noexcept;

// Whether an entry of __metadata__ is what every safetensors file says where nothing else is known,
// or says of itself.
bool is_made_anew(std::string_view key, std::string_view value) noexcept;

// What does not fit: names, and for each a sentence's part that describes it.
struct LossyItems {
  std::vector<std::string> tensors;
  std::vector<std::string> metadata;
  std::vector<std::string> safetensors_metadata;
  std::vector<std::string> described;
  // What a Saver noted of the source, which is no reason to refuse.
  std::vector<std::string> notes;

  // `why`: unless its dtype or its name says it.
  void add_tensor(const TensorSpec& spec, std::string_view why = {});
  void add_metadata(std::string_view key);  // one of the Saver's is a note
  void add_safetensors_metadata(std::string_view key);
};

// Whether a target can hold the tensor.
bool fits(const TensorSpec& spec, Format target);

// Which of these tensors a target takes, in their order; what does not fit is named as the source
// names it.
struct FormatFit {
  std::vector<OutgoingTensor> taken;
  LossyItems lossy;
};
FormatFit fit_of(const format::IndexView& index, Format target,
                 std::vector<OutgoingTensor> tensors);

// numpy's description of the tensor's elements; empty: it has none.
std::string numpy_descr(const TensorSpec& spec);

// Whether the dtype is known by it, and not only how wide an element is.
bool is_named_by_numpy(const TensorSpec& spec);

// The metadata, of either kind, that a target without any loses, such as a P.index.
void add_metadata_lost_to_bundle(const format::IndexView& index, LossyItems& lossy);

// What cannot hold it, for messages: "TensorFlow's format"; and what to do instead.
struct TargetFormat {
  std::string_view name;
  std::string_view instead = "or convert to cairn, which holds everything";
};
TargetFormat target_format(Format target) noexcept;

// Unsupported: something does not fit, and `allow_lossy` is not said. Else it is named in
// `transfer`, and so are notes.
Result<void> check_lossy(const LossyItems& lossy, const TargetFormat& holder,
                         const TransferOptions& options, Transfer& transfer);

// Unsupported: the source has more than can be read, and what is written from it would lack that.
Result<void> check_nothing_left_out(const Parts& source);

// The __metadata__ of a safetensors file of this checkpoint, with what Cairn keeps there.
format::KeyValues metadata_for_file(const Checkpoint& checkpoint,
                                    std::span<const TensorSpec> specs);

}  // namespace cairn::internal
