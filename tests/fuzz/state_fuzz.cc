// The catalog's text.

#include "format/tensorflow/state_text.h"

#include "fuzz.h"

using namespace cairn;

namespace {

bool has_nan(const format::tensorflow::StateFacts& state) {
  for (const double at : state.all_model_checkpoint_timestamps)
    if (at != at) return true;
  return state.last_preserved_timestamp != state.last_preserved_timestamp;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text(fuzz::text_of(data, size));
  const auto state = format::tensorflow::decode_state(text);
  if (!state) {
    fuzz::demand(state.error().byte_offset <= size, "damage lies inside the text");
    return 0;
  }
  const std::string written = format::tensorflow::encode_state(*state);
  const auto again = format::tensorflow::decode_state(written);
  fuzz::demand(again, "what was encoded can be decoded");
  if (!has_nan(*state)) fuzz::demand(*again == *state, "encoding and decoding change nothing");
  fuzz::demand(format::tensorflow::encode_state(*again) == written, "encoding is deterministic");
  return 0;
}
