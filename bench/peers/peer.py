"""What the peers share: answering run.py, one line for one repetition.

A peer stays alive over all repetitions, so that importing it is never timed. It prints its versions, then for each
line "QUESTION<TAB>PATH<TAB>TENSOR" the microseconds that the question took.
"""
import gc
import json
import platform
import sys
import time

REPETITION_NS = 20_000_000


def mean_us(question, path, tensor):
    """Asks until 20 ms have been timed, at least once. What was opened is closed outside of the time."""
    spent = runs = 0
    while spent < REPETITION_NS:
        start = time.perf_counter_ns()
        answer = question(path, tensor)
        spent += time.perf_counter_ns() - start
        runs += 1
        del answer
    return spent / runs / 1000


def serve(versions, questions):
    gc.disable()  # as timeit does
    print(json.dumps({**versions, "python": platform.python_version()}), flush=True)
    for line in sys.stdin:
        question, path, tensor = line.rstrip("\n").split("\t")
        print(mean_us(questions[question], path, tensor), flush=True)
