"""An open asks the system a few questions, and no more: what a time cannot show, since each costs less than it varies.

usage: test_open_calls.py CAIRN GOLDEN     the command, and the directory of the golden files

A small index is read, not mapped; a file's size and times are asked once.
"""
import os
import shutil
import subprocess
import sys
import tempfile

# The directory; is P.cairn there; P.cairn: open, look, read; P.index and the shard: open, look; map the shard and look
# once more before that.
CALLS_MAX = 11
QUESTIONS = "open,openat,newfstatat,fstat,stat,statx,faccessat,faccessat2,pread64,mmap"


def questions(cairn, prefix):
    """The calls from the first that names the directory to the one that maps the shard."""
    directory = os.path.dirname(prefix)
    command = ["strace", "-f", "-y", "-e", "trace=" + QUESTIONS, cairn, "ls", prefix]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if directory in line.split(" = ")[0]]
    last = max(i for i, line in enumerate(lines) if "mmap(" in line)
    return lines[:last + 1]


def main():
    cairn, golden = sys.argv[1:]
    traces = shutil.which("strace") and subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode == 0
    if not traces:
        print("open calls: skipped: strace may not trace here")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        scratch = os.path.realpath(scratch)
        for suffix in (".index", ".data-00000-of-00001"):
            shutil.copy(f"{golden}/tensorflow/saver_walk/saved/train2-9{suffix}", scratch)
        prefix = os.path.join(scratch, "train2-9")
        subprocess.run([cairn, "import", prefix], stdout=subprocess.DEVNULL, check=True)
        calls = questions(cairn, prefix)
    mapped = [line for line in calls if "mmap(" in line and ".cairn>" in line]
    good = len(calls) <= CALLS_MAX and not mapped
    if not good:
        print(f"open calls: {len(calls)} calls, at most {CALLS_MAX} were expected:", *calls, sep="\n  ")
    print(f"{int(good)} passed, {int(not good)} failed, 0 skipped")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
