// One operation after another, each of a byte and what it takes from the bytes behind it. Values
// lie on a stack; a mark on it says where a list's or call's own begin. The memo keeps values that
// are needed again.
//
// No operation takes more memory than a multiple of its bytes: what a pickle can blow up is the
// tree that a reader makes of shared values, and that is the reader's to bound.

#include "format/pickle/machine.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <string>
#include <utility>

#include "format/le.h"
#include "format/limits.h"
#include "format/pickle/opcodes.h"
#include "format/pickle/source.h"
#include "format/pickle/text.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format::pickle {
namespace {

constexpr std::uint8_t kProtocolMax = 5;

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, Input input)
      : bytes_(bytes), source_(bytes, input), graph_(bytes) {}

  Decoded<std::optional<Pickle>> run() {
    while (!ended_) {
      op_at_ = source_.at();
      std::uint8_t op = 0;
      if (take(op) && step(op)) continue;
      if (source_.error()) return *source_.error();
      return std::optional<Pickle>();
    }
    return std::optional(
        Pickle{std::move(graph_), stack_.back(), source_.at(), std::move(persistent_)});
  }

 private:
  [[gnu::cold, gnu::noinline]] bool refuse(DecodeError error) {
    return source_.refuse(std::move(error));
  }
  template <class... Parts>
  [[gnu::cold, gnu::noinline]] bool refuse(const Parts&... parts) {
    return refuse(corrupt(op_at_, sentence("the pickle ", parts...)));
  }

  template <std::integral T>
  bool take(T& value) {
    return source_.take(value);
  }
  bool take_line(std::string_view& line) { return source_.take_line(line); }

  // As many bytes as a number of type T in front of them says.
  template <std::integral T>
  bool take_text(Kind kind) {
    T size{};
    if (!take(size)) return false;
    if (std::cmp_less(size, 0)) return refuse("has a text of ", size, " bytes");
    std::string_view text;
    if (!source_.take_bytes(static_cast<std::uint64_t>(size), text)) return false;
    push(text_at(kind, text));
    return true;
  }

  // A text that stands in the bytes.
  Ref text_at(Kind kind, std::string_view text) {
    const auto offset = text.data() - as_text(bytes_).data();
    return graph_.add_text(kind, static_cast<std::uint64_t>(offset), text.size());
  }

  // ---- The stack ----

  void push(Ref value) { stack_.push_back(value); }
  bool push_int(std::int64_t value) {
    push(graph_.add({.kind = Kind::Int, .integer = value}));
    return true;
  }

  std::size_t floor() const noexcept { return marks_.empty() ? 0 : marks_.back(); }

  bool need(std::size_t count) {
    return stack_.size() - floor() >= count ||
           refuse("takes ", count, " values of a stack that has ", stack_.size() - floor());
  }
  Ref pop() {
    const Ref value = stack_.back();
    stack_.pop_back();
    return value;
  }

  // Takes the last mark away: the values from `begin` on lay above it.
  bool pop_mark(std::size_t& begin) {
    if (marks_.empty()) return refuse("goes back to a mark, and has none");
    begin = marks_.back();
    marks_.pop_back();
    return true;
  }

  bool pop_any() {
    if (stack_.size() > floor()) {
      stack_.pop_back();
    } else if (!marks_.empty()) {
      marks_.pop_back();
    } else {
      return refuse("takes a value of a stack that has none");
    }
    return true;
  }

  // ---- Operations ----

  bool step(std::uint8_t op);
  bool step_group(std::uint8_t op);
  bool step_scalar(std::uint8_t op);
  bool step_text(std::uint8_t op);
  bool step_container(std::uint8_t op);
  bool step_object(std::uint8_t op);
  bool step_stack(std::uint8_t op);
  bool step_other(std::uint8_t op);

  bool take_int_line();
  bool take_long_line();
  bool take_float_line();
  bool take_long(std::int64_t size);
  bool take_string_line();
  bool take_unicode_line();
  bool collect(Kind kind, std::size_t begin);
  bool fill(std::size_t begin, Fill with);
  bool call(Ref callable, Ref arguments);
  bool global_of_lines(Ref& global);
  bool stack_global();
  bool build();
  bool persistent(Ref id);
  bool put(std::uint64_t slot) {
    if (slot != memo_.size() || slot >= bytes_.size() || stack_.size() == floor())
      return put_anywhere(slot);
    memo_.push_back(stack_.back());
    ++memo_count_;
    return true;
  }
  bool put_anywhere(std::uint64_t slot);  // not behind the last, where writers put it
  bool get(std::uint64_t slot) {
    if (slot >= memo_.size() || memo_[slot] == kNoValue)
      return refuse("asks for the value number ", slot, ", which it has not kept");
    push(memo_[slot]);
    return true;
  }
  bool take_slot_line(std::uint64_t& slot);

  std::span<const std::byte> bytes_;
  Source source_;
  std::uint64_t op_at_ = 0;
  bool ended_ = false;
  Graph graph_;
  std::vector<Ref> stack_;
  std::vector<std::uint32_t> marks_;  // how much of the stack lies below each
  std::vector<Ref> memo_;             // kNoValue: nothing there
  std::uint64_t memo_count_ = 0;      // of values in it
  std::vector<Ref> persistent_;

  static constexpr Ref kNoValue = ~Ref{0};
};

// ---- Numbers ------------------------------------------------------------------------------------

bool Machine::take_int_line() {
  std::string_view line;
  if (!take_line(line)) return false;
  if (line == "00" || line == "01") {
    push(line == "01" ? kTrue : kFalse);
    return true;
  }
  Node node{.kind = Kind::Int};
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), node.integer);
  if (error == std::errc() && end == line.data() + line.size()) {
    push(graph_.add(node));
    return true;
  }
  if (!is_decimal(line)) return refuse("has the number ", format::quoted(line));
  push(text_at(Kind::LongText, line));
  return true;
}

// "12L", the L where Python 2 wrote it.
bool Machine::take_long_line() {
  std::string_view line;
  if (!take_line(line)) return false;
  if (line.ends_with('L')) line.remove_suffix(1);
  if (!is_decimal(line)) return refuse("has the number ", format::quoted(line));
  Node node{.kind = Kind::Int};
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), node.integer);
  push(error == std::errc() ? graph_.add(node) : text_at(Kind::LongText, line));
  return true;
}

bool Machine::take_float_line() {
  std::string_view line;
  if (!take_line(line)) return false;
  Node node{.kind = Kind::Float};
  if (!read_float(line, node.number))
    return refuse("has the floating-point number ", format::quoted(line));
  push(graph_.add(node));
  return true;
}

// Two's complement of any size.
bool Machine::take_long(std::int64_t size) {
  if (size < 0) return refuse("has a number of ", size, " bytes");
  std::string_view text;
  if (!source_.take_bytes(static_cast<std::uint64_t>(size), text)) return false;
  if (size > 8) {
    push(text_at(Kind::Long, text));
    return true;
  }
  std::array<std::byte, 8> wide{};
  const auto narrow = as_bytes(text);
  const bool negative = !narrow.empty() && (narrow.back() & std::byte{0x80}) != std::byte{};
  wide.fill(negative ? std::byte{0xff} : std::byte{});
  std::copy(narrow.begin(), narrow.end(), wide.begin());
  Node node{.kind = Kind::Int};
  node.integer = load_le<std::int64_t>(wide.data());
  push(graph_.add(node));
  return true;
}

bool Machine::step_scalar(std::uint8_t op) {
  std::uint8_t byte = 0;
  std::int32_t word = 0;
  std::uint64_t bits = 0;
  Node node{.kind = Kind::Float};
  switch (op) {
    case kNoneOp:
    case kNewTrue:
    case kNewFalse:
      push(op == kNoneOp ? kNone : op == kNewTrue ? kTrue : kFalse);
      return true;
    case kLong1:
      return take(byte) && take_long(byte);
    case kLong4:
      return take(word) && take_long(word);
    case kBinFloat:  // big-endian
      if (!take(bits)) return false;
      node.number = std::bit_cast<double>(__builtin_bswap64(bits));
      push(graph_.add(node));
      return true;
    case kInt:
      return take_int_line();
    case kLong:
      return take_long_line();
    default:
      return take_float_line();
  }
}

// ---- Texts --------------------------------------------------------------------------------------

bool Machine::take_string_line() {
  std::string_view line;
  std::string text;
  if (!take_line(line)) return false;
  if (!read_string_literal(line, text))
    return refuse("has the text ", format::quoted(line), ", which is no Python literal");
  push(graph_.add_owned_text(Kind::Text, text));
  return true;
}

bool Machine::take_unicode_line() {
  std::string_view line;
  std::string text;
  if (!take_line(line)) return false;
  if (!read_raw_unicode(line, text))
    return refuse("has the text ", format::quoted(line), ", with an escape that is none");
  push(graph_.add_owned_text(Kind::Text, text));
  return true;
}

// A text of Python 2 (BINSTRING) may be bytes or text, and is text here.
bool Machine::step_text(std::uint8_t op) {
  switch (op) {
    case kShortBinUnicode:
    case kShortBinString:
      return take_text<std::uint8_t>(Kind::Text);
    case kBinUnicode:
      return take_text<std::uint32_t>(Kind::Text);
    case kBinUnicode8:
      return take_text<std::uint64_t>(Kind::Text);
    case kBinString:
      return take_text<std::int32_t>(Kind::Text);
    case kShortBinBytes:
      return take_text<std::uint8_t>(Kind::Bytes);
    case kBinBytes:
      return take_text<std::uint32_t>(Kind::Bytes);
    case kBinBytes8:
    case kByteArray8:
      return take_text<std::uint64_t>(Kind::Bytes);
    case kString:
      return take_string_line();
    default:
      return take_unicode_line();
  }
}

// ---- Containers ---------------------------------------------------------------------------------

// The values from `begin` on become one that holds them.
bool Machine::collect(Kind kind, std::size_t begin) {
  if (kind == Kind::Dict && (stack_.size() - begin) % 2 != 0)
    return refuse("makes a dict of ", stack_.size() - begin, " values: a key has none");
  const bool is_constant = kind == Kind::Tuple && begin == stack_.size();
  const Ref made = is_constant ? kEmptyTuple : graph_.add({.kind = kind});
  graph_.append(made, std::span(stack_).subspan(begin));
  stack_.resize(begin);
  push(made);
  return true;
}

// The values from `begin` on go into the one below them.
bool Machine::fill(std::size_t begin, Fill with) {
  if (begin == floor()) return refuse("fills a value of a stack that has none");
  const Ref target = stack_[begin - 1];
  Node& node = graph_.at(target);
  const bool fits = with == Fill::Items ? node.kind == Kind::Dict
                                        : node.kind == Kind::List || node.kind == Kind::Set;
  if (!fits && node.kind != Kind::Object)
    return refuse("fills a value that is no list, set, dict or object");
  if (with == Fill::Items && (stack_.size() - begin) % 2 != 0)
    return refuse("puts ", stack_.size() - begin, " values into a dict: a key has none");
  if (node.kind == Kind::Object && begin != stack_.size()) {
    if (node.fill != Fill::Nothing && node.fill != with)
      return refuse("fills one object both as a list and as a dict");
    node.fill = with;
  }
  graph_.append(target, std::span(stack_).subspan(begin));
  stack_.resize(begin);
  return true;
}

bool Machine::step_container(std::uint8_t op) {
  std::size_t begin = stack_.size();
  switch (op) {
    case kEmptyList:
      return collect(Kind::List, begin);
    case kEmptyTupleOp:
      return collect(Kind::Tuple, begin);
    case kEmptyDict:
      return collect(Kind::Dict, begin);
    case kEmptySet:
      return collect(Kind::Set, begin);
    case kTuple1:
    case kTuple2:
    case kTuple3:
      return need(op - kTuple1 + 1u) && collect(Kind::Tuple, begin - (op - kTuple1 + 1u));
    case kList:
      return pop_mark(begin) && collect(Kind::List, begin);
    case kTuple:
      return pop_mark(begin) && collect(Kind::Tuple, begin);
    case kDict:
      return pop_mark(begin) && collect(Kind::Dict, begin);
    case kFrozenSet:
      return pop_mark(begin) && collect(Kind::Set, begin);
    case kAppend:
      return need(2) && fill(begin - 1, Fill::Elements);
    case kSetItem:
      return need(3) && fill(begin - 2, Fill::Items);
    case kAppends:
    case kAddItems:
      return pop_mark(begin) && fill(begin, Fill::Elements);
    default:
      return pop_mark(begin) && fill(begin, Fill::Items);
  }
}

// ---- Objects ------------------------------------------------------------------------------------

bool Machine::call(Ref callable, Ref arguments) {
  if (graph_[arguments].kind != Kind::Tuple)
    return refuse("makes an object of arguments that are no tuple");
  push(graph_.add({.kind = Kind::Object, .a = callable, .b = arguments}));
  return true;
}

bool Machine::global_of_lines(Ref& global) {
  std::array<Ref, 2> parts{};
  for (Ref& part : parts) {
    std::string_view line;
    if (!take_line(line)) return false;
    part = text_at(Kind::Text, line);
  }
  global = graph_.add({.kind = Kind::Global, .a = parts[0], .b = parts[1]});
  return true;
}

bool Machine::stack_global() {
  if (!need(2)) return false;
  const Ref name = pop();
  const Ref module = pop();
  if (graph_[module].kind != Kind::Text || graph_[name].kind != Kind::Text)
    return refuse("names a class by values that are no texts");
  push(graph_.add({.kind = Kind::Global, .a = module, .b = name}));
  return true;
}

bool Machine::build() {
  if (!need(2)) return false;
  const Ref state = pop();
  Node& node = graph_.at(stack_.back());
  if (node.kind != Kind::Object) return refuse("gives a state to a value that is no object");
  node.c = state;
  return true;
}

bool Machine::step_object(std::uint8_t op) {
  std::size_t begin = 0;
  Ref global = kNone;
  switch (op) {
    case kGlobal:
      if (!global_of_lines(global)) return false;
      push(global);
      return true;
    case kStackGlobal:
      return stack_global();
    case kReduce:
    case kNewObj: {
      if (!need(2)) return false;
      const Ref arguments = pop();
      return call(pop(), arguments);
    }
    case kNewObjEx: {  // with arguments by name, which nobody asks for
      if (!need(3)) return false;
      const Ref named = pop();
      const Ref arguments = pop();
      if (graph_[named].kind != Kind::Dict)
        return refuse("makes an object of named arguments that are no dict");
      return call(pop(), arguments);
    }
    case kInst:
      if (!global_of_lines(global) || !pop_mark(begin) || !collect(Kind::Tuple, begin))
        return false;
      return call(global, pop());
    case kObj:
      if (!pop_mark(begin)) return false;
      if (begin == stack_.size()) return refuse("makes an object of no class");
      global = stack_[begin];
      if (!collect(Kind::Tuple, begin + 1)) return false;
      stack_.erase(stack_.end() - 2);  // the class, below its arguments
      return call(global, pop());
    default:
      return build();
  }
}

// ---- The memo -----------------------------------------------------------------------------------

// A writer numbers what it keeps, so no slot is beyond the bytes that it took to fill them.
bool Machine::put_anywhere(std::uint64_t slot) {
  if (!need(1)) return false;
  if (slot >= bytes_.size()) {
    return refuse(unsupported(op_at_, sentence("the pickle keeps a value under the number ", slot,
                                               ", which is more than its bytes")));
  }
  if (slot >= memo_.size()) memo_.resize(slot + 1, kNoValue);
  if (std::exchange(memo_[slot], stack_.back()) == kNoValue) ++memo_count_;
  return true;
}

bool Machine::take_slot_line(std::uint64_t& slot) {
  std::string_view line;
  if (!take_line(line)) return false;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), slot);
  return (error == std::errc() && end == line.data() + line.size()) ||
         refuse("keeps a value under the number ", format::quoted(line));
}

// ---- All ----------------------------------------------------------------------------------------

bool Machine::persistent(Ref id) {
  persistent_.push_back(graph_.add({.kind = Kind::Persistent, .a = id}));
  push(persistent_.back());
  return true;
}

bool Machine::step_stack(std::uint8_t op) {
  std::size_t begin = 0;
  switch (op) {
    case kStop:
      if (!need(1)) return false;
      ended_ = true;
      return true;
    case kPop:
      return pop_any();
    case kPopMark:
      if (!pop_mark(begin)) return false;
      stack_.resize(begin);
      return true;
    default:
      if (!need(1)) return false;
      push(stack_.back());
      return true;
  }
}

bool Machine::step_other(std::uint8_t op) {
  std::uint8_t protocol = 0;
  std::uint64_t size = 0;  // or a slot
  std::string_view line;
  switch (op) {
    case kMemoize:
      return put(memo_count_);
    case kPut:
    case kGet:
      return take_slot_line(size) && (op == kPut ? put(size) : get(size));
    case kProto:
      if (!take(protocol)) return false;
      if (protocol <= kProtocolMax) return true;
      return refuse(unsupported(op_at_, sentence("the pickle is of protocol ", protocol,
                                                 ", and 0 to ", kProtocolMax, " are known")));
    case kFrame:  // how many bytes belong together, for who reads from a stream
      if (!take(size)) return false;
      return source_.has(size);
    case kPersId:
      return take_line(line) && persistent(text_at(Kind::Text, line));
    case kBinPersId:
      return need(1) && persistent(pop());
    case kExt1:
    case kExt2:
    case kExt4:
      return refuse(unsupported(
          op_at_, "the pickle names a class by an extension code, which only its writer knows"));
    case kNextBuffer:
    case kReadonlyBuffer:
      return refuse(
          unsupported(op_at_, "the pickle has buffers out of band, which are stored elsewhere"));
    default:
      return refuse("has an operation of the number ", op, ", which is none");
  }
}

// Three of four operations of a state dict are these; kGroups has the others.
bool Machine::step(std::uint8_t op) {
  std::uint8_t byte = 0;
  std::uint16_t half = 0;
  std::uint32_t word = 0;
  std::int32_t number = 0;
  switch (op) {
    case kBinPut:
      return take(byte) && put(byte);
    case kLongBinPut:
      return take(word) && put(word);
    case kBinGet:
      return take(byte) && get(byte);
    case kLongBinGet:
      return take(word) && get(word);
    case kBinInt1:
      return take(byte) && push_int(byte);
    case kBinInt2:
      return take(half) && push_int(half);
    case kBinInt:
      return take(number) && push_int(number);
    case kMark:
      marks_.push_back(static_cast<std::uint32_t>(stack_.size()));
      return true;
    default:
      return step_group(op);
  }
}

bool Machine::step_group(std::uint8_t op) {
  switch (kGroups[op]) {
    case Group::Stack:
      return step_stack(op);
    case Group::Scalar:
      return step_scalar(op);
    case Group::Text:
      return step_text(op);
    case Group::Container:
      return step_container(op);
    case Group::Object:
      return step_object(op);
    case Group::Other:
      break;
  }
  return step_other(op);
}

}  // namespace

Decoded<std::optional<Pickle>> decode(std::span<const std::byte> bytes, Input input) {
  return Machine(bytes, input).run();
}

}  // namespace cairn::format::pickle
