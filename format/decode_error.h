#pragma once

// How `format` says no. It never meets a path: the room above adds the file's name and makes an
// Error of it.

#include <cstdint>
#include <string>
#include <utility>

#include "cairn/error.h"

namespace cairn::format {

struct DecodeError {
  Code code = Code::Corrupt;
  std::uint64_t byte_offset = 0;  // in the bytes that were given
  std::string what;  // what is wrong there, with values: "block checksum: stored …, computed …"
};

template <class T>
using Decoded = Result<T, DecodeError>;

inline DecodeError corrupt(std::uint64_t byte_offset, std::string what) {
  return {Code::Corrupt, byte_offset, std::move(what)};
}

inline DecodeError unsupported(std::uint64_t byte_offset, std::string what) {
  return {Code::Unsupported, byte_offset, std::move(what)};
}

}  // namespace cairn::format
