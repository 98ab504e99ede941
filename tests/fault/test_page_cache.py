"""A model that is larger than memory is verified without pushing the files of others out of the page cache.

usage: test_page_cache.py CAIRN BUILD     the command, and a directory on a disk

The command runs in a cgroup whose memory is smaller than the model. Before, it reads a file that stands for another
program's. Afterwards the kernel is asked what of both is in the page cache (cachestat). `cat` of the model shows that
the cgroup pushes out what it must make room for; otherwise the test would prove nothing.
"""
import ctypes
import json
import os
import struct
import subprocess
import sys
import tempfile

MIB = 1 << 20
LIMIT_BYTES, MODEL_BYTES, OTHER_BYTES = 256 * MIB, 320 * MIB, 80 * MIB
CACHESTAT = 451
# Version 2, version 1: where groups are made, and the file of the limit.
CGROUPS = (("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"))


class Skip(Exception):
    pass


def resident_bytes(path):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path, "rb") as file:
        span, answer = (ctypes.c_uint64 * 2)(0, os.path.getsize(path)), (ctypes.c_uint64 * 5)()
        if libc.syscall(CACHESTAT, file.fileno(), span, answer, 0) != 0:
            raise Skip("the kernel does not say what is in the page cache")
    return answer[0] * os.sysconf("SC_PAGE_SIZE")


def drop(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class Group:
    """A cgroup with a limit of memory."""

    def __init__(self):
        for root, limit in CGROUPS:
            self.path = os.path.join(root, f"cairn-test-{os.getpid()}")
            try:
                os.mkdir(self.path)
                with open(os.path.join(self.path, limit), "r+", encoding="ascii") as file:
                    file.write(str(LIMIT_BYTES))
                return
            except OSError:
                if os.path.isdir(self.path):
                    os.rmdir(self.path)
        raise Skip("no cgroup with a limit of memory can be made here")

    def run(self, *commands):
        """One after the other, in the group. What its files hold in the page cache is charged to it."""
        text = "echo $$ > \"$0\"/cgroup.procs && " + " && ".join(commands)
        return subprocess.run(["sh", "-c", text, self.path], capture_output=True, text=True, check=True).stdout

    def close(self):
        os.rmdir(self.path)


def make_model(cairn, path):
    """A safetensors file of random bytes, and its FILE.cairn with sums."""
    tensors = MODEL_BYTES // MIB
    header = json.dumps({f"t{i:03}": {"dtype": "U8", "shape": [MIB], "data_offsets": [i * MIB, (i + 1) * MIB]}
                         for i in range(tensors)}).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for _ in range(tensors):
            file.write(os.urandom(MIB))
    subprocess.run([cairn, "import", path], stdout=subprocess.DEVNULL, check=True)


def left_of(group, model, other, command):
    """Bytes of the two files that are in the page cache after the other one was read, and then the command ran."""
    for path in (model, other):
        drop(path)
    out = group.run(f"cat '{other}' > /dev/null", command)
    return resident_bytes(model), resident_bytes(other), out


def check(cairn, scratch):
    model, other = os.path.join(scratch, "m.safetensors"), os.path.join(scratch, "other")
    with open(other, "wb") as file:
        file.write(os.urandom(OTHER_BYTES))
    drop(other)
    if resident_bytes(other) != 0:
        raise Skip("what is in the page cache cannot be dropped here")
    make_model(cairn, model)
    group = Group()
    try:
        of_model, of_other, _ = left_of(group, model, other, f"cat '{model}' > /dev/null")
        if of_other > OTHER_BYTES // 2:
            raise Skip("the limit of a cgroup pushes nothing out of the page cache here")
        of_model, of_other, out = left_of(group, model, other, f"'{cairn}' verify '{model}'")
    finally:
        group.close()
    print(f"verified {MODEL_BYTES // MIB} MiB in {LIMIT_BYTES // MIB} MiB: of it {of_model / MIB:.1f} MiB stayed in the page"
          f" cache, of the other file {of_other / MIB:.1f} of {OTHER_BYTES // MIB} MiB")
    return "whole" in out and of_other > OTHER_BYTES * 9 // 10 and of_model < 32 * MIB


def main():
    cairn, build = sys.argv[1:]
    try:
        with tempfile.TemporaryDirectory(dir=build) as scratch:
            good = check(cairn, scratch)
    except Skip as why:
        print(f"page cache: skipped: {why}")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    print(f"{int(good)} passed, {int(not good)} failed, 0 skipped")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
