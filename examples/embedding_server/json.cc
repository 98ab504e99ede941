// Text from outside is escaped here, and parsed by simdjson.

#include "json.h"

#include <simdjson.h>

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

namespace {

// The bytes of the UTF-8 character at the beginning of `text`; 0: there is none.
std::size_t utf8_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  const std::size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || text.size() < size) return 0;
  return simdjson::validate_utf8(text.data(), size) ? size : 0;
}

std::string escaped(unsigned char c) {
  std::array<char, 7> out{};
  std::snprintf(out.data(), out.size(), "\\u%04x", c);
  return out.data();
}

template <class T>
std::string number(T value) {
  if (!std::isfinite(value)) return "null";
  std::array<char, 32> out;
  const auto end = std::to_chars(out.data(), out.data() + out.size(), value).ptr;
  return {out.data(), end};
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t size = utf8_bytes(text);
    const char c = text.front();
    if (size == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else if (size == 1 && (c < ' ' || c == '<' || c == 0x7f)) {
      out += escaped(static_cast<unsigned char>(c));
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(size == 0 ? 1 : size);
  }
  return out + '"';
}

std::string json_number(double value) { return number(value); }
std::string json_number(float value) { return number(value); }

cairn::Result<std::vector<std::string>> parse_texts(std::string_view body, std::size_t count_max) {
  const auto invalid = [](std::string what) {
    return cairn::Error{cairn::Code::Invalid, 0, std::move(what)};
  };
  const std::string wanted = "the body must be {\"texts\": [\"…\", …]}";
  simdjson::dom::parser parser;
  simdjson::dom::array array;
  if (parser.parse(body.data(), body.size())["texts"].get(array)) return invalid(wanted);
  if (array.size() > count_max)
    return invalid("there are more than " + std::to_string(count_max) + " texts");
  std::vector<std::string> texts;
  for (const simdjson::dom::element element : array) {
    std::string_view text;
    if (element.get(text)) return invalid(wanted);
    texts.emplace_back(text);
  }
  return texts;
}
