"""Runs every crash harness in full, one after the other, and counts cases.

usage: run.py BUILD [--long]     a configured build directory; --long: where a harness has more to try, all of it

The suite `crash` of ./dev test runs the same harnesses in short.
"""
import argparse
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HARNESSES = ["calls/test_kill.py", "calls/test_errno.py", "power/run.py"]  # called as this one is
MODEL = "tests/crash/model/crash_model"  # in the build directory
PUBLISHERS = ["tests/crash/publishers/crash_publishers", "--rounds=160"]  # likewise
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$"
                    r"|^\[doctest\] test cases: +\d+ \| +(\d+) passed \| +(\d+) failed \| +(\d+) skipped")
SKIPPED = 77


def run(command):
    """(passed, failed, skipped) of one harness, which prints as it goes."""
    harness = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    counts = None
    for line in harness.stdout:
        if found := COUNTS.match(line):
            counts = [int(number) for number in found.groups() if number is not None]
        else:
            print(line, end="", flush=True)
    passed, failed, skipped = counts or (0, 0, 0)
    return passed, max(failed, harness.wait() not in (0, SKIPPED)), skipped


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("build")
    arguments.add_argument("--long", action="store_true")
    options = arguments.parse_args()
    more = ["--long"] if options.long else []
    programs = [[os.path.join(options.build, MODEL), *more],
                [os.path.join(options.build, PUBLISHERS[0]), *PUBLISHERS[1:]]]
    commands = programs + [[sys.executable, f"{HERE}/{path}", options.build, *more]
                        for path in HARNESSES if os.path.exists(f"{HERE}/{path}")]
    totals = [sum(column) for column in zip(*map(run, commands))]
    print("{} passed, {} failed, {} skipped".format(*totals))
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main())
