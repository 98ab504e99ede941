"""Takes each sync out of the sources in turn and demands that the order of a commit or the model of a disk turns red.

usage: sync_mutants.py     in a clean checkout; works on a copy of it, and takes some minutes

Removing lines from a trace, or operations from a recording, shows that the checkers need each of them. This shows that
each sync of the sources is in one of them at all.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYNC = re.compile(r"\bsync\(\)|\bsync_payload\(")
# What a line becomes without its sync: a check that is none, an early success, a result that is always good.
WITHOUT = [(re.compile(r"CAIRN_CHECK\(.*\);"), ";"), (re.compile(r"return .*"), "return {};"),
           (re.compile(r"= .*sync\(\)"), "= Result<void>()")]


def sites(root):
    """(file, line number, the line without its sync) of each call."""
    for path in sorted(glob.glob(f"{root}/lib/*/*.cc")):
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file):
                called = SYNC.search(line) and "Result<void> " not in line and not line.lstrip().startswith("//")
                for pattern, replacement in WITHOUT if called else ():
                    if pattern.search(line):
                        yield path, number, pattern.sub(replacement, line)
                        break


MODEL = "tests/crash/model/crash_model"
SUITES = ([sys.executable, "tests/fault/test_order.py", "build/tools/cairn", "tests/golden"],
          [f"build/{MODEL}", "-tc=a power cut*"])


def suite_fails(root):
    subprocess.run(["ninja", "-C", "build", "tools/cairn", MODEL], cwd=root, check=True, stdout=subprocess.DEVNULL)
    return any(subprocess.run(suite, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0
               for suite in SUITES)


def red(root, path, number, mutated):
    """Whether the suite fails with that line changed. The file is put back."""
    with open(path, encoding="utf-8") as file:
        lines = file.readlines()
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines([*lines[:number], mutated, *lines[number + 1:]])
        return suite_fails(root)
    finally:
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(lines)


def main():
    counts = {True: 0, False: 0}
    with tempfile.TemporaryDirectory() as folder:
        root = f"{folder}/cairn"
        subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
        subprocess.run(["meson", "setup", "build", "-Dtests=enabled", "-Dbench=disabled"], cwd=root, check=True,
                       stdout=subprocess.DEVNULL)
        if suite_fails(root):
            sys.exit("sync_mutants: the suite fails without any mutant")
        for path, number, mutated in list(sites(root)):
            caught = red(root, path, number, mutated)
            counts[caught] += 1
            print(f"{'caught' if caught else 'NOT CAUGHT'}: {os.path.relpath(path, root)}:{number + 1}", flush=True)
    print(f"{counts[True]} passed, {counts[False]} failed, 0 skipped")
    return 1 if counts[False] or not counts[True] else 0


if __name__ == "__main__":
    sys.exit(main())
