#pragma once

// What this machine, and the cgroup that this process runs in, allow.

#include <cstdint>
#include <optional>
#include <string>

namespace cairn::os {

// The CPU quota of this process's cgroup (version 2) in whole cores, rounded up; nothing: none is
// set.
std::optional<unsigned> cpu_quota();

// How much memory this process can still fill before the kernel must take it from somebody: the
// machine's, or less where its cgroup (of either version) or one above has a limit. Page cache that
// can be given back counts as free. Nothing: the kernel does not say. `root` is where proc and sys
// are.
std::optional<std::uint64_t> available_memory_bytes(const std::string& root = "");

}  // namespace cairn::os
