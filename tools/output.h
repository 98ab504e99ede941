#pragma once

// What the verbs print. Names and paths come from files that others wrote: on their way to a
// terminal, control characters are escaped, and in JSON what is not UTF-8 becomes hexadecimal.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "cairn/error.h"

namespace cairn::tools {

// `text` with everything escaped that a terminal could act on: control characters (also those that
// turn the direction of writing), backslashes before them, and bytes that are not UTF-8, as \xNN.
std::string safe(std::string_view text);

bool is_utf8(std::string_view text);

std::string hex(std::string_view bytes);

// A CRC32C as the index lists it: 8 hexadecimal digits.
std::string hex(std::uint32_t sum);

// "1,234,567".
std::string grouped(std::uint64_t number);

// "1 tensor", "1,234 tensors".
std::string count_of(std::uint64_t count, std::string_view what);

// To stdout, as it is. Both throw std::system_error where it does not get there (a full disk, a
// stream that is closed, a reader that has gone): then the verb has failed, whatever it did before.
void print(std::string_view text);
void flush_output();

// To stderr, as it is. Where it does not get there, nothing is to be done.
void print_to_stderr(std::string_view text);

// To stderr, as one line "cairn: …", escaped.
void complain(std::string_view sentence);
void complain(const Error& error);
void print_warnings(std::span<const std::string> warnings);

// Writes JSON into a string, field by field. A text that is not UTF-8 comes as hexadecimal digits
// under its key with "_hex" appended; in an array as {"name_hex": …}.
class Json {
 public:
  Json& begin_object(std::string_view key = {});
  Json& end_object();
  Json& begin_array(std::string_view key);
  Json& end_array();
  Json& text(std::string_view key, std::string_view value);
  Json& text_or_null(std::string_view key, const std::optional<std::string>& value);
  Json& number(std::string_view key, std::uint64_t value);
  Json& number(std::string_view key, std::optional<std::int64_t> value);
  Json& decimal(std::string_view key, double value);  // with three digits behind the point
  Json& literal(std::string_view key, std::string_view number);  // as it is
  Json& flag(std::string_view key, bool value);
  Json& null(std::string_view key);
  Json& element(std::string_view value);
  Json& element(std::int64_t value);

  // Prints the finished object on a line of its own.
  void finish();

 private:
  void separate();
  void name(std::string_view key);
  void quote(std::string_view value);

  std::string out_;
  bool comma_ = false;
};

}  // namespace cairn::tools
