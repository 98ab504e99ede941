"""A system call that fails, at any place and in any way, loses no checkpoint and is told in one sentence.

usage: test_errno.py BUILD [--short | --long] [SCENE…]     the build directory; every k-th call only; some scenes only

For each scene: each call that concerns files fails with each error; each read and write is cut short; the process may
open 3, 4, … files; the disk is full after 0, 4, 8, … KiB more. The command then either did all of its work, or ends
with 2 and a sentence that names a file, and has left no temporary file; each checkpoint is what it was or what it was
to be; and the same command, done again, succeeds.
"""
import argparse
import errno
import os
import re
import subprocess
import sys
import tempfile
import time

from scenes import CARELESS, SCENES, Count, Programs, Ran, Stage, in_parallel, ram, why_not

ERRORS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR, errno.EMFILE, errno.ENOMEM, errno.EACCES, errno.EROFS,
          errno.EOPNOTSUPP]
SHORT_POINTS = 2  # of each scene and way to fail, about
PAGE = 4096

# What a signal may interrupt is called again; of the others Linux says that they never end so.
RETRIED = {"open", "openat", "read", "pread64", "write", "pwrite64", "pwritev", "fallocate", "ftruncate", "flock",
           "fsync"}
KEPT_INDEX = re.compile(r"\.(index|cairn)\.cairn-tmp-[0-9a-f]{16}$")
LEFT_OF_OLD = ": was replaced; what is left of the old directory is in "
OLD_GOES_LATER = "; the next writer removes the old model, "
GOES_LATER = "; the next change of the directory removes the rest of "
# Some file systems cannot sync a directory, or cannot say what is on the disk at all.
SYNC_IMPOSSIBLE = {errno.EINTR, errno.EOPNOTSUPP}


def verdict(stage, ran, error=0):
    """Sentences: what is wrong with the way in which the command ended."""
    state = stage.look()
    yield from stage.losses(state)
    left = state.temporaries - stage.before.temporaries
    if stage.has_new_index():
        # Something has its new name: an old index stays under such a name until the shards that it names are removed.
        left = {name for name in left if not KEPT_INDEX.search(name)}
    elif ran.exit == 2 and GOES_LATER in ran.stderr:
        # Both indexes are gone, one of them under such a name: it goes when the shards have, and the sentence says so.
        left = {name for name in left if not (KEPT_INDEX.search(name) and name.split(".")[0] in stage.to_remove())}
    if (ran.exit == 0 and LEFT_OF_OLD in ran.stderr) or (ran.exit == 2 and OLD_GOES_LATER in ran.stderr):
        left = {name for name in left if name not in ran.stderr}  # the next writer removes it
    if left and not ran.hit.startswith("unlink"):
        yield f"left {', '.join(sorted(left))}"
    if ran.exit == 0:
        # What could not be removed costs space, and the next command removes it.
        yield from stage.undone(state, waiting=stage.to_remove())
        if ran.hit in ("fsync", "fdatasync") and error not in SYNC_IMPOSSIBLE:
            yield "reports success after a sync that failed"
    elif ran.exit != 2:
        yield f"ended with {ran.exit}, signal {ran.signal}: {ran.stderr.strip()}"
    else:
        if error == errno.EINTR and ran.hit in RETRIED:
            yield f"an interrupted call is not repeated: {ran.stderr.strip()}"
        yield from unclear(stage, ran.stderr)
    # What this user may not remove leaves the catalog, and a warning says who may, and with which words: on stderr, but
    # prune prints it, and $ACT does not.
    command = stage.scene.command
    said = "could not be removed" in ran.stderr or "prune" in command or "$CAIRN" not in command
    refused = said and ran.exit == 0 and ran.hit.startswith("unlink") and error in (errno.EACCES, errno.EROFS)
    yield from stage.cannot_go_on(stage.to_remove() if refused else frozenset())


def unclear(stage, stderr):
    lines = stderr.splitlines()
    if len(lines) != 1 or not lines[0].startswith("cairn: ") or stage.dir not in lines[0]:
        yield f"no clear sentence that names a file: {stderr!r}"


def each_call(stage, action, step, *options, error=0, first=1):
    """(calls tried, failures): one call after the other, until there is none that could be disturbed."""
    tried, failures, at = 0, [], first
    while True:
        stage.reset()
        ran = stage.inject(action, at, *options)
        if not ran.hit:
            return tried, failures
        tried += 1
        where = f"{action} at call {at}, {ran.hit}{', ' + errno.errorcode[error] if error else ''}"
        failures += [f"{where}: {sentence}" for sentence in verdict(stage, ran, error)]
        at += step


def steps(stage, points, *options):
    """Every which call, so that there are about so many; 0: all of them."""
    stage.reset()
    return max(1, stage.inject("count", 0, *options).calls // points) if points else 1


def errors(stage, points):
    step = steps(stage, points, "--files")
    # Where not all calls are tried, each error begins at another one, so that together they meet most of them.
    results = [each_call(stage, "fail", step, "--files", "--errno", str(e), error=e, first=1 + i * step // len(ERRORS))
               for i, e in enumerate(ERRORS) if e not in stage.scene.spared]
    return sum(tried for tried, _ in results), [f for _, failures in results for f in failures]


def short_counts(stage, points):
    tried, failures = each_call(stage, "short", max(1, 16 // points) if points else 1)
    return tried, failures


def descriptors(stage, points):
    """With room for 3 files, 4, …, until that is enough."""
    failures = []
    for limit in range(3, 64):
        stage.reset()
        ran = stage.inject("descriptors", limit)
        failures += [f"with {limit} descriptors: {sentence}" for sentence in verdict(stage, ran)]
        if ran.exit == 0:
            return limit - 2, failures
        if "Too many open files" not in ran.stderr:
            failures.append(f"with {limit} descriptors: {ran.stderr.strip()}")
    return limit, [*failures, "64 descriptors are not enough"]


def attack(programs, scene, points):
    """{way: (tried, failures)}"""
    found = {}
    with Stage(programs, scene) as stage:
        for way in (errors, short_counts, descriptors):
            found[way.__name__] = way(stage, points)
        stage.reset()
        changed = [] if stage.look() == stage.before else ["a published file was written to"]
    if may_mount():
        found["full disk"] = full_disk(programs, scene, points)
    return found, changed


# --- a disk that is full --------------------------------------------------------------------------------------------

class SmallDisk:
    """A file system of its own, whose size can be set."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="cairn-crash-disk-", dir=ram())
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "cairn-crash", self.path], check=True)
        return self

    def __exit__(self, *_):
        subprocess.run(["umount", self.path], check=True)
        os.rmdir(self.path)

    def leave(self, size_bytes):
        """Room for so many bytes more."""
        self._resize(self.used_bytes() + size_bytes)

    def unlimited(self):
        self._resize(64 << 20)

    def used_bytes(self):
        status = os.statvfs(self.path)
        return (status.f_blocks - status.f_bfree) * status.f_frsize

    def _resize(self, size_bytes):
        subprocess.run(["mount", "-o", f"remount,size={size_bytes}", self.path], check=True)


def may_mount():
    if os.geteuid() != 0:
        return False
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "probe", "/mnt"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def into_own_mounts():
    """Starts again where nobody else sees the mounts, and where they go with the process."""
    if may_mount() and "CAIRN_OWN_MOUNTS" not in os.environ:
        os.environ["CAIRN_OWN_MOUNTS"] = "yes"
        os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


def full_disk(programs, scene, points):
    tried, failures = 0, []
    with SmallDisk() as disk:
        with Stage(programs, scene, disk.path) as stage:
            stage.reset()
            before = disk.used_bytes()
            stage.run(stage.words())
            step = max(1, (disk.used_bytes() - before) // PAGE // points) if points else 1
            for pages in range(0, 1 << 20, step):
                stage.reset()
                disk.leave(pages * PAGE)
                done = stage.run(stage.words())
                disk.unlimited()
                tried += 1
                ran = Ran(0, "", done.returncode, max(0, -done.returncode), done.stderr)
                where = f"with {pages * PAGE} bytes left"
                failures += [f"{where}: {sentence}" for sentence in verdict(stage, ran)]
                if ran.exit == 0:
                    return tried, failures
                if "No space left on device" not in ran.stderr:
                    failures.append(f"{where}: {ran.stderr.strip()}")
    return tried, failures


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("build")
    arguments.add_argument("--short", action="store_true")
    arguments.add_argument("--long", action="store_true")  # all is all
    arguments.add_argument("scenes", nargs="*")
    options = arguments.parse_intermixed_args()
    into_own_mounts()
    programs = Programs(os.path.abspath(options.build))
    count = Count("errno")
    if why := why_not(programs):
        count.skip("every scene", why)
        count.finish()
    scenes = [*(s for s in SCENES if not options.scenes or s.name in options.scenes), CARELESS]
    start, total = time.monotonic(), {}
    results = in_parallel(attack, [(programs, scene, SHORT_POINTS if options.short else 0) for scene in scenes])
    for scene, (ways, changed) in zip(scenes, results):
        failures = changed + [failure for _, found in ways.values() for failure in found]
        detail = ", ".join(f"{tried} {way.replace('_', ' ')}" for way, (tried, _) in ways.items())
        for way, (tried, _) in ways.items():
            total[way] = total.get(way, 0) + tried
        if scene is CARELESS:
            missed = [f"{way}: nothing was noticed" for way, (_, found) in ways.items() if not found]
            count.case(scene.name, missed, f"{detail}; {len(failures)} failures")
        else:
            count.case(scene.name, failures, detail)
    if not may_mount():
        count.skip("a full disk", "mounting a tmpfs needs root")
    print(f"errno: {', '.join(f'{n} {way}' for way, n in total.items())} in {time.monotonic() - start:.1f} s")
    count.finish()


if __name__ == "__main__":
    sys.exit(main())
