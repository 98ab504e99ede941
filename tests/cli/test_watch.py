"""cairn watch: checkpoints as they are published."""

import json
import os
import shutil
import stat
import subprocess
import time

from command import CAIRN, FAILED, NO, YES, CommandTest

STEPS = ["saved/train2-%d" % step for step in range(5, 10)]


def lines(*prefixes):
    return "".join(prefix + "\n" for prefix in prefixes)


class Watch(CommandTest):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved")

    def write_catalog(self, *names):
        text = 'model_checkpoint_path: "%s"\n' % names[-1]
        text += "".join('all_model_checkpoint_paths: "%s"\n' % name for name in names)
        new = self.dir / "saved" / "checkpoint.new"
        new.write_text(text)
        os.replace(new, self.dir / "saved" / "checkpoint")

    def start(self, *words):
        """The command in the background, for reading line by line what it prints."""
        process = subprocess.Popen([CAIRN, "watch", *words], cwd=self.dir, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def test_every_checkpoint_of_the_catalog_is_printed_in_order(self):
        ran = self.cairn("watch", "saved", "--timeout", "0", exit=YES)
        self.assertEqual((ran.text, ran.err), (lines(*STEPS), ""))

    def test_a_line_comes_when_its_checkpoint_is_published(self):
        self.write_catalog("train2-5")
        process = self.start("saved")
        self.assertEqual(process.stdout.readline(), "saved/train2-5\n")
        for step in (6, 7):
            self.write_catalog("train2-5", "train2-%d" % step)
            self.assertEqual(process.stdout.readline(), "saved/train2-%d\n" % step)
        self.assertIsNone(process.poll())

    def test_a_directory_that_is_not_there_yet_is_waited_for(self):
        process = self.start("later")
        shutil.copytree(self.dir / "saved", self.dir / "copying")
        os.rename(self.dir / "copying", self.dir / "later")
        self.assertEqual(process.stdout.readline(), "later/train2-5\n")

    def test_nothing_in_time_is_no(self):
        ran = self.cairn("watch", "nowhere", "--timeout", "0.05", exit=NO)
        self.assertEqual((ran.text, ran.err), ("", ""))

    def test_a_cursor_file_goes_on_where_the_last_run_ended(self):
        words = ("watch", "saved", "--cursor", "seen", "--timeout", "0")
        self.write_catalog("train2-5", "train2-6")
        self.assertEqual(self.cairn(*words, exit=YES).text, lines(*STEPS[:2]))
        self.assertEqual(self.cairn(*words, exit=NO).text, "")
        self.write_catalog("train2-6", "train2-7", "train2-8")
        self.assertEqual(self.cairn(*words, exit=YES).text, lines(*STEPS[2:4]))
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), ["saved", "seen"])

    def test_a_cursor_replaces_only_a_cursor(self):
        (self.dir / "notes").write_text("mine\n")
        (self.dir / "short").write_text("cairn")
        (self.dir / "folder").mkdir()
        os.mkfifo(self.dir / "fifo")
        os.symlink("notes", self.dir / "link")
        os.symlink("nowhere", self.dir / "dangling")
        there = ["notes", "short", "folder", "fifo", "link", "dangling"]
        try:
            os.mknod(self.dir / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))  # in this folder only
            there.append("device")
        except PermissionError:
            print("skipped: only root makes a device node")
        for name in there:
            with self.subTest(name):
                before = os.lstat(self.dir / name)
                ran = self.cairn("watch", "saved", "--cursor", name, "--timeout", "0", exit=FAILED)
                self.assertEqual(ran.text, "")
                self.assertIn("%s: " % name, ran.err)
                self.assertIn("overwrites only a file", ran.err)
                after = os.lstat(self.dir / name)
                self.assertEqual((after.st_ino, after.st_mode, after.st_size),
                                 (before.st_ino, before.st_mode, before.st_size))
        self.assertEqual(sorted(p.name for p in self.dir.iterdir()), sorted(there + ["saved"]))

    def test_a_cursor_takes_the_place_of_an_empty_file(self):
        (self.dir / "seen").touch()
        self.cairn("watch", "saved", "--cursor", "seen", "--timeout", "0", exit=YES)
        self.assertTrue((self.dir / "seen").read_text().startswith("cairn-cursor "))

    def test_what_was_put_in_the_cursors_place_meanwhile_stays(self):
        self.write_catalog("train2-5")
        process = self.start("saved", "--cursor", "seen")
        self.assertEqual(process.stdout.readline(), "saved/train2-5\n")
        deadline = time.monotonic() + 30
        while not (self.dir / "seen").exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        (self.dir / "mine").write_text("mine\n")
        os.replace(self.dir / "mine", self.dir / "seen")
        self.write_catalog("train2-5", "train2-6")
        self.assertEqual(process.wait(timeout=60), FAILED)
        self.assertEqual((self.dir / "seen").read_text(), "mine\n")

    def test_a_cursor_holds_what_was_printed_when_the_command_is_killed(self):
        process = self.start("saved", "--cursor", "seen")
        for prefix in STEPS:
            self.assertEqual(process.stdout.readline(), prefix + "\n")
        self.write_catalog("train2-9", "train1")
        self.assertEqual(process.stdout.readline(), "saved/train1\n")
        process.kill()
        process.wait()
        ran = self.cairn("watch", "saved", "--cursor", "seen", "--timeout", "0")
        self.assertIn(ran.text, ("", "saved/train1\n"))  # killed between the line and the cursor

    def test_a_cursor_that_is_none_fails(self):
        (self.dir / "seen").write_text("cairn-cursor 9 x")
        ran = self.cairn("watch", "saved", "--cursor", "seen", "--timeout", "0", exit=FAILED)
        self.assertIn("does not come from a Watcher", ran.err)
        self.assertEqual((self.dir / "seen").read_text(), "cairn-cursor 9 x")

    def test_a_cursor_that_cannot_be_written_fails(self):
        ran = self.cairn("watch", "saved", "--cursor", "no/dir/seen", "--timeout", "0", exit=FAILED)
        self.assertIn("cannot be written", ran.err)

    def test_what_is_skipped_is_named_on_stderr(self):
        (self.dir / "saved" / "train2-6.index").unlink()
        (self.dir / "saved" / "train2-7.data-00000-of-00001").write_bytes(b"1234")
        ran = self.cairn("watch", "saved", "--timeout", "0", exit=YES)
        self.assertEqual(ran.text, lines(STEPS[0], STEPS[3], STEPS[4]))
        self.assertIn("cairn: skipped saved/train2-6: saved/train2-6: was removed before its turn\n", ran.err)
        self.assertIn("cairn: skipped saved/train2-7: ", ran.err)

    def test_json_is_a_line_for_each_with_exactly_the_fields_of_the_contract(self):
        (self.dir / "saved" / "train2-6.index").unlink()
        ran = self.cairn("watch", "saved", "--timeout", "0", "--json", exit=YES)
        reports = [json.loads(line) for line in ran.text.splitlines()]
        why = "saved/train2-6: was removed before its turn"
        expected = [{"prefix": prefix, "skipped": []} for prefix in STEPS if prefix != STEPS[1]]
        expected[1]["skipped"] = [{"prefix": STEPS[1], "why": why}]
        self.assertEqual(reports, expected)
        self.assertEqual(ran.err, "")

    def test_latest_only_prints_the_latest_of_each_time_whole_or_not(self):
        words = ("watch", "saved", "--latest-only", "--cursor", "seen", "--timeout", "0")
        self.assertEqual(self.cairn(*words, exit=YES).text, "saved/train2-9\n")
        self.assertEqual(self.cairn(*words, exit=NO).text, "")
        (self.dir / "saved" / "train2-7.data-00000-of-00001").unlink()
        self.write_catalog("train2-6", "train2-7")
        self.assertEqual(self.cairn(*words, exit=YES).text, "saved/train2-7\n")

    def test_a_catalog_that_cannot_be_read_fails(self):
        (self.dir / "saved" / "checkpoint").write_text("nonsense")
        self.assertIn("saved/checkpoint", self.cairn("watch", "saved", "--timeout", "0", exit=FAILED).err)

    def test_wrong_usage_is_said_in_one_line(self):
        for words in ((), ("saved", "--timeout", "-1"), ("saved", "--timeout", "soon"), ("saved", "saved")):
            with self.subTest(words):
                ran = self.cairn("watch", *words, exit=FAILED)
                self.assertEqual((ran.text, len(ran.err.splitlines())), ("", 1), ran.err)
