"""A disk that fails while a checkpoint is salvaged costs the tensors that lie there, and no others.

usage: test_salvage.py CAIRN GOLDEN     the command, and the directory of the golden files

strace lets each read of one file fail, as a bad sector does. A shard that cannot be read loses its tensors; an index
that cannot be read gives way to the other; what the caller could mend loses nothing and is an error.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

SHARD = "shard-42.data-00001-of-00003"


class Case:
    """An imported checkpoint of TensorFlow's in three shards, and the command over it."""

    def __init__(self, cairn, golden, scratch):
        self.cairn, self.dir = cairn, scratch
        for name in os.listdir(f"{golden}/tensorflow/sharded"):
            shutil.copy(f"{golden}/tensorflow/sharded/{name}", scratch)
        self.run("import", f"{scratch}/shard-42")
        listed = json.loads(self.run("ls", f"{scratch}/shard-42", "--json").stdout)["tensors"]
        self.lying_there = [tensor["name"] for tensor in listed if tensor["shard"] == SHARD]
        self.count = len(listed)

    def run(self, *words):
        return subprocess.run([self.cairn, *words], capture_output=True, text=True)

    def salvage(self, file, call, error, output):
        """(exit code, names of lost tensors or None, stderr), where this call fails on this file."""
        command = ["strace", "-f", "-qq", "-o", os.devnull, "-P", f"{self.dir}/{file}", "-P", file,
                   "-e", f"trace={call}", "-e", f"inject={call}:error={error}",
                   self.cairn, "salvage", f"{self.dir}/shard-42", f"{self.dir}/{output}", "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        found = json.loads(done.stdout) if done.stdout else None
        return done.returncode, found and [lost["name"] for lost in found["lost"]], done.stderr


def a_bad_sector_loses_its_tensors(case):
    code, lost, _ = case.salvage(SHARD, "pread64", "EIO", "a")
    whole = case.run("verify", f"{case.dir}/a").returncode == 0
    return code == 1 and lost == case.lying_there and 0 < len(lost) < case.count and whole


def an_index_that_cannot_be_read_gives_way_to_the_other(case):
    code, lost, said = case.salvage("shard-42.cairn", "pread64", "EIO", "b")
    other, none, _ = case.salvage("shard-42.index", "pread64", "EIO", "c")
    return (code, lost, other, none) == (0, [], 0, []) and "shard-42.index is whole and was used" in said


def what_the_caller_can_mend_loses_nothing(case):
    results = [case.salvage(SHARD, "openat", error, "d") for error in ("EACCES", "EMFILE")]
    return all(code == 2 and lost is None for code, lost, _ in results) and not os.path.exists(f"{case.dir}/d.cairn")


def main():
    cairn, golden = sys.argv[1:]
    inject = ["strace", "-o", os.devnull, "-e", "inject=pread64:error=EIO:when=9999", "true"]
    if not shutil.which("strace") or subprocess.run(inject, capture_output=True).returncode != 0:
        print("salvage: skipped: strace may not trace here")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    passed = failed = 0
    for promise in (a_bad_sector_loses_its_tensors, an_index_that_cannot_be_read_gives_way_to_the_other,
                    what_the_caller_can_mend_loses_nothing):
        with tempfile.TemporaryDirectory() as scratch:
            good = promise(Case(cairn, golden, os.path.realpath(scratch)))
        passed, failed = passed + good, failed + (not good)
        print(f"salvage: {promise.__name__.replace('_', ' ')}{'' if good else ': failed'}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
