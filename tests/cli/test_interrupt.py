"""Ctrl-C and SIGTERM while a verb writes: nothing stays behind, and a loop of the shell ends too.

However fast the disk, no signal comes too late: the test holds the locks of every prefix of the directory, so that the
command writes its bytes and cannot commit.
"""

import fcntl
import os
import signal
import struct
import subprocess
import time
import unittest

from command import CAIRN, YES, CommandTest

TENSOR_BYTES = 4 << 20
TENSORS = 24
F_OFD_SETLK = 37  # of Linux; Python names it since 3.9 on some systems only
PREFIX_BYTES = 1 << 60  # behind byte 0, which is the directory's


class Interrupt(CommandTest):
    def setUp(self):
        super().setUp()
        # A suite in the background of a shell ignores SIGINT, and so would the commands that it starts.
        for signum in (signal.SIGINT, signal.SIGTERM):
            self.addCleanup(signal.signal, signum, signal.signal(signum, lambda *_: None))
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({TENSOR_BYTES},), }}".encode().ljust(117) + b"\n"
        with open(self.dir / "v.npy", "wb") as out:
            out.write(b"\x93NUMPY\x01\x00\x76\x00" + header)
            out.truncate(out.tell() + TENSOR_BYTES)
        self.words = ["v%d=v.npy" % i for i in range(TENSORS)]

    def save(self):
        self.cairn("save", "in/m", *self.words, exit=YES)

    def names(self, folder):
        """But for the file of locks."""
        if not (self.dir / folder).is_dir():
            return []
        return sorted(name for name in os.listdir(self.dir / folder) if name != ".cairn-lock")

    def hold(self, folder):
        """Nothing can be published in the folder until what is returned is closed."""
        (self.dir / folder).mkdir(exist_ok=True)
        lock = open(self.dir / folder / ".cairn-lock", "a+")
        self.addCleanup(lock.close)
        fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1, PREFIX_BYTES, 0))
        return lock

    def start(self, *words):
        running = subprocess.Popen([CAIRN, *words], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(running.stderr.close)
        self.addCleanup(running.stdout.close)
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        return running

    def wait_for_bytes(self, running, folder):
        """Until a temporary file with bytes is there."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            self.assertIsNone(running.poll(), "it ended, although it cannot have committed")
            for name in self.names(folder):
                try:
                    if ".cairn-tmp-" in name and os.stat(self.dir / folder / name).st_blocks > 0:
                        return
                except FileNotFoundError:
                    pass
        self.fail("no temporary file appeared")

    def interrupt(self, signum, words, folder):
        """Sends the signal as soon as the command writes. Returns how it ended, and what it said."""
        running = self.start(*words)
        self.wait_for_bytes(running, folder)
        running.send_signal(signum)
        _, said = running.communicate(timeout=60)
        return running.returncode, said

    def check(self, words, folder, before=()):
        """Of both signals: the command ends by it, and the folder holds what it held."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            ended, said = self.interrupt(signum, words, folder)
            self.assertEqual(ended, -signum, said)
            self.assertEqual(said, "cairn: stopped by a signal; nothing was published\n")
            self.assertEqual(self.names(folder), list(before))

    def test_save(self):
        self.hold("new")
        self.check(("save", "new/m", *self.words), "new")

    def test_what_writes_a_checkpoint_of_another(self):
        self.save()
        self.cairn("save", "in/one", "x:int32=1", exit=YES)
        self.hold("out")
        self.check(("convert", "in/m", "out/c", "--to", "cairn"), "out")
        self.check(("convert", "in/m", "out/c", "--to", "safetensors"), "out")
        self.check(("salvage", "in/m", "out/s"), "out")
        self.check(("merge", "in/m", "in/one", "--output", "out/m", "--link", "copy"), "out")
        self.check(("rename", "in/m", "--map", "v1=w", "--output", "out/r", "--link", "copy"), "out")
        self.check(("export", "in/m", "--to", "tensorflow", "--output", "out/e", "--link", "copy"), "out")
        self.check(("cp", "in/m", "out/m"), "out")
        os.remove(self.dir / "in/m.cairn")
        self.check(("import", "in/m", "--output", "out/i", "--link", "copy"), "out")

    def test_a_checkpoint_that_was_there_is_there_still(self):
        self.cairn("save", "new/m", "v0:int32=5", exit=YES)
        before = self.names("new")
        self.hold("new")
        self.check(("save", "new/m", *self.words, "--replace"), "new", before)
        self.assertEqual(self.cairn("cat", "new/m", "v0", exit=YES).text, "5\n")
        self.assertEqual(self.cairn("latest", "new", exit=YES).text, "new/m\n")

    def test_a_loop_of_the_shell_ends_too(self):
        self.hold("new")
        loop = "for i in 1 2 3; do echo $i >&2; \"$0\" save new/m \"$@\"; done; echo after >&2"
        running = subprocess.Popen(["bash", "-c", loop, CAIRN, *self.words], cwd=self.dir, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(running.stderr.close)
        self.wait_for_bytes(running, "new")
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        said = running.communicate(timeout=60)[1]
        self.assertEqual(running.returncode, -signal.SIGINT, said)
        self.assertNotIn("after", said)
        self.assertNotIn("2", said)

    def test_what_is_ignored_stays_ignored(self):
        lock = self.hold("new")
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            running = self.start("save", "new/m", *self.words)
        finally:
            signal.signal(signal.SIGHUP, before)
        self.wait_for_bytes(running, "new")
        running.send_signal(signal.SIGHUP)
        lock.close()
        said = running.communicate(timeout=60)[1]
        self.assertEqual((running.returncode, said), (YES, ""))
        self.cairn("verify", "new/m", exit=YES)

    def test_a_second_signal_ends_it_at_once(self):
        # It waits for a lock that a stopped process holds, and looks at its stop seldom: both come together.
        self.hold("new")
        running = self.start("save", "new/m", *self.words)
        self.wait_for_bytes(running, "new")
        running.send_signal(signal.SIGSTOP)
        running.send_signal(signal.SIGTERM)
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGCONT)
        begun = time.monotonic()
        running.communicate(timeout=60)
        self.assertIn(running.returncode, (-signal.SIGTERM, -signal.SIGINT))
        self.assertLess(time.monotonic() - begun, 30)

    def test_after_the_commit_it_finishes(self):
        for delay in (0, 0.001, 0.003):
            running = self.start("save", "small/m", "v:int32=7")
            time.sleep(delay)
            running.send_signal(signal.SIGTERM)
            out, _ = running.communicate(timeout=60)
            self.assertIn(running.returncode, (YES, -signal.SIGTERM))
            if running.returncode == YES:
                self.assertEqual(out, "small/m\n")
                self.assertEqual(self.cairn("latest", "small", exit=YES).text, "small/m\n")


if __name__ == "__main__":
    unittest.main()
