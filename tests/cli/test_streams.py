"""Standard streams that are closed, full, or have lost their reader."""

import os
import subprocess
import unittest

from command import CAIRN, FAILED, YES, CommandTest

FULL = "/dev/full"
CLOSED = None


class Streams(CommandTest):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved")

    def run_with(self, *words, stdin="/dev/null", stdout="out", stderr="err"):
        """The exit status with these files as standard streams; CLOSED: none."""
        streams = {0: (stdin, os.O_RDONLY), 1: (stdout, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
                   2: (stderr, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)}
        actions = []
        for number, (name, flags) in streams.items():
            if name is CLOSED:
                actions.append((os.POSIX_SPAWN_CLOSE, number))
            else:
                actions.append((os.POSIX_SPAWN_OPEN, number, os.fspath(self.dir / name), flags, 0o644))
        words = [CAIRN] + [os.fspath(self.dir / word) if "/" in word else word for word in words]
        child = os.posix_spawn(CAIRN, words, os.environ, file_actions=actions)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def text(self, name):
        return (self.dir / name).read_text()

    def test_a_lost_stderr_changes_nothing(self):
        want = self.cairn("latest", "saved", exit=YES).text
        for lost in (CLOSED, FULL):
            with self.subTest(lost):
                # What has something to say there: an error, and warnings beside a result.
                self.assertEqual(self.run_with("ls", "nowhere", stderr=lost), FAILED)
                self.assertEqual(self.run_with("nonsense", stderr=lost), FAILED)
                self.assertEqual(self.run_with("latest", "saved/", stderr=lost), YES)
                self.assertEqual(self.text("out").split("/")[-2:], want.split("/"))

    def test_a_save_is_what_it_is_without_any_stream(self):
        lost = dict(stdin=CLOSED, stderr=CLOSED)
        self.assertEqual(self.run_with("save", "new/m", "--step", "1", "v:int32=7", **lost), YES)
        self.assertEqual(self.run_with("save", "new/m", "--step", "2", "v:int32=8", stdout=CLOSED, **lost), FAILED)
        for step, value in ((1, "7\n"), (2, "8\n")):
            self.cairn("verify", "new/m-%d" % step, exit=YES)
            self.assertEqual(self.cairn("cat", "new/m-%d" % step, "v", exit=YES).text, value)

    def test_a_lost_stdout_is_a_failure_also_after_a_save_that_is_durable(self):
        for step, lost in enumerate((CLOSED, FULL), 10):
            with self.subTest(lost):
                self.assertEqual(self.run_with("save", "saved/train2", "--step", str(step), "v:int32=7", stdout=lost),
                                 FAILED)
                self.assertIn("cairn: the output could not be written", self.text("err"))
                self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train2-%d\n" % step)
                self.cairn("verify", "saved/train2-%d" % step, exit=YES)
        for words in (("ls", "saved/"), ("ls", "saved/", "--json"), ("--help",), ("save", "--help")):
            with self.subTest(words):
                self.assertEqual(self.run_with(*words, stdout=FULL), FAILED)
                self.assertIn("cairn: the output could not be written: No space left", self.text("err"))

    def with_readers_gone(self, *words):
        """Runs the command with both outputs on pipes that nobody reads any more."""
        reading, writing = os.pipe()
        os.close(reading)
        try:
            return subprocess.run([CAIRN, *words], cwd=self.dir, stdin=subprocess.DEVNULL, stdout=writing,
                                  stderr=writing, timeout=60).returncode
        finally:
            os.close(writing)

    def test_a_reader_that_has_gone_ends_no_save(self):
        (self.dir / "more.npy").write_bytes(b"no array")
        self.assertEqual(self.with_readers_gone("save", "saved/train2", "--step", "11", "v:int32=7"), FAILED)
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train2-11\n")

    def test_a_reader_that_has_seen_enough_is_told_nothing(self):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run([CAIRN, "ls", "saved"], cwd=self.dir, stdout=writing, stderr=subprocess.PIPE, timeout=60)
        os.close(writing)
        self.assertEqual((done.returncode, done.stderr), (FAILED, b""))

    def test_watch_ends_when_its_reader_has_gone_and_gives_the_line_again(self):
        words = ("watch", "saved", "--cursor", "seen")
        self.assertEqual(self.with_readers_gone(*words), FAILED)
        self.assertFalse((self.dir / "seen").exists())
        self.assertEqual(len(self.cairn(*words, "--timeout", "0", exit=YES).text.splitlines()), 5)


if __name__ == "__main__":
    unittest.main()
