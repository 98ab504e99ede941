#pragma once

// The bytes of a pickle, taken one after another.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "format/decode_error.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/pickle/machine.h"
#include "format/sentence.h"

namespace cairn::format::pickle {

// Each take says whether it was there. Where it was not, the pickle is broken (error()), or its
// head does not reach so far.
class Source {
 public:
  Source(std::span<const std::byte> bytes, Input input) noexcept
      : bytes_(bytes.first(std::min<std::size_t>(bytes.size(), limits::kPickleBytesMax))),
        input_(input),
        limited_(bytes_.size() < bytes.size()) {}

  std::uint64_t at() const noexcept { return at_; }
  const std::optional<DecodeError>& error() const noexcept { return error_; }

  // Whether so many bytes follow.
  bool has(std::uint64_t size) { return size <= bytes_.size() - at_ || ends(); }

  template <std::integral T>
  bool take(T& value) {
    if (!has(sizeof value)) return false;
    value = load_le<T>(bytes_.data() + at_);
    at_ += sizeof value;
    return true;
  }

  bool take_bytes(std::uint64_t size, std::string_view& text) {
    if (!has(size)) return false;
    text = as_text(bytes_.subspan(at_, size));
    at_ += size;
    return true;
  }

  // Up to the next line feed, which is not part of it.
  bool take_line(std::string_view& line) {
    const std::size_t size = as_text(bytes_.subspan(at_)).find('\n');
    if (size == std::string_view::npos) return ends();
    std::string_view feed;
    return take_bytes(size, line) && take_bytes(1, feed);
  }

  // Always false.
  bool refuse(DecodeError error) {
    error_ = std::move(error);
    return false;
  }

 private:
  [[gnu::cold, gnu::noinline]] bool ends() {
    if (limited_)
      return refuse(unsupported(at_, sentence("the pickle is longer than the limit of ",
                                              limits::kPickleBytesMax, " bytes")));
    if (input_ == Input::Head) return false;
    return refuse(corrupt(at_, "the pickle is cut off: it ends without its STOP"));
  }

  std::span<const std::byte> bytes_;
  Input input_;
  bool limited_;  // more bytes follow than are taken
  std::uint64_t at_ = 0;
  std::optional<DecodeError> error_;
};

}  // namespace cairn::format::pickle
