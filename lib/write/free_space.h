#pragma once

// What is found out, and done, before bytes are written: whether they could be published, and room
// for them.

#include "lib/os/file.h"

namespace cairn::internal {

// Removes what publishers left in the directory that died, before bytes are written there: a sweep
// after the commit would come too late on a disk that their files fill. Waits for nobody: where
// another holds the directory's lock, he sweeps, or everything stays. What cannot be removed stays.
// Errors: those of sweep().
Result<void> remove_stale_files(const os::Directory& directory);

// Unsupported, in the sentence that Lock says: the file system has no locks, so nothing can be
// published in the directory, however many bytes are written. Asked of a file of the caller's own
// in it, so that nothing new lies there and nobody waits.
Result<void> check_locks(const os::Directory& directory, const os::File& own);

}  // namespace cairn::internal
