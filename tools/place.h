#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace cairn::tools {

// What a file lies on, as far as the system tells it to anybody.
struct Place {
  std::string file_system;         // "ext4", "fuse.sshfs"; empty: unknown
  std::string source;              // what is mounted: "/dev/sda1", "server:/models"
  std::string model;               // of the disk: "Samsung SSD 990 PRO"
  std::optional<bool> rotational;  // nothing: it lies on no disk of this machine, or is unknown
};

Place place_of(const std::filesystem::path& file);

// "ext4 on /dev/sda1 (Samsung SSD 990 PRO, not rotational)".
std::string describe(const Place& place);

}  // namespace cairn::tools
