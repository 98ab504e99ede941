"""Runs the tests that meson knows, and counts cases instead of programs.

usage: run.py BUILD[=SUITE,…]…     each a configured build directory, all of its suites or some

A program may count its own cases, as doctest and Python's unittest do in their last lines, or in a line
`N passed, N failed, N skipped`. Any other is one case, judged by its exit status (77: skipped). A program that failed
counts at least one failure, whatever it printed.
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

DOCTEST = re.compile(r"test cases: +\d+ \| +(\d+) passed \| +(\d+) failed(?: \| +(\d+) skipped)?")
UNITTEST = re.compile(r"^Ran (\d+) tests? in .*\n\n(?:OK|FAILED|NO TESTS RAN)(.*)$", re.M)
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
SKIPS = re.compile(r".*\bskipped[: ] *\S.*")  # lines that say why
SKIPPED = 77


def tests_of(argument):
    build, _, suites = argument.partition("=")
    wanted = set(suites.split(",")) if suites else None
    listed = json.loads(subprocess.check_output(["meson", "introspect", "--tests", build]))
    for test in listed:
        test["suites"] = {suite.split(":")[-1] for suite in test["suite"]}
        test["label"] = f"{build} {'/'.join(sorted(test['suites']))} {test['name']}"
    return build, [t for t in listed if wanted is None or t["suites"] & wanted]


def compile_programs(build, tests):
    """Builds no more than these tests need."""
    root = os.path.realpath(build) + os.sep
    targets = json.loads(subprocess.check_output(["meson", "introspect", "--targets", build]))
    needed = {target for test in tests for target in test["depends"]}
    files = [name for target in targets if target["id"] in needed for name in target["filename"]]
    values = [value for test in tests for value in test["env"].values()]
    words = [word for test in tests for word in test["cmd"]] + os.pathsep.join(values).split(os.pathsep)
    words = {os.path.normpath(word) for word in files + words}
    programs = sorted(word.removeprefix(root) for word in words
                      if word.startswith(root) and not os.path.isdir(word))  # meson adds library paths
    if programs:
        subprocess.run(["ninja", "-C", build, *programs], check=True)


def count(output, status):
    matches = DOCTEST.findall(output) or [from_unittest(*m) for m in UNITTEST.findall(output)] or COUNTS.findall(output)
    if not matches:
        return (status == 0, status not in (0, SKIPPED), status == SKIPPED)
    passed, failed, skipped = (sum(int(m[i] or 0) for m in matches) for i in range(3))
    return passed, max(failed, status not in (0, SKIPPED)), skipped


def from_unittest(ran, details):
    found = {word: int(number) for word, number in re.findall(r"(\w+)=(\d+)", details)}
    skipped = found.get("skipped", 0)
    failed = min(found.get("failures", 0) + found.get("errors", 0), int(ran) - skipped)  # parts of a case count one each
    return int(ran) - failed - skipped, failed, skipped


def run(test):
    start = time.monotonic()
    try:
        done = subprocess.run(test["cmd"], env={**os.environ, **test["env"]}, cwd=test["workdir"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=4 * test["timeout"] or None)
        output, status = done.stdout.decode(errors="replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        output, status = (late.stdout or b"").decode(errors="replace") + "\ntimed out", 1
    counts = count(output, status)
    details = output.splitlines() if counts[1] else SKIPS.findall(output)
    print(f"{test['label']}: {sentence(counts)} ({time.monotonic() - start:.1f} s)", *details, sep="\n    ", flush=True)
    return counts


def sentence(counts):
    return "{:d} passed, {:d} failed, {:d} skipped".format(*counts)


def main(arguments):
    tests = []
    for argument in arguments:
        build, chosen = tests_of(argument)
        compile_programs(build, chosen)
        tests += chosen
    crowd = [t for t in tests if t["is_parallel"]]
    crowd.sort(key=lambda test: -test["timeout"])  # else a long one that comes last runs alone
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(run, crowd))
    results += [run(t) for t in tests if not t["is_parallel"]]
    total = [sum(column) for column in zip(*results)] or [0, 0, 0]
    print(sentence(total))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
