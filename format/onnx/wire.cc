#include "format/onnx/wire.h"

#include <algorithm>
#include <limits>

#include "format/checked.h"
#include "format/le.h"
#include "format/sentence.h"
#include "format/tensorflow/varint.h"

namespace cairn::format::onnx {
namespace {

constexpr std::uint64_t kWindowBytes = std::uint64_t{32} << 10;
constexpr std::uint64_t kVarintBytesMax = 10;
constexpr std::uint64_t kTagBytesMax = 5;  // protobuf refuses longer spellings

}  // namespace

bool WireReader::refuse(DecodeError error) {
  if (!error_) error_ = std::move(error);
  return false;
}

bool WireReader::refuse(std::uint64_t at, std::string what) {
  return refuse(corrupt(at, std::move(what)));
}

// Brings these bytes into the window, and what follows them.
bool WireReader::need(std::uint64_t offset_bytes, std::uint64_t size_bytes) {
  if (error_) return false;
  if (!inside(offset_bytes, size_bytes, file_bytes_))
    return refuse(file_bytes_, "the file ends in a message: it is truncated");
  if (offset_bytes >= window_offset_bytes_ &&
      inside(offset_bytes - window_offset_bytes_, size_bytes, window_.size()))
    return true;
  window_.resize(std::max(size_bytes, std::min(kWindowBytes, file_bytes_ - offset_bytes)));
  window_offset_bytes_ = offset_bytes;
  auto done = read_(offset_bytes, window_);
  return done || refuse(std::move(done).error());
}

std::string_view WireReader::window_at(std::uint64_t offset_bytes) const noexcept {
  return as_text(window_).substr(offset_bytes - window_offset_bytes_);
}

bool WireReader::take_varint(std::uint64_t end, std::uint64_t& value) {
  const std::uint64_t last = std::min(end, file_bytes_);
  const std::uint64_t most = last > at_ ? std::min(kVarintBytesMax, last - at_) : 0;
  if (!need(at_, most)) return false;
  std::string_view rest = window_at(at_).substr(0, most);
  const auto varint = tensorflow::take_varint(rest);
  if (!varint) return refuse(at_, "a number is damaged, or its message or the file ends in it");
  at_ += most - rest.size();
  value = *varint;
  return true;
}

bool WireReader::take_contents(std::uint64_t end, Field& field) {
  field.bytes.size_bytes = field.type == WireType::Fixed32 ? 4 : 8;
  if (field.type == WireType::Bytes) {
    const std::uint64_t at = at_;
    if (!take_varint(end, field.bytes.size_bytes)) return false;
    if (field.bytes.size_bytes > std::numeric_limits<std::int32_t>::max())
      return refuse(at, sentence("a length of ", field.bytes.size_bytes,
                                 " bytes, and a message of protobuf ends at 2 GiB"));
  }
  field.bytes.offset_bytes = at_;
  const std::uint64_t bound = end == file_bytes_ ? bound_bytes_ : end;
  if (!inside(at_, field.bytes.size_bytes, bound)) {
    return refuse(field.at,
                  sentence("field ", field.number, " has ", field.bytes.size_bytes,
                           " bytes, and its message, or the file, has only ",
                           end - std::min(end, at_), " left: it is damaged or truncated"));
  }
  at_ += field.bytes.size_bytes;
  return true;
}

bool WireReader::next(std::uint64_t end, Field& field) {
  if (error_ || at_ >= end) return false;
  field = {};
  field.at = at_;
  std::uint64_t tag = 0;
  if (!take_varint(end, tag)) return false;
  if (at_ - field.at > kTagBytesMax || tag > std::numeric_limits<std::uint32_t>::max() || tag < 8)
    return refuse(field.at, "there is no field where one should begin");
  field.number = static_cast<std::uint32_t>(tag >> 3);
  field.type = static_cast<WireType>(tag & 7);
  switch (field.type) {
    case WireType::Varint:
      return take_varint(end, field.varint);
    case WireType::Fixed64:
    case WireType::Bytes:
    case WireType::Fixed32:
      return take_contents(end, field);
  }
  return refuse(field.at, sentence("field ", field.number, " is of wire type ", tag & 7,
                                   ", which no ONNX file has"));
}

bool WireReader::text(const FileRange& contents, std::string_view& text) {
  if (!need(contents.offset_bytes, contents.size_bytes)) return false;
  text = window_at(contents.offset_bytes).substr(0, contents.size_bytes);
  return true;
}

}  // namespace cairn::format::onnx
