// The kernel's list of mounts names the file system and what is mounted; below /sys it describes
// the disk. A sandbox may have neither.

#include "place.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

struct Mount {
  std::string number;  // of the device: "254:0"
  std::string point;
  std::string file_system;
  std::string source;
};

// The list writes spaces, tabs, newlines and backslashes as three octal digits: "\040".
std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string_view digits = text.substr(at).substr(0, 4);
    if (digits.size() == 4 && digits[0] == '\\' &&
        digits.find_first_not_of("01234567", 1) == std::string_view::npos) {
      out += static_cast<char>((digits[1] - '0') * 64 + (digits[2] - '0') * 8 + (digits[3] - '0'));
      at += 3;
    } else {
      out += text[at];
    }
  }
  return out;
}

// A line is "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw", with any number of fields in
// front of the dash.
Mount parse(const std::string& line) {
  Mount mount;
  std::string ignored;
  std::istringstream words(line);
  words >> ignored >> ignored >> mount.number >> ignored >> mount.point;
  for (std::string word; words >> word && word != "-";) continue;
  words >> mount.file_system >> mount.source;
  mount.point = decoded(mount.point);
  mount.source = decoded(mount.source);
  return mount;
}

bool lies_below(std::string_view path, std::string_view folder) {
  if (folder == "/") return true;
  return path.starts_with(folder) && (path.size() == folder.size() || path[folder.size()] == '/');
}

// The deepest mount above the file; of two at one place, the later one hides the earlier one.
Mount mount_of(const fs::path& file) {
  Mount found;
  std::ifstream list("/proc/self/mountinfo");
  for (std::string line; std::getline(list, line);) {
    Mount mount = parse(line);
    if (mount.point.empty() || !lies_below(file.native(), mount.point)) continue;
    if (mount.point.size() >= found.point.size()) found = std::move(mount);
  }
  return found;
}

std::string first_line(const fs::path& file) {
  std::string line;
  std::ifstream in(file);
  std::getline(in, line);
  line.erase(line.find_last_not_of(" \t") + 1);
  return line;
}

}  // namespace

Place place_of(const fs::path& file) {
  std::error_code ignored;
  const fs::path path = fs::canonical(file, ignored);
  const Mount mount = mount_of(path);
  Place place{mount.file_system, mount.source, {}, {}};
  fs::path disk = fs::canonical("/sys/dev/block/" + mount.number, ignored);
  if (disk.empty()) return place;
  if (fs::exists(disk / "partition", ignored)) disk = disk.parent_path();
  place.model = first_line(disk / "device/model");
  const std::string rotational = first_line(disk / "queue/rotational");
  if (!rotational.empty()) place.rotational = rotational == "1";
  return place;
}

std::string describe(const Place& place) {
  std::string disk = place.model;
  if (place.rotational) {
    if (!disk.empty()) disk += ", ";
    disk += *place.rotational ? "rotational" : "not rotational";
  }
  return fmt::format("{}{}{}", place.file_system.empty() ? "unknown" : place.file_system,
                     place.source.empty() ? "" : " on " + place.source,
                     disk.empty() ? "" : " (" + disk + ")");
}

}  // namespace cairn::tools
