#pragma once

// The weights of a TensorFlow Lite model (.tflite). FORMAT.md, "TensorFlow Lite".

#include "format/decode_error.h"
#include "format/flat/ptd.h"
#include "format/read_at.h"

namespace cairn::format::flat {

// The tensors that have bytes in the file: weights and constants, not what is computed. Errors:
// Corrupt; Unsupported (a limit).
Decoded<FlatModel> decode_tflite(const FlatOptions& options, ReadAt read);

}  // namespace cairn::format::flat
