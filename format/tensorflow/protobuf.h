#pragma once

// Protobuf's wire format, for the files of this folder that speak it. They ask for tag and wire
// type before they read a field, because protozero asserts where they disagree, and let nothing
// out that protozero throws.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <protozero/exception.hpp>
#include <protozero/pbf_reader.hpp>

#include "format/tensorflow/varint.h"

namespace cairn::format::tensorflow {

using protozero::pbf_wire_type;
using protozero::tag_and_type;

inline constexpr pbf_wire_type kVarint = pbf_wire_type::varint;
inline constexpr pbf_wire_type kBytes = pbf_wire_type::length_delimited;
inline constexpr pbf_wire_type kFixed32 = pbf_wire_type::fixed32;

// What protozero does not notice itself.
class Malformed : public protozero::exception {
 public:
  explicit Malformed(const char* what) noexcept : what_(what) {}
  const char* what() const noexcept override { return what_; }

 private:
  const char* what_;
};

// A message, field by field. protozero takes tags and lengths of any spelling and keeps 32 bits of
// them; protobuf refuses those of more than 5 bytes, and lengths of more than 31 bits.
class Message : public protozero::pbf_reader {
 public:
  Message(const protozero::pbf_reader& message) noexcept : pbf_reader(message) {}
  explicit Message(std::string_view bytes) noexcept : pbf_reader(bytes.data(), bytes.size()) {}

  bool next() {
    const std::size_t before = length();
    if (!pbf_reader::next()) return false;
    if (before - length() > kSpelledMax) throw Malformed("a tag is too long");
    if (wire_type() == kBytes) check_length();
    return true;
  }

 private:
  static constexpr std::size_t kSpelledMax = 5;

  void check_length() const {
    std::string_view rest(data().data(), data().size());
    const auto size = take_varint(rest);
    const bool fits = size && *size <= std::numeric_limits<std::int32_t>::max();
    if (!fits || length() - rest.size() > kSpelledMax) throw Malformed("a length is too long");
  }
};

// Steps over a field whose tag and type fit nothing that is known. Tags up to `last_known` do not
// come here but by a wrong type.
inline void skip_unknown(Message& message, std::uint32_t last_known) {
  if (message.tag() <= last_known) throw Malformed("a known field has another wire type");
  message.skip();
}

constexpr std::uint64_t tag(std::uint32_t field, pbf_wire_type type) {
  return std::uint64_t{field} << 3 | static_cast<std::uint64_t>(type);
}

// Left out where it is 0, as proto3 does.
inline void append_number(std::string& out, std::uint32_t field, std::int64_t value) {
  if (value == 0) return;
  append_varint(out, tag(field, kVarint));
  append_varint(out, static_cast<std::uint64_t>(value));
}

// Written even where it is empty: that says that it is there.
inline void append_message(std::string& out, std::uint32_t field, std::string_view message) {
  append_varint(out, tag(field, kBytes));
  append_varint(out, message.size());
  out.append(message);
}

}  // namespace cairn::format::tensorflow
