"""Differential runs by hand: generated checkpoints, read by the library and by TensorFlow.

usage: run.py READ_DRIVER [--long] [--seed=N] [--count=N | --case=N]

READ_DRIVER is build/tests/interop/read_driver, or one with sanitizers. Wants the Python of .venv.
"""
import argparse
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from differential import theirs  # noqa: E402
from differential.judge import brief  # noqa: E402
from differential.rounds import Rounds  # noqa: E402

LONG = 20_000


def show(outcome):
    print(outcome.case.mutation, outcome.case.facts.header, *outcome.case.facts.entries, sep="\n  ")
    print("the library:", brief(outcome.answer, 4000), "TensorFlow:", brief(outcome.other, 4000), sep="\n")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("driver")
    arguments.add_argument("--long", action="store_true")
    arguments.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    arguments.add_argument("--count", type=int, default=2000)
    arguments.add_argument("--case", type=int)
    given = arguments.parse_args()
    print(f"seed {given.seed}", flush=True)
    begun = time.monotonic()
    tensorflow = theirs.TensorFlow()
    rounds = Rounds(given.driver, tensorflow, given.seed)
    if given.case is not None:
        rounds.run([given.case], show)
    else:
        rounds.run(range(LONG if given.long else given.count))
    tensorflow.close()
    for what, count in rounds.met.most_common():
        print(f"{count:8} {what}")
    print(*rounds.failures, f"{len(rounds.failures)} wrong, {time.monotonic() - begun:.0f} s", sep="\n")
    return 1 if rounds.failures else 0


if __name__ == "__main__":
    sys.exit(main())
