#pragma once

// Room for what is about to be written.

#include "lib/os/file.h"

namespace cairn::internal {

// Removes what publishers left in the directory that died, before bytes are written there: a sweep
// after the commit would come too late on a disk that their files fill. Waits for nobody: where
// another holds the directory's lock, he sweeps, or everything stays. What cannot be removed stays.
void make_room(const os::Directory& directory);

}  // namespace cairn::internal
