#include "format/hdf5/object.h"

#include <algorithm>

#include "format/le.h"
#include "format/sentence.h"

namespace cairn::format::hdf5 {
namespace {

constexpr std::size_t kSumBytes = 4;

class ObjectReader {
 public:
  explicit ObjectReader(File& file) : file_(file) {}

  Decoded<Object> read(std::uint64_t address) {
    auto start = file_.read({address, 4});
    if (!start) return std::move(start).error();
    const bool is_new = as_text(start->bytes) == "OHDR";
    if (auto done = is_new ? read_new(address) : read_old(address); !done)
      return std::move(done).error();
    for (std::size_t next = 0; next < continuations_.size(); ++next) {
      if (auto done = go_on(continuations_[next], is_new); !done) return std::move(done).error();
    }
    return std::move(object_);
  }

 private:
  Decoded<void> read_old(std::uint64_t address) {
    constexpr std::uint64_t kPrefixBytes = 16;
    auto prefix = file_.read({address, kPrefixBytes});
    if (!prefix) return std::move(prefix).error();
    Cursor cursor = file_.cursor(*prefix);
    const unsigned version = cursor.byte();
    if (version != 1)
      return corrupt(prefix->at, sentence("there is no object header, versions 1 and 2 of which "
                                          "are known, but a byte ",
                                          version));
    cursor.skip(7);  // a count of messages, which continuations make useless, and of links
    const std::uint64_t size_bytes = cursor.number(4);
    auto block = file_.read({address + kPrefixBytes, size_bytes});
    if (!block) return std::move(block).error();
    return take_messages(*std::move(block), {});
  }

  Decoded<void> read_new(std::uint64_t address) {
    constexpr std::uint64_t kFlagsAt = 5;
    auto prefix = file_.read({address, kFlagsAt + 1});
    if (!prefix) return std::move(prefix).error();
    const auto flags = static_cast<unsigned>(prefix->bytes[kFlagsAt]);
    has_order_ = (flags & 4) != 0;
    const unsigned width_bytes = 1u << (flags & 3);
    const std::uint64_t size_at =
        kFlagsAt + 1 + ((flags & 0x20) != 0 ? 16u : 0u) + ((flags & 0x10) != 0 ? 4u : 0u);
    auto size = file_.read({address + size_at, width_bytes});
    if (!size) return std::move(size).error();
    const std::uint64_t head_bytes = size_at + width_bytes;
    const std::uint64_t messages_bytes = file_.cursor(*size).number(width_bytes);
    if (messages_bytes > file_.size_bytes())
      return corrupt(size->at, sentence("an object header of ", messages_bytes, " bytes"));
    auto block = file_.read_signed({address, head_bytes + messages_bytes + kSumBytes}, {"OHDR", 2});
    if (!block) return std::move(block).error();
    return take_messages(*std::move(block), {head_bytes, kSumBytes});
  }

  Decoded<void> go_on(FileRange range, bool is_new) {
    auto block = is_new ? file_.read_signed(range, {"OCHK", File::kNoVersion}) : file_.read(range);
    if (!block) return std::move(block).error();
    return take_messages(*std::move(block), is_new ? Frame{4, kSumBytes} : Frame{});
  }

  // What stands around the messages.
  struct Frame {
    std::size_t head_bytes = 0;
    std::size_t tail_bytes = 0;
  };

  Decoded<void> take_messages(Block block, Frame frame) {
    if (block.bytes.size() < frame.head_bytes + frame.tail_bytes)
      return corrupt(block.at, "an object header is too short");
    const auto bytes = std::span<const std::byte>(block.bytes)
                           .subspan(frame.head_bytes)
                           .first(block.bytes.size() - frame.head_bytes - frame.tail_bytes);
    Cursor cursor(bytes, block.at + frame.head_bytes, file_.widths());
    const bool is_new = frame.tail_bytes != 0;
    const std::size_t head_bytes = is_new ? (has_order_ ? 6 : 4) : 8;
    while (cursor.left_bytes() >= head_bytes) {  // what is left is a gap
      if (auto done = take_message(cursor, is_new); !done) return done;
    }
    object_.blocks.push_back(std::move(block));  // a move leaves the bytes where they are
    return {};
  }

  Decoded<void> take_message(Cursor& cursor, bool is_new) {
    constexpr unsigned kShared = 2;
    constexpr unsigned kOnlyIfKnown = 0x80;
    constexpr unsigned kTypeMax = 0x18;
    const std::uint64_t at = cursor.at();
    const auto type = cursor.number(is_new ? 1 : 2);
    const std::uint64_t size_bytes = cursor.number(2);
    const unsigned flags = cursor.byte();
    cursor.skip(is_new ? (has_order_ ? 2 : 0) : 3);
    const std::uint64_t bytes_at = cursor.at();
    const auto bytes = cursor.take(size_bytes);
    if (cursor.failed())
      return corrupt(at, sentence("a message of ", size_bytes, " bytes ends behind its header"));
    if (type > kTypeMax) {
      if ((flags & kOnlyIfKnown) == 0) return {};
      return unsupported(at, sentence("a message of the unknown type ", type,
                                      " must be known to read the object"));
    }
    const Message message{static_cast<std::uint8_t>(type), (flags & kShared) != 0, bytes, bytes_at};
    if (message.type == static_cast<std::uint8_t>(MessageType::Continuation))
      return add_continuation(message);
    object_.messages.push_back(message);
    return {};
  }

  Decoded<void> add_continuation(const Message& message) {
    Cursor cursor(message.bytes, message.at, file_.widths());
    FileRange range;
    range.offset_bytes = cursor.offset();
    range.size_bytes = cursor.length();
    if (cursor.failed()) return corrupt(message.at, "a continuation is too short");
    const auto same = [&](const FileRange& other) {
      return other.offset_bytes == range.offset_bytes;
    };
    if (std::ranges::any_of(continuations_, same))
      return corrupt(message.at, "an object header continues twice at the same place");
    continuations_.push_back(range);
    return {};
  }

  File& file_;
  Object object_;
  std::vector<FileRange> continuations_;
  bool has_order_ = false;  // each message has a number of two bytes
};

}  // namespace

const Message* Object::find(MessageType type) const noexcept {
  const auto found = std::ranges::find(messages, static_cast<std::uint8_t>(type), &Message::type);
  return found == messages.end() ? nullptr : &*found;
}

Decoded<Object> read_object(File& file, std::uint64_t address) {
  return ObjectReader(file).read(address);
}

// Which versions say it how: 1 has six reserved bytes, and 3 a type that tells a heap from an
// object.
Decoded<Resolved> Resolved::of(File& file, const Message& message) {
  Resolved resolved;
  resolved.widths_ = file.widths();
  if (!message.shared) {
    resolved.bytes_ = message.bytes;
    resolved.at_ = message.at;
    return resolved;
  }
  Cursor cursor(message.bytes, message.at, file.widths());
  const unsigned version = cursor.byte();
  const unsigned kind = cursor.byte();
  if (version == 1) cursor.skip(6);
  const std::uint64_t address = cursor.offset();
  if (cursor.failed() || version < 1 || version > 3)
    return corrupt(message.at, "a message that is shared does not say where it is");
  constexpr unsigned kInHeap = 1;
  if (version == 3 && kind == kInHeap)
    return unsupported(message.at, "its messages lie in the file's heap of shared messages");
  auto owner = read_object(file, address);
  if (!owner) return std::move(owner).error();
  const Message* const found = owner->find(static_cast<MessageType>(message.type));
  if (found == nullptr || found->shared)
    return corrupt(message.at, "a shared message is not where it is said to be");
  resolved.bytes_ = found->bytes;
  resolved.at_ = found->at;
  resolved.owner_ = *std::move(owner);
  return resolved;
}

}  // namespace cairn::format::hdf5
