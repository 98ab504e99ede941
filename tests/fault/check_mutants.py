"""Takes single checks out of the decoders, one by one, and demands that a test turns red.

usage: check_mutants.py [FILE…]     in a clean checkout; works on a copy of it, and takes half an hour

A check is a condition whose answer is a refusal: `if (…) return corrupt(…)`, or `return … || refuse(…)`. Without it,
the program goes on as if the file were whole. sync_mutants.py does the same with the syncs of a commit.
"""
import glob
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "tidy"))

from source import code_only

# Whose tests are asked first, and then whose: programs of tests/unit and tests/hostile.
TESTS = {
    "format/cairn/index_": ["unit_index"],
    "format/cairn/journal": ["unit_repair", "unit_saver"],
    "format/safetensors/": ["unit_safetensors"],
    "format/tensorflow/bundle": ["unit_bundle"],
    "format/tensorflow/object_": ["unit_object_graph"],
    "format/tensorflow/state_text": ["unit_state_text"],
    "format/tensorflow/strings": ["unit_strings"],
    "format/tensorflow/table_reader": ["unit_table"],
    "format/tensorflow/v1": ["unit_v1"],
    "format/tensorflow/wire": ["unit_bundle", "unit_v1"],
}
# No input can tell these from the original: what they refuse is refused by another check as well. The line, and why.
EQUIVALENT = {
    ("format/cairn/index_check.cc", "if (names.size() > kOpaqueDtypesMax) {"):
        "a record's two bytes cannot say the number of one more, and an opaque dtype of no tensor is refused",
}
REFUSAL = r"(?:return (?:corrupt|unsupported|damaged|refuse|(?:tokens|first)\.wrong|Reason)\b|throw Malformed)"
IF = re.compile(r"\bif \(")
OR = re.compile(r"\breturn ((?:(?!;|\breturn\b).)*?)\|\|\s+refuse\(", re.S)


def end_of(text, at):
    """Behind the parenthesis that closes the one at `at`."""
    depth = 0
    for position in range(at, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position + 1
    raise ValueError("a parenthesis stays open")


def checks(text):
    """(line, the text without that check) of each check."""
    code = code_only(text)
    for found in IF.finditer(code):
        begin = found.end() - 1
        end = end_of(code, begin)
        if re.match(r"\s*\{?\s*" + REFUSAL, code[end:]) and ";" not in code[begin:end]:
            yield text.count("\n", 0, begin) + 1, f"{text[:begin]}(false && {text[begin:end]}){text[end:]}"
    for found in OR.finditer(code):
        begin = found.start(1)
        yield text.count("\n", 0, begin) + 1, f"{text[:begin]}true || {text[begin:]}"


def tests_of(file):
    return next((tests for start, tests in TESTS.items() if file.startswith(start)), None)


def program(name):
    return f"tests/{name.split('_')[0]}/{name}"


def red(root, tests):
    """Whether one of the tests fails, or no longer ends."""
    for name in tests:
        subprocess.run(["ninja", "-C", "build", program(name)], cwd=root, check=True, stdout=subprocess.DEVNULL)
        try:
            done = subprocess.run([f"build/{program(name)}"], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  timeout=120)
        except subprocess.TimeoutExpired:
            return True
        if done.returncode != 0:
            return True
    return False


def main():
    wanted = sys.argv[1:]
    counts = {True: 0, False: 0}
    with tempfile.TemporaryDirectory() as folder:
        root = f"{folder}/cairn"
        subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
        subprocess.run(["meson", "setup", "build", "-Dtests=enabled", "-Dbench=disabled", "-Doptimization=0"], cwd=root,
                       check=True, stdout=subprocess.DEVNULL)
        files = [os.path.relpath(path, root) for path in sorted(glob.glob(f"{root}/format/**/*.cc", recursive=True))]
        for file in files:
            tests = tests_of(file)
            if tests is None or wanted and file not in wanted:
                continue
            if red(root, tests):
                sys.exit(f"check_mutants: {file}: {', '.join(tests)} fails without any mutant")
            with open(f"{root}/{file}", encoding="utf-8") as source:
                whole = source.read()
            for line, mutant in checks(whole):
                with open(f"{root}/{file}", "w", encoding="utf-8") as source:
                    source.write(mutant)
                caught = red(root, tests)
                known = EQUIVALENT.get((file, whole.splitlines()[line - 1].strip()))
                counts[caught or known is not None] += 1
                verdict = "caught" if caught else f"the same ({known})" if known else "NOT CAUGHT"
                print(f"{verdict}: {file}:{line}", flush=True)
            with open(f"{root}/{file}", "w", encoding="utf-8") as source:
                source.write(whole)
    print(f"{counts[True]} passed, {counts[False]} failed, 0 skipped")
    return 1 if counts[False] or not counts[True] else 0


if __name__ == "__main__":
    sys.exit(main())
