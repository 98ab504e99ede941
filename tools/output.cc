#include "output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "words.h"

namespace cairn::tools {
namespace {

struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;  // 0: not UTF-8
};

// The code point at the start of `text`, strictly: no overlong forms, no surrogates.
CodePoint decode(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  std::uint32_t value = lead & (0x7fu >> bytes);
  for (std::size_t i = 1; i < bytes; ++i) {
    const auto next = static_cast<unsigned char>(text[i]);
    if ((next & 0xc0) != 0x80) return {};
    value = value << 6 | (next & 0x3fu);
  }
  const bool overlong = (bytes == 3 && value < 0x800) || (bytes == 4 && value < 0x10000);
  if (overlong || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {};
  return {value, bytes};
}

// C0 and C1 controls, line separators, and what reorders the text around it.
bool terminal_acts_on(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || (c >= 0x200e && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void append_escaped(std::string& out, std::string_view bytes) {
  for (const char byte : bytes) {
    fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(byte));
  }
}

[[noreturn]] void end_without_output() {
  throw std::system_error(errno != 0 ? errno : EIO, std::generic_category(),
                          "the output could not be written");
}

}  // namespace

std::string safe(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint next = decode(text);
    const std::string_view bytes = text.substr(0, next.bytes == 0 ? 1 : next.bytes);
    if (next.bytes == 0 || terminal_acts_on(next.value)) {
      append_escaped(out, bytes);
    } else {
      out += bytes;
    }
    text.remove_prefix(bytes.size());
  }
  return out;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = decode(text).bytes;
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) {
    fmt::format_to(std::back_inserter(out), "{:02x}", static_cast<unsigned char>(byte));
  }
  return out;
}

std::string hex(std::uint32_t sum) { return fmt::format("{:08x}", sum); }

std::string grouped(std::uint64_t number) {
  std::string out = std::to_string(number);
  for (std::size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, 1, ',');
  return out;
}

std::string count_of(std::uint64_t count, std::string_view what) {
  return grouped(count) + ' ' + std::string(what) + (count == 1 ? "" : "s");
}

void print(std::string_view text) {
  errno = 0;
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size()) end_without_output();
}

void flush_output() {
  errno = 0;
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) end_without_output();
}

void print_to_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

void complain(std::string_view sentence) {
  std::fflush(stdout);  // so that both streams on one terminal keep their order
  print_to_stderr(fmt::format("cairn: {}\n", safe(sentence)));
}

void complain(const Error& error) {
  if (error.code == Code::Cancelled) return complain("stopped by a signal; nothing was published");
  complain(error.what.empty() ? std::string(name(error.code)) : in_command_words(error.what));
}

void print_warnings(std::span<const std::string> warnings) {
  for (const std::string& warning : warnings) complain("warning: " + in_command_words(warning));
}

Json& Json::begin_object(std::string_view key) {
  name(key);
  out_ += '{';
  comma_ = false;
  return *this;
}

Json& Json::end_object() {
  out_ += '}';
  comma_ = true;
  return *this;
}

Json& Json::begin_array(std::string_view key) {
  name(key);
  out_ += '[';
  comma_ = false;
  return *this;
}

Json& Json::end_array() {
  out_ += ']';
  comma_ = true;
  return *this;
}

Json& Json::text(std::string_view key, std::string_view value) {
  if (is_utf8(value)) {
    name(key);
    quote(value);
  } else {
    name(std::string(key) + "_hex");
    quote(hex(value));
  }
  return *this;
}

Json& Json::text_or_null(std::string_view key, const std::optional<std::string>& value) {
  return value ? text(key, std::string_view(*value)) : null(key);
}

Json& Json::number(std::string_view key, std::uint64_t value) {
  name(key);
  out_ += std::to_string(value);
  return *this;
}

Json& Json::number(std::string_view key, std::optional<std::int64_t> value) {
  name(key);
  out_ += value ? std::to_string(*value) : "null";
  return *this;
}

Json& Json::decimal(std::string_view key, double value) {
  name(key);
  fmt::format_to(std::back_inserter(out_), "{:.3f}", value);
  return *this;
}

Json& Json::literal(std::string_view key, std::string_view number) {
  name(key);
  out_ += number;
  return *this;
}

Json& Json::flag(std::string_view key, bool value) {
  name(key);
  out_ += value ? "true" : "false";
  return *this;
}

Json& Json::null(std::string_view key) {
  name(key);
  out_ += "null";
  return *this;
}

Json& Json::element(std::string_view value) {
  if (!is_utf8(value)) return begin_object().text("name", value).end_object();
  separate();
  quote(value);
  return *this;
}

Json& Json::element(std::int64_t value) {
  separate();
  out_ += std::to_string(value);
  return *this;
}

void Json::finish() {
  out_ += '\n';
  print(out_);
}

void Json::separate() {
  if (comma_) out_ += ',';
  comma_ = true;
}

void Json::name(std::string_view key) {
  separate();
  if (key.empty()) return;
  quote(key);
  out_ += ':';
}

void Json::quote(std::string_view value) {
  out_ += '"';
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out_ += '\\';
      out_ += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(out_), "\\u{:04x}", byte);
    } else {
      out_ += c;
    }
  }
  out_ += '"';
}

}  // namespace cairn::tools
