"""Every commit reaches the disk in the right order, and every one of its syncs is needed.

usage: test_order.py CAIRN GOLDEN     the command, and the directory of the golden files

First the checker proves itself on written traces: whole they pass; without any one of their syncs, or with any two
steps exchanged that matter, they fail. Then the same over what the command does.
"""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from order import STRACE, breaches, events, synced, without_each_sync

SAVE = """\
9 mkdir("/d/new", 0777) = 0
9 fsync(3</d>) = 0
9 openat(4</d/new>, "p.data-00000-of-00001.tmp", O_RDWR|O_CREAT|O_EXCL, 0666) = 5</d/new/p.data-00000-of-00001.tmp>
9 fallocate(5</d/new/p.data-00000-of-00001.tmp>, 0, 0, 8192) = 0
9 pwrite64(5</d/new/p.data-00000-of-00001.tmp>, "..", 2, 0 <unfinished ...>
10 pwrite64(5</d/new/p.data-00000-of-00001.tmp>, "..", 2, 2) = 2
9 <... pwrite64 resumed>) = 2
9 fsync(5</d/new/p.data-00000-of-00001.tmp>) = 0
9 write(6</d/new/p.index.tmp>, "..", 2) = 2
9 fsync(6</d/new/p.index.tmp>) = 0
9 write(7</d/new/p.cairn.tmp>, "..", 2) = 2
9 fdatasync(7</d/new/p.cairn.tmp>) = 0
9 renameat(4</d/new>, "p.data-00000-of-00001.tmp", 4</d/new>, "p.data-00000-of-00001") = 0
9 fsync(4</d/new>) = 0
9 rename("/d/new/p.index.tmp", "/d/new/p.index") = 0
9 renameat2(AT_FDCWD</d>, "new/p.cairn.tmp", AT_FDCWD</d>, "new/p.cairn", 0) = 0
9 fsync(4</d/new>) = 0
9 unlinkat(4</d/new>, "p.data-00000-of-00002", 0) = 0
9 unlink("/d/new/p.data-00001-of-00002") = 0
9 +++ exited with 0 +++
""".splitlines(keepends=True)

IMPORT = """\
fsync(5</d/p.data-00000-of-00001>) = 0
fsync(6</d/p.index>) = 0
fsync(4</d>) = 0
write(7</d/#99 (deleted)>, "..", 2) = 2
fsync(7</d/#99 (deleted)>) = 0
linkat(AT_FDCWD</d>, "/proc/self/fd/7", 4</d>, "p.cairn.tmp", AT_SYMLINK_FOLLOW) = -1 EEXIST (File exists)
linkat(AT_FDCWD</d>, "/proc/self/fd/7", 4</d>, "p.cairn", AT_SYMLINK_FOLLOW) = 0
fsync(4</d>) = 0
""".splitlines(keepends=True)
# What stood there before was P.index and P.cairn.
PAIRS = {"written save", "convert over an older checkpoint", "merge over a checkpoint", "rename in place"}
IMPORTED = ["/d/p.data-00000-of-00001", "/d/p.index"]


class Cases:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def expect(self, name, right, detail=""):
        self.passed, self.failed = self.passed + bool(right), self.failed + (not right)
        if not right:
            print(f"order: {name}: failed: {detail}")

    def skip(self, name, why):
        self.skipped += 1
        print(f"order: {name}: skipped: {why}")

    def whole_and_without_each_sync(self, name, lines, durable_first):
        pair = True if name in PAIRS else False if name == "export" else None
        self.expect(f"{name}: the order is right", not (found := breaches(lines, durable_first, pair)), found)
        for sync, rest in without_each_sync(lines):
            self.expect(f"{name}: needs {sync}", breaches(rest, durable_first, pair))


def moved(lines, word, before):
    """The trace with the first line that holds `word` put in front of the first that holds `before`."""
    line = next(l for l in lines if word in l)
    rest = [l for l in lines if l is not line]
    at = next(i for i, l in enumerate(rest) if before in l)
    return rest[:at] + [line] + rest[at:]


def check_the_checker(cases):
    cases.whole_and_without_each_sync("written save", SAVE, ())
    cases.whole_and_without_each_sync("written import", IMPORT, IMPORTED)
    for word, before in [("renameat2", "rename("), ('rename("', "renameat("), ("unlinkat", "renameat2"),
                         ('unlink("', "fdatasync"), ("fdatasync", "p.cairn.tmp>, \"..\""),
                         ("fsync(5", "fallocate"), ("renameat(", "fsync(5")]:
        cases.expect(f"{word} must not come before {before}", breaches(moved(SAVE, word, before), (), True))
    in_place = [*SAVE[:-1], '9 openat(4</d/new>, "p.index", O_WRONLY|O_TRUNC) = 8</d/new/p.index>\n']
    cases.expect("a published file must not be written", breaches(in_place, (), True))
    cases.expect("a trace without a commit must not pass", breaches([]))
    failed = [line.replace("fsync(5</d/new/p.data-00000-of-00001.tmp>) = 0", "fsync(5</d/new/p.data-00000-of-00001.tmp>)"
                           " = -1 EIO (Input/output error)") for line in SAVE]
    cases.expect("a sync that failed is none", breaches(failed, (), True))


def may_trace():
    return shutil.which("strace") and subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode == 0


def trace(folder, *command):
    """The trace of a command that must succeed."""
    path = os.path.join(folder, "trace")
    done = subprocess.run([*STRACE, "-o", path, *command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr.strip()}")
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.readlines()


def copy_of(golden, folder):
    """A checkpoint that TensorFlow wrote, in a directory of its own: its prefix."""
    os.makedirs(folder)
    for path in glob.glob(f"{golden}/tensorflow/saver_walk/saved/train2-9.*"):
        shutil.copy(path, folder)
    return f"{folder}/train2-9"


def shards_of(prefix):
    return glob.glob(glob.escape(prefix) + ".data-*")


def scenarios(cairn, golden, folder):
    """(name, trace, files to be durable first) of each way to commit."""
    source = copy_of(golden, f"{folder}/source")
    yield "import", trace(folder, cairn, "import", source), [source + ".index", *shards_of(source)]

    # An export cannot know who wrote the shards, so it syncs them too.
    os.remove(source + ".index")
    yield "export", trace(folder, cairn, "export", source, "--to", "tensorflow"), shards_of(source)

    output = f"{folder}/out/p"
    os.makedirs(f"{folder}/out")
    lines = trace(folder, cairn, "export", source, "--to", "tensorflow", "--output", output)
    yield "export elsewhere", lines, shards_of(source)

    os.link(f"{source}.data-00000-of-00001", f"{folder}/out/r.data-00000-of-00001")
    lines = trace(folder, cairn, "export", source, "--to", "tensorflow", "--output", f"{folder}/out/r")
    yield "export to where the shard is linked already", lines, [*shards_of(source), f"{folder}/out/"]

    lines = trace(folder, cairn, "export", source, "--to", "tensorflow", "--output", f"{folder}/out/q", "--link", "copy")
    yield "export by copying", lines, ()

    os.makedirs(f"{folder}/left")
    left = f"{folder}/left/p.data-00000-of-00001"
    shutil.copyfile(f"{source}.data-00000-of-00001", left)
    lines = trace(folder, cairn, "export", source, "--to", "tensorflow", "--output", f"{folder}/left/p", "--link", "copy")
    yield "export by copying, beside a file that is named like its shard", lines, [f"{folder}/left/"]

    # A plain copy of a directory: import looks at the bytes and refreshes what the index remembers of its files.
    shutil.copytree(f"{folder}/source", f"{folder}/copied", copy_function=shutil.copyfile)
    copied = f"{folder}/copied/train2-9"
    yield "import of a copy", trace(folder, cairn, "import", copied), [copied + ".index", *shards_of(copied)]

    yield "a new latest", trace(folder, cairn, "set-latest", f"{folder}/copied", copied), ()

    target = f"{folder}/new/p"
    yield "convert into a new directory", trace(folder, cairn, "convert", source, target, "--to", "cairn"), ()
    yield ("convert over an older checkpoint",
           trace(folder, cairn, "convert", source, target, "--to", "cairn", "--replace"), ())
    yield ("convert to one index over two",
           trace(folder, cairn, "convert", source, target, "--to", "tensorflow", "--replace"), ())


def edits(cairn, golden, folder):
    """The same of merge and rename, which put new indexes over shards that somebody else wrote."""
    one = copy_of(golden, f"{folder}/one")
    trace(folder, cairn, "convert", one, f"{folder}/two/p", "--to", "cairn")
    trace(folder, cairn, "rename", f"{folder}/two/p", "--regex", "^v=w", "--replace")
    words = [cairn, "merge", one, f"{folder}/two/p", "--output"]
    shards = [*shards_of(one), *shards_of(f"{folder}/two/p")]
    yield "merge", trace(folder, *words, f"{folder}/merged/p"), shards
    yield "merge over a checkpoint", trace(folder, *words, f"{folder}/merged/p", "--replace"), shards
    yield "merge by copying", trace(folder, *words, f"{folder}/copied-merge/p", "--link", "copy"), ()

    rename = [cairn, "rename", one, "--regex", "^v=w"]
    yield "rename elsewhere", trace(folder, *rename, "--output", f"{folder}/renamed/p"), shards_of(one)
    yield "rename of TensorFlow's in place", trace(folder, *rename, "--replace"), [*shards_of(one), f"{folder}/one/"]
    trace(folder, cairn, "import", one)
    rename[-1] = "^w=v"
    yield "rename in place", trace(folder, *rename, "--replace"), [*shards_of(one), f"{folder}/one/"]


def without_work(cairn, golden, folder):
    """(name, trace, files to be synced) of commands that find their work done, by whoever was killed thereafter."""
    source = copy_of(golden, f"{folder}/done")
    files = [source + ".index", *shards_of(source), f"{folder}/done"]
    yield "export of what TensorFlow wrote", trace(folder, cairn, "export", source, "--to", "tensorflow"), files
    trace(folder, cairn, "import", source)
    yield "import of what is imported", trace(folder, cairn, "import", source), files


def after_a_dead_save(cairn, folder):
    """(the directory, the trace of a save) where one before was killed between its indexes' names and their sync."""
    for name in ("tried", "died"):
        subprocess.run([cairn, "save", f"{folder}/{name}/m", "v:int32=1"], check=True, capture_output=True)
    trail = list(events(trace(folder, cairn, "save", f"{folder}/tried/m", "v:int32=2")))
    named = max(at for at, event in enumerate(trail) if event.to.endswith("m.cairn"))
    fatal = 1 + sum(event.kind == "sync" for event in trail[:named])
    kill = ["strace", "-f", "-o", os.devnull, "-e", f"inject=fsync:signal=KILL:when={fatal}"]
    subprocess.run([*kill, cairn, "save", f"{folder}/died/m", "v:int32=2"], capture_output=True)
    return f"{folder}/died", trace(folder, cairn, "save", f"{folder}/died/n", "v:int32=3")


def check_recovery(cases, cairn, folder):
    """The names of the save that died are durable before what they replaced is removed."""
    died, lines = after_a_dead_save(cairn, folder)

    def early(lines):
        trail = list(events(lines))
        removed = [at for at, event in enumerate(trail) if event.kind == "remove" and "m.data-" in event.path]
        return not removed or not synced(trail, died, -1, removed[0])

    cases.expect("a save after one that died: the order is right", not early(lines))
    first = next(line for line in lines if re.search(r"fsync\(\d+<[^>]*/died>\)", line))
    cases.expect("a save after one that died: needs its first sync", early([line for line in lines if line != first]))


def check_the_command(cases, cairn, golden):
    if not may_trace():
        return cases.skip("the command", "strace may not trace here")
    with tempfile.TemporaryDirectory() as folder:
        folder = os.path.realpath(folder)
        try:
            for name, lines, durable_first in [*scenarios(cairn, golden, folder), *edits(cairn, golden, folder)]:
                cases.whole_and_without_each_sync(name, lines, durable_first)
            for name, lines, files in without_work(cairn, golden, folder):
                done = {event.path for event in events(lines) if event.kind == "sync"}
                cases.expect(f"{name}: is durable", done >= set(files), set(files) - done)
            check_recovery(cases, cairn, folder)
        except RuntimeError as why:
            cases.expect("the command", False, why)


def main():
    cases = Cases()
    check_the_checker(cases)
    check_the_command(cases, *map(os.path.abspath, sys.argv[1:3]))
    print(f"{cases.passed} passed, {cases.failed} failed, {cases.skipped} skipped")
    return 1 if cases.failed else 0


if __name__ == "__main__":
    sys.exit(main())
