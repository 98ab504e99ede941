#include "workplace.h"

#include <stdlib.h>

#include <string>
#include <system_error>

namespace cairn::tools {

namespace fs = std::filesystem;

Workplace::Workplace(const fs::path& parent, std::string_view name, bool keep) : keep_(keep) {
  std::string made = (parent / name).native() + "-XXXXXX";
  if (::mkdtemp(made.data()) != nullptr) path_ = made;
}

Workplace::~Workplace() {
  std::error_code ignored;
  if (!path_.empty() && !keep_) fs::remove_all(path_, ignored);
}

}  // namespace cairn::tools
