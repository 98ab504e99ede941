#include "size.h"

#include <array>
#include <charconv>
#include <cmath>

namespace cairn::tools {

std::optional<std::uint64_t> parse_size(std::string_view text) {
  struct Unit {
    std::string_view name;
    double bytes;
  };
  constexpr std::array<Unit, 10> kUnits{{{"", 1},
                                         {"B", 1},
                                         {"KB", 1e3},
                                         {"MB", 1e6},
                                         {"GB", 1e9},
                                         {"TB", 1e12},
                                         {"KiB", 0x1p10},
                                         {"MiB", 0x1p20},
                                         {"GiB", 0x1p30},
                                         {"TiB", 0x1p40}}};
  constexpr double kBytesMax = 0x1p63;
  double count = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), count, std::chars_format::fixed);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  for (const Unit& unit : kUnits) {
    // Either way to write kilo.
    const bool is_kilo = text.starts_with('k') && unit.name.starts_with('K') &&
                         text.substr(1) == unit.name.substr(1);
    if (text != unit.name && !is_kilo) continue;
    const double bytes = std::floor(count * unit.bytes);
    if (!(bytes >= 1 && bytes < kBytesMax)) return std::nullopt;
    return static_cast<std::uint64_t>(bytes);
  }
  return std::nullopt;
}

}  // namespace cairn::tools
