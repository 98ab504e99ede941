"""A process that is killed at any of its system calls loses no checkpoint.

usage: test_kill.py BUILD [--short | --long] [SCENE…]     the build directory; every k-th point only; some scenes only

For each scene, each system call and both sides of it, the process dies there. Then every name in the directory holds
what it held before or what it was to hold, all sums right, for Cairn and for TensorFlow; and the same command, done
again, succeeds and leaves nothing over.
"""
import argparse
import os
import sys
import time

from scenes import OVERWRITE, SCENES, Count, Programs, Stage, in_parallel, why_not

SHORT_POINTS = 24  # of each scene, about
SIDES = ("kill-entry", "kill-exit")
# rt_sigtimedwait, in a thread of the command's, and exit_group: a process may not return from them.
WITHOUT_EXIT = {"call 128", "call 231"}


def attack(programs, scene, points):
    """(points tried, one of how many, calls, failures) of one scene. `points`: how many, about; 0: all."""
    tried, failures = 0, []
    with Stage(programs, scene) as stage:
        stage.reset()
        calls = stage.inject("count").calls
        step = max(1, len(SIDES) * calls // points) if points else 1
        for point in range(0, len(SIDES) * calls, step):
            at, side = point // 2 + 1, SIDES[point % 2]
            stage.reset()
            ran = stage.inject(side, at)
            if not ran.hit:
                continue  # the command's thread that waits for signals made a call fewer this time: none was disturbed
            tried += 1
            where = f"{side} of call {at}, {ran.hit}"
            if ran.signal != 9 and not (side == "kill-exit" and ran.hit in WITHOUT_EXIT):
                failures.append(f"{where}: was not killed, but ended with {ran.exit}")
            failures += [f"{where}: {sentence}" for sentence in stage.losses(stage.look())]
            failures += [f"{where}: {sentence}" for sentence in stage.cannot_go_on()]
        stage.reset()
        if stage.look() != stage.before:
            failures.append("a published file was written to")
    return tried, step, calls, failures


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("build")
    arguments.add_argument("--short", action="store_true")
    arguments.add_argument("--long", action="store_true")  # all is all
    arguments.add_argument("scenes", nargs="*")
    options = arguments.parse_intermixed_args()
    programs = Programs(os.path.abspath(options.build))
    count = Count("kill")
    if why := why_not(programs):
        count.skip("every scene", why)
        count.finish()
    scenes = [s for s in SCENES if not options.scenes or s.name in options.scenes]
    points = SHORT_POINTS if options.short else 0
    start, total = time.monotonic(), 0
    results = in_parallel(attack, [(programs, scene, points) for scene in [*scenes, OVERWRITE]])
    for scene, (tried, step, calls, failures) in zip([*scenes, OVERWRITE], results):
        total += tried
        every = f", 1 of {step}" if step > 1 else ""
        detail = f"{tried} points at {calls} calls{every}, {len(failures)} failures"
        if scene is OVERWRITE:
            count.case(scene.name, [] if failures else ["nothing was noticed"], detail)
        else:
            count.case(scene.name, failures, detail)
    print(f"kill: {total} points in {time.monotonic() - start:.1f} s")
    count.finish()


if __name__ == "__main__":
    sys.exit(main())
