#pragma once

// The little JSON that the server reads and writes.

#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"

// `text` as a JSON string, in quotes. Names come from files: a byte that is not UTF-8 becomes
// U+FFFD, and '<' is escaped, so that the text is harmless wherever a page puts it.
std::string json_string(std::string_view text);

std::string json_number(double number);
std::string json_number(float number);

// `items` as an array; `item` makes the JSON of one of them.
template <class Items, class Item>
std::string json_array(const Items& items, Item item) {
  std::string out = "[";
  for (const auto& each : items) {
    if (out.size() > 1) out += ',';
    out += item(each);
  }
  return out + "]";
}

// The strings of {"texts": [...]}. Errors: Invalid (it is not that, or there are more than
// `count_max`; the message says so).
cairn::Result<std::vector<std::string>> parse_texts(std::string_view body, std::size_t count_max);
