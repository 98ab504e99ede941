#pragma once

// What is said of a tensor that cannot be had; the caller knows where it stands.

#include "format/decode_error.h"
#include "format/sentence.h"

namespace cairn::format::torch {

// Out of line: the sentences are rare, and inlined they make gcc 12 warn of overlapping copies.
template <class... Parts>
[[gnu::cold, gnu::noinline]] DecodeError broken(const Parts&... parts) {
  return corrupt(0, sentence(parts...));
}

template <class... Parts>
[[gnu::cold, gnu::noinline]] DecodeError not_readable(const Parts&... parts) {
  return unsupported(0, sentence(parts...));
}

}  // namespace cairn::format::torch
