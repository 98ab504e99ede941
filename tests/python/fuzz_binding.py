"""Random calls of the whole public interface of cairn_store, right and wrong ones, in threads.

usage: fuzz_binding.py EXTENSION [--seed=N] [--seconds=S | --calls=N] [--threads=N] [--lsan]

`--calls` counts those of each thread. The same seed makes the same calls, as far as threads allow: each thread has its own
random numbers, folder and objects. What threads share: some open checkpoints, a Saver, a Watcher, a prefix that all of
them save, and a list through which they hand objects to each other.

A right call (fuzz_calls.py) must succeed, and its values are compared with numpy's copies; so are those of all objects
that are held, at random moments, when they are dropped, after their files were removed. A wrong call (fuzz_wrong.py) gets
arguments of wrong types, sizes and values, and must end with an exception that is documented or Python's own for such
an argument. Garbage is collected at random moments. At the end, no file may be mapped or open, and with
`--lsan` (leaks.py) no memory may be lost.
"""
import argparse
import collections
import faulthandler
import gc
import os
import random
import sys
import tempfile
import threading
import time
import traceback
import warnings

import run

THRESHOLD = 60  # new objects until garbage is collected: at some moment of each call


class Shared:
    """What all threads use, and what they are told."""

    def __init__(self, folder, seed):
        self.folder = folder
        self.seed = seed
        self.handed = collections.deque()  # objects for another thread
        self.failures = []
        self.stop = threading.Event()

    def fail(self, player, error):
        told = "".join(traceback.format_exception(error))
        log = "\n    ".join(player.log)
        self.failures.append(f"seed {self.seed}, thread {player.number}, call {player.calls}: {told}  last calls:\n    {log}")
        self.stop.set()


class Held:
    """An object of cairn_store, and what it must say as long as it lives."""

    def __init__(self, thing, check):
        self.thing = thing
        self.check = check


class Player:
    """One thread: its random numbers, its files and what it holds."""

    def __init__(self, number, shared):
        self.number = number
        self.shared = shared
        self.random = random.Random(f"{shared.seed}/{number}")
        self.folder = os.path.join(shared.folder, f"thread-{number}")
        os.mkdir(self.folder)
        self.log = collections.deque(maxlen=8)
        self.calls = 0
        self.files = 0
        self.stored = []
        self.held = []
        self.places = {}  # what a kind of call keeps for itself

    def path(self, ending=""):
        self.files += 1
        return os.path.join(self.folder, f"m-{self.files}{ending}")

    def note(self, *words):
        self.log.append(" ".join(word if isinstance(word, str) else ascii(word)[:200] for word in words))

    def hold(self, thing, check):
        """Keeps an object; objects that are too many go in random order, some by another thread."""
        self.held.append(Held(thing, check))
        del thing, check
        while len(self.held) > 40:
            self.drop()

    def drop(self):
        if not self.held:
            return
        one = self.held.pop(self.random.randrange(len(self.held)))
        if self.random.randrange(8) == 0:
            self.shared.handed.append(one)
            return
        one.check(one.thing)

    def take(self):
        """Checks and drops what another thread has handed over."""
        try:
            one = self.shared.handed.popleft()
        except IndexError:
            return
        one.check(one.thing)

    def play(self, limit):
        import fuzz_calls
        import fuzz_wrong
        kinds = [*fuzz_calls.CALLS, (fuzz_wrong.wrong, 25), (Player.drop, 6), (Player.take, 2),
                 (lambda _: gc.collect(), 1)]
        calls, weights = zip(*kinds)
        try:
            while not self.shared.stop.is_set() and not limit(self.calls):
                self.calls += 1
                call = self.random.choices(calls, weights)[0]
                self.note(call.__name__)
                call(self)
            while self.held:
                self.drop()
        except BaseException as error:
            self.shared.fail(self, error)


def left_over(folder):
    """What of the folder is still mapped or open."""
    with open("/proc/self/maps") as file:
        found = [line.strip() for line in file if folder in line]
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue
        if folder in target:
            found.append(f"descriptor {number}: {target}")
    return found


def fuzz(seed, limit, threads, place=None):
    """Plays until the limit, in a new folder in `place`. How many calls were made, and what went wrong."""
    import fuzz_calls
    settings = gc.get_threshold(), sys.getswitchinterval(), os.getcwd()
    with tempfile.TemporaryDirectory(dir=place) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python and nanobind about wrong arguments
        shared = Shared(os.path.realpath(folder), seed)
        gc.set_threshold(THRESHOLD)
        sys.setswitchinterval(1e-4)
        os.chdir(folder)  # a relative path among wrong arguments leads here
        try:
            fuzz_calls.prepare(shared)
            players = [Player(number, shared) for number in range(threads)]
            running = [threading.Thread(target=player.play, args=(limit,)) for player in players]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()
            calls = sum(player.calls for player in players)
            while shared.handed and not shared.failures:
                players[0].take()
        finally:
            gc.set_threshold(*settings[0])
            sys.setswitchinterval(settings[1])
            os.chdir(settings[2])
        failures = shared.failures
        del shared, players, running
        gc.collect()
        if not failures and (left := left_over(folder)):
            failures.append(f"seed {seed}: still mapped or open after everything was dropped:\n  " + "\n  ".join(left))
    return calls, failures


def limit_of(seconds, calls=None):
    if calls is not None:
        return lambda made: made >= calls
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() > end


def told(words):
    """Fuzzes, and says what happened; whether all went well."""
    with tempfile.TemporaryDirectory() as folder:
        run.stage(folder, words.extension)
        print(f"seed {words.seed}", flush=True)
        calls, failures = fuzz(words.seed, limit_of(words.seconds, words.calls), words.threads)
    print(*failures, sep="\n", end="\n" if failures else "")
    print(f"{calls} calls in {words.threads} threads, {len(failures)} failures", flush=True)
    return not failures


def main():
    run.into_venv()
    faulthandler.enable()
    parser = argparse.ArgumentParser()
    parser.add_argument("extension")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--calls", type=int)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--lsan", action="store_true")
    words = parser.parse_args()
    if not told(words):
        return 1
    if words.lsan:
        import leaks
        leaks.end_with(leaks.lost_memory())
    return 0


if __name__ == "__main__":
    sys.exit(main())
