#include "terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace cairn::tools {
namespace {

bool continues(char byte) { return (byte & '\xc0') == '\x80'; }

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

std::optional<std::size_t> width_of(int descriptor) {
  constexpr std::size_t kUsual = 80;
  if (::isatty(descriptor) == 0) return std::nullopt;
  winsize size{};
  const bool known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
  return known ? std::size_t{size.ws_col} : kUsual;
}

}  // namespace

std::optional<std::size_t> terminal_width() { return width_of(STDOUT_FILENO); }

std::optional<std::size_t> columns_of_bars() {
  if (variable("TERM") == "dumb") return std::nullopt;
  return width_of(STDERR_FILENO);
}

std::string heading(std::string_view text) {
  const bool plain =
      !terminal_width() || !variable("NO_COLOR").empty() || variable("TERM") == "dumb";
  return plain ? std::string(text) : fmt::format("\x1b[1m{}\x1b[0m", text);
}

std::string human_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits{"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, digits, kUnits[unit]);
}

std::size_t character_count(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char byte) { return !continues(byte); }));
}

std::string shortened(std::string_view text, std::size_t characters_max) {
  const std::size_t count = character_count(text);
  if (count <= characters_max) return std::string(text);
  const auto begin_of = [&](std::size_t character) {
    std::size_t at = 0;
    while (at < text.size() && (continues(text[at]) || character-- != 0)) ++at;
    return at;
  };
  const std::size_t kept = characters_max == 0 ? 0 : characters_max - 1;
  const std::size_t front = kept / 2;
  return fmt::format("{}…{}", text.substr(0, begin_of(front)),
                     text.substr(begin_of(count - (kept - front))));
}

}  // namespace cairn::tools
