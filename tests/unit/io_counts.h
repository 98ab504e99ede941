#pragma once

// What the kernel counts of the reads of this process.

#include <cstdint>
#include <fstream>
#include <string>

namespace cairn::test {

struct IoCounts {
  std::uint64_t bytes = 0;
  std::uint64_t calls = 0;
};

// So far; nothing but 0 where the kernel does not count. Asking is a few calls itself.
inline IoCounts io_counts(const char* path = "/proc/self/io") {
  std::ifstream io(path);
  IoCounts counts;
  std::uint64_t number = 0;
  for (std::string key; io >> key >> number;) {
    if (key == "rchar:") counts.bytes = number;
    if (key == "syscr:") counts.calls = number;
  }
  return counts;
}

}  // namespace cairn::test
