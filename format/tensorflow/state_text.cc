#include "format/tensorflow/state_text.h"

// TensorFlow reads and writes its catalog with the text format of Python's protobuf. That accepts
// far more than it writes, and people edit this file by hand, so the whole syntax is read:
// comments, both quotes, adjacent literals, escapes, lists, separators. Where protobuf's C++ and
// Python disagree (an unknown escape: C++ refuses it, Python keeps the backslash), Python is
// followed, because its answer is TensorFlow's.
//
// A general parser is not needed for four fields without nesting; the one here is a loop over
// tokens.

#include <simdjson.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>

#include "format/quoted.h"

namespace cairn::format::tensorflow {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
constexpr std::string_view kDigits = "0123456789";
constexpr std::string_view kHexDigits = "0123456789abcdefABCDEF";
constexpr std::string_view kNameStart = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
constexpr std::string_view kNameGoesOn =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789+-";
constexpr std::string_view kNumberGoesOn =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789+-.";

bool one_of(std::string_view set, char character) noexcept {
  return set.find(character) != std::string_view::npos;
}

// ---- Tokens: names, numbers, quoted strings, and whatever else is one character.

class Tokens {
 public:
  explicit Tokens(std::string_view text) : text_(text) { next(); }

  // Empty at the end of the text.
  std::string_view token() const noexcept { return text_.substr(at_, size_); }
  bool starts_with(std::string_view set) const noexcept {
    return size_ != 0 && one_of(set, text_[at_]);
  }

  void next() {
    at_ += size_;
    skip_space();
    size_ = measure(text_.substr(at_));
  }

  bool take(std::string_view token_wanted) {
    if (token() != token_wanted) return false;
    next();
    return true;
  }

  // What is wrong with the current token.
  DecodeError wrong(const std::string& what) const {
    const std::string_view before = text_.substr(0, at_);
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const std::size_t column = at_ - (before.rfind('\n') + 1) + 1;
    return corrupt(at_, "line " + std::to_string(line) + ", column " + std::to_string(column) +
                            ": " + what + ", found " +
                            (size_ == 0 ? "the end of the file" : format::quoted(token())));
  }

 private:
  void skip_space() {
    constexpr std::string_view kSpace = " \t\n\v\f\r";
    while (at_ < text_.size()) {
      if (text_[at_] == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (one_of(kSpace, text_[at_])) {
        ++at_;
      } else {
        return;
      }
    }
  }

  static std::size_t run(std::string_view rest, std::string_view set) noexcept {
    return std::min(rest.find_first_not_of(set), rest.size());
  }

  static std::size_t measure(std::string_view rest) noexcept {
    if (rest.empty()) return 0;
    if (one_of(kNameStart, rest[0])) return run(rest, kNameGoesOn);
    const bool fraction = rest[0] == '.' && rest.size() > 1 && one_of(kDigits, rest[1]);
    if (fraction || one_of("0123456789+-", rest[0])) return run(rest, kNumberGoesOn);
    if (rest[0] == '"' || rest[0] == '\'') return measure_quoted(rest);
    return 1;
  }

  // Up to the closing quote; up to the end of the line where there is none.
  static std::size_t measure_quoted(std::string_view rest) noexcept {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    std::size_t end = 1;
    while (end < line.size() && line[end] != line[0]) end += line[end] == '\\' ? 2 : 1;
    return std::min(end + 1, line.size());
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t size_ = 0;
};

// ---- Strings

// As many digits as stand at the front of `rest`, at most `digits_max`, taken off it.
std::uint32_t take_number(std::string_view& rest, int base, std::size_t digits_max) {
  std::uint32_t number = 0;
  const std::string_view digits = rest.substr(0, digits_max);
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  rest.remove_prefix(static_cast<std::size_t>(end - digits.data()));
  return number;
}

void append_utf8(std::string& out, std::uint32_t code_point) {
  const auto continuation = [&](int shift) {
    out.push_back(static_cast<char>(0x80 | (code_point >> shift & 0x3f)));
  };
  if (code_point < 0x80) {
    out.push_back(static_cast<char>(code_point));
  } else if (code_point < 0x800) {
    out.push_back(static_cast<char>(0xc0 | code_point >> 6));
    continuation(0);
  } else if (code_point < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | code_point >> 12));
    continuation(6);
    continuation(0);
  } else {
    out.push_back(static_cast<char>(0xf0 | code_point >> 18));
    continuation(12);
    continuation(6);
    continuation(0);
  }
}

// \uXXXX or \UXXXXXXXX behind its letter.
std::optional<std::uint32_t> take_code_point(std::string_view& rest, std::size_t digits) {
  const std::size_t found = std::min(rest.find_first_not_of(kHexDigits), rest.size());
  if (found < digits) return std::nullopt;
  return take_number(rest, 16, digits);
}

// Two halves of a pair stand for one character; a half alone stands for none.
bool unescape_unicode(std::string_view& rest, std::string& out, std::size_t digits) {
  auto code_point = take_code_point(rest, digits);
  if (!code_point) return false;
  if (*code_point >= 0xd800 && *code_point < 0xdc00 && rest.substr(0, 2) == "\\u") {
    std::string_view behind = rest.substr(2);
    const auto low = take_code_point(behind, 4);
    if (low && *low >= 0xdc00 && *low < 0xe000) {
      code_point = 0x10000 + ((*code_point - 0xd800) << 10) + (*low - 0xdc00);
      rest = behind;
    }
  }
  if (*code_point > 0x10ffff) return false;
  append_utf8(out, *code_point);  // a half alone makes the string no UTF-8, which is refused later
  return true;
}

// The escape at the front of `rest`, behind its backslash.
bool unescape_one(std::string_view& rest, std::string& out) {
  constexpr std::string_view kLetters = "abfnrtv\\'\"";
  constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\'\"";
  if (one_of("01234567", rest[0])) {
    const std::uint32_t byte = take_number(rest, 8, 3);
    out.push_back(static_cast<char>(byte));
    return byte <= 0xff;
  }
  const char letter = rest[0];
  if (letter == 'x') {
    rest.remove_prefix(1);
    if (rest.empty() || !one_of(kHexDigits, rest[0])) return false;
    out.push_back(static_cast<char>(take_number(rest, 16, 2)));
    return true;
  }
  if (letter == 'u' || letter == 'U') {
    rest.remove_prefix(1);
    return unescape_unicode(rest, out, letter == 'u' ? 4 : 8);
  }
  rest.remove_prefix(1);
  const std::size_t known = kLetters.find(letter);
  if (known == std::string_view::npos) {
    out.push_back('\\');
    out.push_back(letter);
  } else {
    out.push_back(kMeanings[known]);
  }
  return true;
}

bool unescape(std::string_view literal, std::string& out) {
  while (!literal.empty()) {
    const std::size_t plain = std::min(literal.find('\\'), literal.size());
    out.append(literal.substr(0, plain));
    literal.remove_prefix(plain);
    if (literal.empty()) return true;
    literal.remove_prefix(1);
    if (literal.empty() || !unescape_one(literal, out)) return false;
  }
  return true;
}

// One literal or several that stand one behind the other.
Decoded<std::string> take_string(Tokens& tokens) {
  const Tokens first = tokens;
  if (!tokens.starts_with("'\"")) return tokens.wrong("a quoted string is expected");
  std::string value;
  while (tokens.starts_with("'\"")) {
    const std::string_view literal = tokens.token();
    if (literal.size() < 2 || literal.back() != literal.front()) {
      return tokens.wrong("a string's closing quote is missing");
    }
    if (!unescape(literal.substr(1, literal.size() - 2), value)) {
      return tokens.wrong("a string with valid escapes is expected");
    }
    tokens.next();
  }
  if (!simdjson::validate_utf8(value.data(), value.size())) {
    return first.wrong("a string in UTF-8 is expected");
  }
  return value;
}

// ---- Numbers

std::optional<double> parse_plain_double(std::string_view text) {
  if (!text.empty() && text[0] == '+') {
    text.remove_prefix(1);
    if (!text.empty() && text[0] == '-') return std::nullopt;
  }
  if (one_of(text, '(')) return std::nullopt;
  double value = 0;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  auto [stopped, error] = std::from_chars(begin, end, value);
  if (error == std::errc::result_out_of_range) {
    // Becomes infinity or 0; from_chars does not say which, a type with a larger range does.
    long double wide = 0;
    error = std::from_chars(begin, end, wide).ec;
    value = static_cast<double>(wide);
  }
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

// Octal numbers are refused, a C-like `f` may stand behind.
std::optional<double> parse_double(std::string_view text) {
  const std::string_view digits = text.substr(0, 1) == "-" ? text.substr(1) : text;
  if (digits.size() > 1 && digits[0] == '0' && one_of(kDigits, digits[1])) return std::nullopt;
  auto value = parse_plain_double(text);
  // One `f` behind "inf" too, any number of them behind digits, as in TensorFlow.
  if (!value && !text.empty() && one_of("fF", text.back())) {
    value = parse_plain_double(text.substr(0, text.size() - 1));
    if (!value) value = parse_plain_double(text.substr(0, text.find_last_not_of("fF") + 1));
  }
  return value;
}

Decoded<double> take_double(Tokens& tokens) {
  const auto value = parse_double(tokens.token());
  if (!value) return tokens.wrong("a number is expected");
  tokens.next();
  return *value;
}

// ---- Fields

// Takes values with `take_one` into `add`: one, or several in brackets.
template <class Take, class Add>
Decoded<void> take_repeated(Tokens& tokens, Take take_one, Add add) {
  const bool list = tokens.take("[");
  if (list && tokens.take("]")) return {};
  while (true) {
    auto value = take_one(tokens);
    if (!value) return value.error();
    add(*std::move(value));
    if (!list || tokens.take("]")) return {};
    if (!tokens.take(",")) return tokens.wrong("\",\" or \"]\" is expected");
  }
}

Decoded<void> take_field(Tokens& tokens, StateFacts& state) {
  const std::string name(tokens.token());
  const bool known = name == "model_checkpoint_path" || name == "all_model_checkpoint_paths" ||
                     name == "all_model_checkpoint_timestamps" ||
                     name == "last_preserved_timestamp";
  if (!known) return tokens.wrong("a field of CheckpointState is expected");
  tokens.next();
  if (!tokens.take(":")) return tokens.wrong("\":\" is expected after " + name);

  const auto keep = [](auto& into) {
    return [&into](auto value) { into.push_back(std::move(value)); };
  };
  if (name == "all_model_checkpoint_paths") {
    return take_repeated(tokens, take_string, keep(state.all_model_checkpoint_paths));
  }
  if (name == "all_model_checkpoint_timestamps") {
    return take_repeated(tokens, take_double, keep(state.all_model_checkpoint_timestamps));
  }
  if (name == "model_checkpoint_path") {
    auto path = take_string(tokens);
    if (!path) return path.error();
    state.model_checkpoint_path = *std::move(path);
  } else {
    const auto timestamp = take_double(tokens);
    if (!timestamp) return timestamp.error();
    state.last_preserved_timestamp = *timestamp;
  }
  return {};
}

// ---- Writing

std::string quote(std::string_view text) {
  constexpr std::string_view kEscaped = "\t\n\r\"'\\";
  constexpr std::string_view kLetters = "tnr\"'\\";
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
  std::string out = "\"";
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    const std::size_t special = kEscaped.find(character);
    if (special != std::string_view::npos) {
      out += '\\';
      out += kLetters[special];
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8)) {
      out += '\\';
      for (const int shift : {6, 3, 0}) out += static_cast<char>('0' + (byte >> shift & 7));
    } else {
      out += character;
    }
  }
  return out + '"';
}

// Python's repr: the shortest digits that read back as the same number, with an exponent below
// 1e-4 and from 1e16.
std::string repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[32];
  const char* const end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));
  const std::size_t exponent_at = text.find('e');
  int exponent = 0;
  const bool plus = text[exponent_at + 1] == '+';
  std::from_chars(text.data() + exponent_at + (plus ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(text);

  std::string digits;
  for (const char character : text.substr(0, exponent_at)) {
    if (one_of(kDigits, character)) digits += character;
  }
  const std::string sign = std::signbit(value) ? "-" : "";
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

}  // namespace

Decoded<StateFacts> decode_state(std::string_view text) {
  if (text.starts_with(kByteOrderMark)) {
    return corrupt(0, "line 1, column 1: the file begins with a byte order mark");
  }
  if (!simdjson::validate_utf8(text.data(), text.size())) {
    return corrupt(0, "line 1, column 1: the file is not UTF-8");
  }
  StateFacts state;
  Tokens tokens(text);
  while (!tokens.token().empty()) {
    const auto taken = take_field(tokens, state);
    if (!taken) return taken.error();
    if (!tokens.take(",")) tokens.take(";");
  }
  return state;
}

std::string encode_state(const StateFacts& state) {
  std::string out;
  const auto line = [&](std::string_view name, const std::string& value) {
    out.append(name).append(": ").append(value).append("\n");
  };
  if (!state.model_checkpoint_path.empty()) {
    line("model_checkpoint_path", quote(state.model_checkpoint_path));
  }
  for (const std::string& path : state.all_model_checkpoint_paths) {
    line("all_model_checkpoint_paths", quote(path));
  }
  for (const double timestamp : state.all_model_checkpoint_timestamps) {
    line("all_model_checkpoint_timestamps", repr(timestamp));
  }
  // Only what is 0 bit by bit counts as not set.
  if (state.last_preserved_timestamp != 0 || std::signbit(state.last_preserved_timestamp)) {
    line("last_preserved_timestamp", repr(state.last_preserved_timestamp));
  }
  return out;
}

}  // namespace cairn::format::tensorflow
