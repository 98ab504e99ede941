"""Writes lib/order.ld: which functions of libcairn.so lie side by side, because opening a checkpoint runs them.

usage: order.py [--build DIR]

A new process waits for a page fault at each part of the library that it runs for the first time. Small checkpoints in
each format are listed and verified under valgrind, and the linker puts what ran in front of all the rest: what opens
P.cairn, what each other format needs besides, then what reads. The linker ignores names that a later version or another
compiler does not have; a house rule says when they are too many. docs/performance.md says what it is worth.
"""
import argparse
import itertools
import os
import re
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(ROOT, "tests", "golden")
WALK = os.path.join(GOLDEN, "tensorflow", "saver_walk", "saved")


def checkpoints(cairn, folder):
    """One in each format, in the order in which its functions shall lie."""
    for form in ("cairn", "safetensors"):
        subprocess.run([cairn, "convert", os.path.join(WALK, "train2-9"), os.path.join(folder, form, "m"), "--to", form],
                       check=True, capture_output=True)
    return [os.path.join(folder, "cairn", "m"), os.path.join(folder, "safetensors", "m.safetensors"), WALK,
            os.path.join(GOLDEN, "pytorch", "module_state.pth"), os.path.join(GOLDEN, "gguf", "types.gguf")]


def functions_run(command, folder):
    """The mangled names of all that it called, in every library."""
    out = os.path.join(folder, "callgrind.out")
    subprocess.run(["valgrind", "-q", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={out}", *command],
                   check=True, capture_output=True)
    with open(out, encoding="utf-8") as file:
        found = re.findall(r"^c?fn=\(\d+\) ([^'\n]+)", file.read(), re.M)
    return set(found)


def functions_of(library):
    """Each name of a function, with all names of the same function: constructors have several."""
    listed = subprocess.run(["nm", library], check=True, capture_output=True, text=True).stdout
    at = {}
    for address, name in re.findall(r"^([0-9a-f]+) [tTwW] (\S+)$", listed, re.M):
        at.setdefault(address, []).append(name)
    return {name: names for names in at.values() for name in names}


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--build", default=os.path.join(ROOT, "build"))
    build = os.path.abspath(arguments.parse_args().build)
    cairn = os.path.join(build, "tools", "cairn")
    known = functions_of(os.path.join(build, "lib", "libcairn.so"))
    order, seen = [], set()
    with tempfile.TemporaryDirectory() as folder:
        for verb, path in itertools.product(("ls", "verify"), checkpoints(cairn, folder)):
            run = functions_run([cairn, verb, path], folder) & known.keys()
            new = {name for ran in run for name in known[ran]} - seen
            seen |= new
            order += sorted(new)
            print(f"{len(new)} names more: cairn {verb} {os.path.basename(path)}")
    lines = ["/* Written by ./dev order: what opening a checkpoint runs lies side by side. */", "SECTIONS", "{",
             "  .text.open :", "  {", *(f"    *(.text.{name})" for name in order), "  }", "}", "INSERT BEFORE .text;"]
    with open(os.path.join(ROOT, "lib", "order.ld"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
