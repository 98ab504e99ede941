"""Ctrl-C and SIGTERM while a verb writes: nothing stays behind, and a loop of the shell ends too."""

import os
import signal
import subprocess
import time
import unittest

from command import CAIRN, YES, CommandTest

TENSOR_BYTES = 16 << 20
TENSORS = 24


class Interrupt(CommandTest):
    def setUp(self):
        super().setUp()
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

    def start(self, *words):
        running = subprocess.Popen([CAIRN, *words], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(running.stderr.close)
        self.addCleanup(running.stdout.close)
        self.addCleanup(running.wait)
        self.addCleanup(running.kill)
        return running

    def wait_for_bytes(self, running, folder):
        """Until a temporary file with bytes is there; False: the command was done before."""
        while running.poll() is None:
            for name in self.names(folder):
                try:
                    if ".cairn-tmp-" in name and os.stat(self.dir / folder / name).st_blocks > 0:
                        return True
                except FileNotFoundError:
                    pass
        return False

    def begun(self, running, folder):
        """A busy machine may have left no moment in which the command could be seen to write."""
        if not self.wait_for_bytes(running, folder):
            running.communicate(timeout=60)
            self.skipTest("the command was done before it was seen to write")

    def interrupt(self, signum, words, folder):
        """Sends the signal as soon as the command writes. Returns how it ended, and what it said."""
        running = self.start(*words)
        self.begun(running, folder)
        running.send_signal(signum)
        _, said = running.communicate(timeout=60)
        return running.returncode, said

    def check(self, words, folder, before=()):
        """Of both signals: the command ends by it, and the folder holds what it held."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            ended, said = self.interrupt(signum, words, folder)
            if ended == YES:
                self.skipTest("the signal came after the commit")
            self.assertEqual(ended, -signum, said)
            self.assertEqual(said, "cairn: stopped by a signal; nothing was published\n")
            self.assertEqual(self.names(folder), list(before))

    def test_save(self):
        self.check(("save", "new/m", *self.words), "new")

    def test_what_writes_a_checkpoint_of_another(self):
        self.save()
        self.cairn("save", "in/one", "x:int32=1", exit=YES)
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
        self.check(("save", "new/m", *self.words, "--replace"), "new", before)
        self.assertEqual(self.cairn("cat", "new/m", "v0", exit=YES).text, "5\n")
        self.assertEqual(self.cairn("latest", "new", exit=YES).text, "new/m\n")

    def test_a_loop_of_the_shell_ends_too(self):
        loop = "for i in 1 2 3; do echo $i >&2; \"$0\" save new/m \"$@\"; done; echo after >&2"
        running = subprocess.Popen(["bash", "-c", loop, CAIRN, *self.words], cwd=self.dir, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.addCleanup(running.stderr.close)
        self.begun(running, "new")
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        said = running.communicate(timeout=60)[1]
        if running.returncode == YES:
            self.skipTest("the signal came after the commit")
        self.assertEqual(running.returncode, -signal.SIGINT, said)
        self.assertNotIn("after", said)
        self.assertNotIn("2", said)

    def test_what_is_ignored_stays_ignored(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            ended, said = self.interrupt(signal.SIGHUP, ("save", "new/m", *self.words), "new")
        finally:
            signal.signal(signal.SIGHUP, before)
        self.assertEqual((ended, said), (YES, ""))
        self.cairn("verify", "new/m", exit=YES)

    def test_a_second_signal_ends_it_at_once(self):
        # It waits for a lock that a stopped process holds, and looks at its stop seldom: both come together.
        running = self.start("save", "new/m", *self.words)
        self.begun(running, "new")
        running.send_signal(signal.SIGSTOP)
        running.send_signal(signal.SIGTERM)
        running.send_signal(signal.SIGINT)
        running.send_signal(signal.SIGCONT)
        begun = time.monotonic()
        running.communicate(timeout=60)
        if running.returncode == YES:
            self.skipTest("the signal came after the commit")
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
