#pragma once

#include <filesystem>
#include <string_view>

namespace cairn::tools {

// A fresh directory, removed at the end unless it is to be kept.
class Workplace {
 public:
  Workplace(const std::filesystem::path& parent, std::string_view name, bool keep = false);
  ~Workplace();
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  // Empty: it could not be made; errno says why.
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  bool keep_;
};

}  // namespace cairn::tools
