"""What the peers in Python share: the loop that answers, and what is timed. README.md has the protocol.

A question takes the request and gives back what is timed, a function; what must be there before (names, destinations,
the arrays that are saved) it gets first. What the function returns stays alive until the clock has stopped, so that
closing is not timed, and is gone before the next answer, so that no mapping keeps a file in the page cache.

Import this before the library that is asked: from here on, what that prints goes to stderr.
"""
import dataclasses
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
import time

QUESTIONS = ("open", "list", "one", "touch", "copy", "restore", "restore_mmap", "save", "save_sync", "prepare")
PAGE = 4096

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # a peer that finds a GPU would put tensors there
answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
os.dup2(2, 1)


class Skip(Exception):
    """The peer does not answer this, for a reason in a few words."""


@dataclasses.dataclass(frozen=True)
class Request:
    question: str
    path: str = ""
    tensor: str = ""
    out: str = ""
    min_ms: float = 20
    payload: str = ""


def mean_us(ask, min_ms):
    """Asks until `min_ms` have been timed, at least once."""
    spent = runs = 0
    while runs == 0 or spent < min_ms * 1e6:
        start = time.perf_counter_ns()
        answer = ask()
        spent += time.perf_counter_ns() - start
        runs += 1
        del answer
    return spent / runs / 1000


def mean_us_of_saves(save, request):
    """Like mean_us: each save gets a new directory, made before and removed after its time."""
    spent = runs = 0
    while runs == 0 or spent < request.min_ms * 1e6:
        with tempfile.TemporaryDirectory(dir=request.out) as directory:
            start = time.perf_counter_ns()
            answer = save(directory)
            if request.question == "save_sync":
                sync(directory)
            spent += time.perf_counter_ns() - start
            runs += 1
            del answer
    return spent / runs / 1000


def sync(directory):
    """Syncs what lies below, then the directory that names it."""
    for entry in os.scandir(directory):
        if entry.is_dir():
            sync(entry.path)
        else:
            sync_one(entry.path)
    sync_one(directory)


def sync_one(path, forget=False):
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    if forget:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def prepared(request, suffix, make):
    """The copy of a payload in a peer's own format, made once. It leaves the page cache and comes back by reading, as
    the payloads do: how the cache was filled decides what touching costs."""
    path = os.path.join(request.out, os.path.basename(request.path) + suffix)
    if not os.path.exists(path):
        make(path + ".part")
        os.rename(path + ".part", path)
        for folder, _, names in os.walk(path):
            for name in names:
                sync_one(os.path.join(folder, name), forget=True)
        if os.path.isfile(path):
            sync_one(path, forget=True)
    return path


def touch(array):
    """Reads one byte of each page of a numpy array."""
    some = array.reshape(-1).view("u1")
    return int(some[::PAGE].sum()) + int(some[-1]) if some.size else 0


def answer_to(request, reads, saves, prepare):
    if request.question not in QUESTIONS:
        return {"error": f"what is {request.question!r}?"}
    if request.question == "prepare":
        return {"path": prepare(request)}
    if request.question in saves:
        return {"us": mean_us_of_saves(saves[request.question](request), request)}
    if request.question in reads:
        return {"us": mean_us(reads[request.question](request), request.min_ms)}
    raise Skip("there is no such way")


class Second:
    """A second process of the same peer, started when it is needed. It ends when this one does."""

    def __init__(self):
        self.process = None

    def ask(self, line):
        if self.process is None:
            self.process = subprocess.Popen([sys.executable, sys.argv[0], "second"], stdin=subprocess.PIPE,
                                            stdout=subprocess.PIPE, text=True)
            self.process.stdout.readline()
        self.process.stdin.write(line)
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def serve(versions, reads, saves, prepare=lambda request: request.path, apart=()):
    """Tells the versions, then answers until stdin ends. The questions named in `apart` go to a second process, so that
    what they leave behind in memory does not slow down the others."""
    second = Second()
    if "second" in sys.argv:
        apart = ()
    gc.disable()  # as timeit does
    print(json.dumps({**versions, "python": platform.python_version()}), file=answers)
    for line in sys.stdin:
        try:
            request = Request(**json.loads(line))
            if request.question in apart:
                answer = second.ask(line)
            else:
                answer = answer_to(request, reads, saves, prepare)
        except Skip as why:
            answer = {"skip": str(why)}
        except Exception as error:  # whatever a library throws: the peer lives on
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        gc.collect()
        print(json.dumps(answer), file=answers)
