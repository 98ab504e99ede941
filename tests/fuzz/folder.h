#pragma once

// A directory for files that a target makes, in memory where there is one.

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace cairn::fuzz {

class Folder {
 public:
  Folder() {
    const std::filesystem::path memory = "/dev/shm";
    const auto base =
        std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
    root_ = base / ("cairn-fuzz-" + std::to_string(::getpid()));
    std::filesystem::create_directories(root_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }

  const std::filesystem::path& root() const { return root_; }

  // An empty directory of that name.
  std::filesystem::path fresh(const std::string& name) const {
    std::filesystem::remove_all(root_ / name);
    std::filesystem::create_directory(root_ / name);
    return root_ / name;
  }

 private:
  std::filesystem::path root_;
};

}  // namespace cairn::fuzz
