"""What the tests of the command line share: a scratch directory, and running $CAIRN in it."""

import fcntl
import json
import os
import pathlib
import pty
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import unittest

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
CAIRN = os.path.abspath(os.environ.get("CAIRN", "build/tools/cairn"))

PRELOADS = os.path.abspath(os.environ.get("PRELOADS", "build/tests/preload"))

YES, NO, FAILED = 0, 1, 2


def without(*what, **variables):
    """The environment of a system that lacks "mmap", "locks" or "cachestat" (tests/preload)."""
    modules = ":".join("%s/libno_%s.so" % (PRELOADS, each) for each in what)
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {**os.environ, "LD_PRELOAD": modules, "ASAN_OPTIONS": options, **variables}


def terminal(columns):
    """A terminal of so many columns: our end, and that of a command."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    return ours, its


def read_to_end(ours):
    """What comes through a terminal or a pipe until its other end is closed."""
    said = b""
    while True:
        try:
            more = os.read(ours, 65536)
        except OSError:  # of a terminal
            more = b""
        if not more:
            os.close(ours)
            return said
        said += more


def slow_reads(below):
    """The environment of a process for which each read of a file below `below` takes 20 ms."""
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {**os.environ, "LD_PRELOAD": PRELOADS + "/libslow_reads.so", "ASAN_OPTIONS": options,
            "SLOW_READS_BELOW": os.fspath(below)}


def interrupted(at, by=signal.SIGKILL):
    """The environment of a process that gets the signal when it removes `at`, or gives a file that name."""
    options = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
    return {**os.environ, "LD_PRELOAD": PRELOADS + "/libinterrupted.so", "ASAN_OPTIONS": options,
            "INTERRUPTED_AT": at, "INTERRUPTED_BY": str(int(by))}


class Ran:
    """What came of running the command."""

    def __init__(self, done):
        self.exit = done.returncode
        self.out = done.stdout
        self.err = done.stderr.decode("utf-8", "backslashreplace")

    @property
    def text(self):
        return self.out.decode("utf-8", "backslashreplace")

    @property
    def json(self):
        return json.loads(self.out)


class CommandTest(unittest.TestCase):
    """A test in a scratch directory of its own, into which golden checkpoints are copied."""

    how = {}  # for subprocess.run: as which user, in which environment

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="cairn-cli-")
        self.addCleanup(scratch.cleanup)
        self.dir = pathlib.Path(scratch.name)

    def golden(self, name):
        """Copies a golden directory (or file) here; the copies can be written."""
        source = GOLDEN / name
        target = self.dir / source.name
        if source.is_dir():
            shutil.copytree(source, target, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source, target)
        return target

    def cairn(self, *words, exit=None):
        """Runs the command here. It must not die of a signal; `exit`: with this code."""
        done = subprocess.run(
            [CAIRN, *map(os.fspath, words)],
            cwd=self.dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=120,
            **self.how,
        )
        ran = Ran(done)
        shown = "cairn %s\nexit %d\n%s%s" % (" ".join(map(str, words)), ran.exit, ran.text[-2000:], ran.err)
        self.assertIn(ran.exit, (YES, NO, FAILED), shown)
        if exit is not None:
            self.assertEqual(ran.exit, exit, shown)
        for line in ran.err.splitlines():
            self.assertTrue(line.startswith("cairn: "), shown)
        return ran

    def flip_bit(self, file, at):
        with open(file, "r+b") as opened:
            opened.seek(at)
            byte = opened.read(1)[0]
            opened.seek(at)
            opened.write(bytes([byte ^ 1]))

    def assert_terminal_safe(self, ran):
        """Nothing on stdout or stderr that a terminal acts on, but newlines."""
        for text in (ran.text, ran.err):
            for character in text.replace("\n", ""):
                self.assertTrue(character.isprintable(), repr(text))
