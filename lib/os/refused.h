#pragma once

#include <cerrno>

namespace cairn::os {

// Whether the errno of a call that just failed may mean that kernel or sandbox do not have it. Old
// seccomp profiles of container engines answer EPERM for calls that they do not know.
constexpr bool means_no_such_call(int number) noexcept {
  return number == ENOSYS || number == EPERM;
}

}  // namespace cairn::os
