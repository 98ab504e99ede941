#include "cairn/error.h"

#include "cairn/version.h"

namespace cairn {

const char* name(Code code) noexcept {
  switch (code) {
    case Code::NotFound:
      return "NotFound";
    case Code::Exists:
      return "Exists";
    case Code::Corrupt:
      return "Corrupt";
    case Code::Unsupported:
      return "Unsupported";
    case Code::Unsafe:
      return "Unsafe";
    case Code::Invalid:
      return "Invalid";
    case Code::Io:
      return "Io";
    case Code::NoSpace:
      return "NoSpace";
    case Code::OutOfMemory:
      return "OutOfMemory";
    case Code::Busy:
      return "Busy";
    case Code::Cancelled:
      return "Cancelled";
  }
  return "unknown";
}

std::string_view version() noexcept { return CAIRN_VERSION_STRING; }

}  // namespace cairn
