// Names of temporary files: "NAME.cairn-tmp-0123456789abcdef".

#include <sys/random.h>

#include <cstdio>

#include "lib/os/file.h"

namespace cairn::os {
namespace {

constexpr std::string_view kTemporaryMark = ".cairn-tmp-";
constexpr std::size_t kTemporaryDigits = 16;

}  // namespace

std::string temporary_name(std::string_view name) {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number)
    number = static_cast<std::uint64_t>(now_ns());
  char digits[kTemporaryDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(number));
  return std::string(name).append(kTemporaryMark).append(digits);
}

bool is_temporary_name(std::string_view name) noexcept {
  if (name.size() < kTemporaryMark.size() + kTemporaryDigits) return false;
  const std::string_view digits = name.substr(name.size() - kTemporaryDigits);
  name.remove_suffix(kTemporaryDigits);
  return name.ends_with(kTemporaryMark) &&
         digits.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string_view without_temporary_tail(std::string_view name) noexcept {
  name.remove_suffix(kTemporaryMark.size() + kTemporaryDigits);
  return name;
}

}  // namespace cairn::os
