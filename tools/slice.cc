#include "slice.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace cairn::tools {
namespace {

Error invalid(std::string sentence) { return Error{Code::Invalid, 0, std::move(sentence)}; }

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// One bound of A:B. Nothing: not a number.
std::optional<std::int64_t> parse_bound(std::string_view text, std::int64_t size) {
  const auto number = parse_number(text);
  if (!number) return std::nullopt;
  return std::clamp<std::int64_t>(*number < 0 ? *number + size : *number, 0, size);
}

Result<Range> parse_range(std::string_view text, std::int64_t size) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    const auto index = parse_number(text);
    if (!index) return invalid(fmt::format("'{}' in --slice is neither A:B nor an index", text));
    if (*index < -size || *index >= size) {
      return invalid(fmt::format("index {} in --slice is outside a dimension of {}", *index, size));
    }
    return Range{*index < 0 ? *index + size : *index, 1};
  }
  const std::string_view first = text.substr(0, colon);
  const std::string_view last = text.substr(colon + 1);
  const auto start = first.empty() ? std::optional<std::int64_t>(0) : parse_bound(first, size);
  const auto end = last.empty() ? std::optional(size) : parse_bound(last, size);
  if (!start || !end) {
    return invalid(fmt::format("'{}' in --slice is neither A:B nor an index", text));
  }
  return Range{*start, std::max<std::int64_t>(*end - *start, 0)};
}

}  // namespace

Result<Part> parse_slice(std::string_view text, std::span<const std::int64_t> shape) {
  Part part;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::size_t dimension = part.ranges.size();
    if (dimension == shape.size()) {
      return invalid(
          fmt::format("--slice has more dimensions than the tensor, which has {}", shape.size()));
    }
    const std::string_view word = text.substr(0, comma);
    const auto range = parse_range(word, shape[dimension]);
    if (!range) return range.error();
    part.ranges.push_back(*range);
    if (word.find(':') != std::string_view::npos) part.shape.push_back(range->count);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  for (std::size_t i = part.ranges.size(); i < shape.size(); ++i) {
    part.ranges.push_back(Range{0, shape[i]});
    part.shape.push_back(shape[i]);
  }
  return part;
}

}  // namespace cairn::tools
