// A container's limit lies in its cgroup, or in one above it, and MemAvailable knows nothing of
// them: who fills memory by MemAvailable alone is killed. So each cgroup from ours upwards is asked
// what is left of its limit, and the least of all answers counts.

#include "lib/os/machine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

#include "lib/os/descriptor.h"
#include "lib/os/file.h"

namespace cairn::os {
namespace {

// Where a version of cgroups keeps what, and the line of /proc/self/cgroup that names ours.
struct Version {
  const char* line;
  const char* mount;
  const char* limit;
  const char* used;
  const char* idle_cache;
  const char* busy_cache;
};
constexpr Version kVersion1{":memory:",
                            "/sys/fs/cgroup/memory",
                            "/memory.limit_in_bytes",
                            "/memory.usage_in_bytes",
                            "total_inactive_file",
                            "total_active_file"};
constexpr Version kVersion2{"0::",           "/sys/fs/cgroup", "/memory.max", "/memory.current",
                            "inactive_file", "active_file"};

// The kernel's files of this kind are shorter, but of a machine with very many groups.
constexpr std::size_t kTextBytesMax = 64u << 10;

// Empty where there is no such file: the kernel says 0 bytes of all of them, so they have no size
// to go by.
std::string text_of(const std::string& path) {
  std::string text(kTextBytesMax,
                   '\0');  // before there is a descriptor that a bad_alloc could leak
  const int fd = above_standard_streams(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd < 0) return {};
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::read(fd, text.data() + done, text.size() - done);
    if (count <= 0) break;
    done += static_cast<std::size_t>(count);
  }
  ::close(fd);
  text.resize(done);
  return text;
}

// "/" at the top; nothing: there is none of this version.
std::optional<std::string> own_cgroup(const std::string& root, std::string_view line_of_version) {
  std::istringstream file(text_of(root + "/proc/self/cgroup"));
  std::string line;
  while (std::getline(file, line)) {
    const auto at = line.find(line_of_version);
    if (at != std::string::npos) return line.substr(at + line_of_version.size());
  }
  return std::nullopt;
}

// The number behind `key` in a file of such pairs, or without a key the file's first word. Nothing:
// there is no number ("max").
std::optional<std::uint64_t> number_in(const std::string& path, std::string_view key = {}) {
  std::istringstream file(text_of(path));
  std::string word;
  while (word != key && file >> word) {
  }
  std::uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

// What is left of one cgroup's limit.
std::optional<std::uint64_t> left_in(const std::string& cgroup, const Version& version) {
  const auto limit = number_in(cgroup + version.limit);
  const auto used = number_in(cgroup + version.used);
  if (!limit || !used) return std::nullopt;
  const std::string stat = cgroup + "/memory.stat";
  const std::uint64_t cache = number_in(stat, version.idle_cache).value_or(0) +
                              number_in(stat, version.busy_cache).value_or(0);
  const std::uint64_t held = *used - std::min(*used, cache);
  return *limit - std::min(*limit, held);
}

}  // namespace

std::optional<unsigned> cpu_quota() {
  const auto cgroup = own_cgroup("", kVersion2.line);
  if (!cgroup) return std::nullopt;
  std::istringstream file(text_of(kVersion2.mount + *cgroup + "/cpu.max"));
  double quota = 0;
  double period = 0;
  if (!(file >> quota >> period) || period <= 0) return std::nullopt;  // "max": no number
  return static_cast<unsigned>(std::max(1.0, (quota + period - 1) / period));
}

std::optional<std::uint64_t> available_memory_bytes(const std::string& root) {
  const auto machine_kib = number_in(root + "/proc/meminfo", "MemAvailable:");
  if (!machine_kib) return std::nullopt;
  std::uint64_t least = *machine_kib * 1024;
  for (const Version& version : {kVersion1, kVersion2}) {
    // Up to the top: what a container sees there is a cgroup with a limit of its own.
    std::string cgroup = own_cgroup(root, version.line).value_or("");
    while (true) {
      if (const auto left = left_in(root + version.mount + cgroup, version))
        least = std::min(least, *left);
      if (cgroup.empty()) break;
      cgroup.resize(cgroup.rfind('/'));
    }
  }
  return least;
}

}  // namespace cairn::os
