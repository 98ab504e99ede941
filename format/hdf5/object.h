#pragma once

// Object headers, versions 1 and 2: the messages that say what a group or a dataset is.

#include <optional>
#include <vector>

#include "format/hdf5/file.h"

namespace cairn::format::hdf5 {

enum class MessageType : std::uint8_t {
  Dataspace = 0x01,
  LinkInfo = 0x02,
  Datatype = 0x03,
  OldFillValue = 0x04,
  FillValue = 0x05,
  Link = 0x06,
  ExternalFiles = 0x07,
  Layout = 0x08,
  GroupInfo = 0x0a,
  Filters = 0x0b,
  Attribute = 0x0c,
  Continuation = 0x10,
  SymbolTable = 0x11,
  AttributeInfo = 0x15,
};

struct Message {
  std::uint8_t type = 0;
  bool shared = false;  // the bytes say where the message is
  std::span<const std::byte> bytes;
  std::uint64_t at = 0;  // in the file
};

struct Object {
  std::vector<Block> blocks;  // whose bytes the messages are
  std::vector<Message> messages;

  // The first of this type; nullptr: none.
  const Message* find(MessageType type) const noexcept;
};

// Errors: Corrupt; Unsupported (another version, or a message that says that only who knows it may
// read on).
Decoded<Object> read_object(File& file, std::uint64_t address);

// The bytes of a message, which may lie in another object (a committed datatype).
class Resolved {
 public:
  static Decoded<Resolved> of(File& file, const Message& message);
  Cursor cursor() const noexcept { return {bytes_, at_, widths_}; }

 private:
  std::optional<Object> owner_;
  std::span<const std::byte> bytes_;
  std::uint64_t at_ = 0;
  Widths widths_;
};

}  // namespace cairn::format::hdf5
