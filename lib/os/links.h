#pragma once

// Symbolic links that stay where they are: below the directory that was opened, or in the blobs of
// the Hugging Face cache that it is a snapshot of.

#include <string>

namespace cairn::os {

// Opens what the link `name` below the descriptor `directory` leads to. -1 and EXDEV: it leads
// elsewhere (or is absolute, and /proc is not there to say where it leads). ELOOP: links to links
// without an end. Costs some calls: for what an open with O_NOFOLLOW has refused.
int open_link_inside(int directory, const std::string& name, int flags) noexcept;

// The two ways of the first half of it: by the kernel (5.6 or later), and step by step.
int open_beneath(int directory, const std::string& name, int flags) noexcept;
int walk_beneath(int directory, const std::string& name, int flags) noexcept;

}  // namespace cairn::os
