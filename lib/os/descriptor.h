#pragma once

// Descriptors by themselves.
//
// A program that has closed its standard streams still writes to 0, 1 and 2: its libraries print
// warnings there, its children are given these numbers with dup2(). A shard under one of them would
// take in the warnings, and a lock would end with the next dup2().

#include "lib/os/file.h"

namespace cairn::os {

// The same open file under a number from 3 on, close-on-exec; `fd` itself where it has one. Below 0
// stays below 0, and errno is that of the call that failed.
int above_standard_streams(int fd) noexcept;

// Another descriptor of what a caller has open; errors call it `name`. Invalid: `fd` is not open,
// or not for reading (a directory may be open for its path alone).
Result<File> duplicate(int fd, std::string name);

}  // namespace cairn::os
