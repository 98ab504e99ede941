"""Several users of one group in one directory: what each may do with the checkpoints of the others."""

import os
import signal
import subprocess
import unittest

from command import CAIRN, FAILED, YES, CommandTest, interrupted

FIRST, SECOND, GROUP = 20001, 20002, 30001
MAY_NOT = "to change checkpoints here, you need write permission for this file and its directory"


class Group(CommandTest):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0:
            self.skipTest("skipped: only root can become two users")
        os.chmod(self.dir, 0o755)
        try:
            self.made("runs", 0o2775)
            self.by(FIRST, 0o002, "--version", exit=YES)
        except (OSError, subprocess.SubprocessError):
            self.skipTest("skipped: another user cannot run " + CAIRN)

    def made(self, name, mode):
        path = self.dir / name
        path.mkdir()
        os.chown(path, -1, GROUP)
        os.chmod(path, mode)

    def by(self, user, umask, *words, exit=None):
        self.how = {"user": user, "group": user, "extra_groups": [GROUP], "umask": umask}
        ran = self.cairn(*words, exit=exit)
        self.how = {}
        return ran

    def saved(self, user, umask, prefix, step, exit=YES):
        return self.by(user, umask, "save", prefix, "--step", str(step), "v:int32=%d" % step, exit=exit)

    def assert_shared(self, directory, umask):
        """Either user does with the other's checkpoints whatever he does with his own."""
        for step in (1, 2, 3):
            self.saved(FIRST, umask, directory + "/m", step)
        for user, step in ((SECOND, 4), (FIRST, 4), (SECOND, 2)):
            self.saved(user, umask, directory + "/m", step)
        for words in (("pin", "{}/m-1"), ("rename", "{}/m-1", "--map", "v=w", "--replace"), ("import", "{}/m-3", "--replace"),
                      ("export", "{}/m-3", "--to", "safetensors"), ("set-latest", "{}", "m-3"),
                      ("convert", "{}/m-1", "{}/m-3", "--to", "cairn", "--replace"),
                      ("merge", "{}/m-1", "--output", "{}/all"), ("salvage", "{}/m-1", "{}/whole"),
                      ("prune", "{}", "--max-to-keep", "1"), ("state", "{}", "--repair", "--all")):
            with self.subTest(words):
                self.by(SECOND, umask, *(word.format(directory) for word in words), exit=YES)
        self.saved(FIRST, umask, directory + "/m", 5)
        for name in ("m-1", "m-5", "all", "whole"):
            self.by(SECOND, umask, "verify", directory + "/" + name, exit=YES)
        self.assertEqual([p.name for p in (self.dir / directory).glob("*cairn-tmp*")], [])

    def test_with_umask_002_all_is_everybodys_and_directories_below_too(self):
        self.assert_shared("runs", 0o002)
        self.assert_shared("runs/made/by/a/save", 0o002)

    def test_with_umask_022_it_holds_in_the_directory_itself(self):
        self.assert_shared("runs", 0o022)

    def test_with_umask_022_what_a_save_made_is_its_makers(self):
        self.saved(FIRST, 0o022, "runs/mine/m", 1)
        self.by(SECOND, 0o022, "verify", "runs/mine/m-1", exit=YES)
        for words in (("save", "runs/mine/m", "--step", "2", "v:int32=2"), ("pin", "runs/mine/m-1"), ("prune", "runs/mine"),
                      ("state", "runs/mine", "--repair"), ("set-latest", "runs/mine", "m-1"),
                      ("rename", "runs/mine/m-1", "--map", "v=w", "--replace")):
            with self.subTest(words):
                said = self.by(SECOND, 0o022, *words, exit=FAILED).err
                self.assertIn("runs/mine/.cairn-lock: cannot open or create: Permission denied; " + MAY_NOT, said)
        self.saved(FIRST, 0o022, "runs/mine/m", 2)

    def test_with_umask_077_others_may_not_even_read(self):
        self.saved(FIRST, 0o077, "runs/m", 1)
        self.assertIn("m-1.cairn: cannot open: Permission denied",
                      self.by(SECOND, 0o002, "verify", "runs/m-1", exit=FAILED).err)
        self.assertIn("runs/checkpoint: cannot open: Permission denied", self.saved(SECOND, 0o002, "runs/m", 2, FAILED).err)
        self.saved(FIRST, 0o077, "runs/m", 2)

    def test_under_the_sticky_bit_nobody_gets_half_way_into_anothers_catalog(self):
        self.made("all", 0o3777)
        self.saved(FIRST, 0o002, "all/m", 1)
        names = sorted(os.listdir(self.dir / "all"))
        said = self.saved(SECOND, 0o002, "all/m", 2, FAILED).err
        self.assertIn("all/checkpoint: is another user's", said)
        self.assertIn("chmod -t", said)
        self.assertEqual(sorted(os.listdir(self.dir / "all")), names)
        self.by(SECOND, 0o002, "convert", "all/m-1", "all/mine", "--to", "cairn", exit=YES)
        self.by(SECOND, 0o002, "save", "all/n", "--catalog", "other", "v:int32=1", exit=YES)
        self.saved(FIRST, 0o002, "all/m", 2)
        self.assertEqual(self.by(FIRST, 0o002, "latest", "all", exit=YES).text, "all/m-2\n")

    def contents(self):
        return {p.name: p.read_bytes() for p in (self.dir / "all").iterdir() if p.name != ".cairn-lock"}

    def made_by_both(self):
        """A catalog of the second user's, which lists a checkpoint of the first one's."""
        self.made("all", 0o3777)
        self.by(FIRST, 0o002, "save", "all/a", "--step", "1", "--catalog", "other", "v:int32=1", exit=YES)
        os.remove(self.dir / "all" / "other")
        self.by(SECOND, 0o002, "set-latest", "all", "a-1", exit=YES)

    def test_under_the_sticky_bit_what_cannot_go_stops_no_save(self):
        self.made_by_both()
        for step in ("2", "3", "4"):
            self.by(SECOND, 0o002, "save", "all/a", "--step", step, "--max-to-keep", "2", "v:int32=2", exit=YES)
        for _ in range(2):
            said = self.by(SECOND, 0o002, "save", "all/a", "--step", "5", "--max-to-keep", "1", "v:int32=2", exit=YES)
        self.assertFalse((self.dir / "all" / ".cairn-journal").exists(), said.err)
        self.by(FIRST, 0o002, "verify", "all/a-1", exit=YES)
        self.by(FIRST, 0o002, "rm", "all/a-1", exit=YES)

    def test_under_the_sticky_bit_it_is_said_what_stays(self):
        self.made_by_both()
        said = self.by(SECOND, 0o002, "save", "all/a", "--step", "2", "--max-to-keep", "1", "v:int32=2", exit=YES).err
        self.assertIn("all/a-1: stays, and the catalog does not list it", said)
        self.assertIn("cairn rm", said)

    def test_under_the_sticky_bit_a_refused_removal_or_move_changes_nothing(self):
        self.made_by_both()
        self.by(SECOND, 0o002, "save", "all/a", "--step", "2", "v:int32=2", exit=YES)
        for words in ("rm", "all/a-1"), ("mv", "all/a-1", "all/best"):
            before = self.contents()
            said = self.by(SECOND, 0o002, *words, exit=FAILED).err
            self.assertIn("belongs to another user; only that user can remove it", said)
            self.assertEqual(self.contents(), before)

    def test_while_a_file_of_anothers_cannot_be_read_nothing_is_let_go_of(self):
        self.saved(FIRST, 0o002, "runs/m", 1)
        self.by(FIRST, 0o077, "set-latest", "runs", "m-1", "--catalog", "best", exit=YES)
        keep = ("--max-to-keep", "1")
        ran = self.by(SECOND, 0o002, "save", "runs/m", "--step", "2", "v:int32=2", *keep, exit=YES)
        self.assertEqual(len(ran.err.splitlines()), 1)
        self.assertIn("runs/best: cannot open: Permission denied", ran.err)
        self.assertIn("make it readable, or move it to another directory", ran.err)
        ran = self.by(SECOND, 0o002, "prune", "runs", *keep, exit=YES)
        self.assertIn("kept  runs/m-1  older than the newest 1; but runs/best: cannot open", ran.text)
        for words in (("rm", "runs/m-1"), ("rm", "runs/m-1", "--force"), ("mv", "runs/m-1", "runs/n")):
            self.assertIn("runs/best: cannot open", self.by(SECOND, 0o002, *words, exit=FAILED).err)
        (self.dir / "runs/checkpoint").unlink()
        ran = self.by(SECOND, 0o002, "state", "runs", "--repair", "--all", "--json")
        self.assertEqual([each["prefix"] for each in ran.json["left_out"]], ["runs/m-1", "runs/m-2"])
        self.by(FIRST, 0o002, "set-latest", "runs", "m-2", exit=YES)
        os.chmod(self.dir / "runs/best", 0o644)
        self.assertEqual(self.by(SECOND, 0o002, "save", "runs/m", "--step", "3", "v:int32=2", *keep, exit=YES).err, "")
        self.assertEqual(sorted(path.name for path in (self.dir / "runs").glob("*.index")), ["m-1.index", "m-3.index"])

    def killed(self, user, at, *words):
        """A command of his that dies when it is about to remove the file `at`, or to give a file that name."""
        with subprocess.Popen([CAIRN, *words], cwd=self.dir, env=interrupted(at), user=user, group=user, extra_groups=[GROUP],
                              umask=0o002) as process:
            self.assertEqual(process.wait(60), -signal.SIGKILL)

    def test_under_the_sticky_bit_a_dead_users_journal_is_said_with_who_ends_it(self):
        self.made_by_both()
        self.by(SECOND, 0o002, "save", "all/a", "--step", "2", "v:int32=2", exit=YES)
        self.by(FIRST, 0o002, "save", "all/b", "--step", "1", "--catalog", "other", "v:int32=1", exit=YES)
        self.killed(FIRST, "b-2.index", "save", "all/b", "--step", "2", "--catalog", "other", "v:int32=1")
        before = self.contents()
        self.assertIn(".cairn-journal", before)
        says = ("all/.cairn-journal: is another user's", "he, the directory's owner or root finishes",
                "'cairn state --repair' and its catalog (--catalog other)")

        def assert_says(ran):
            for part in says:
                self.assertIn(part, ran.err)

        # Who must write a journal of his own stops before anything is changed.
        for words in (("save", "all/a", "--step", "3", "v:int32=2"), ("rm", "all/a-2", "--force"), ("mv", "all/a-2", "all/c"),
                      ("rm", "all/a-2", "--force", "--dry-run"), ("prune", "all", "--max-to-keep", "1")):
            with self.subTest(words):
                assert_says(self.by(SECOND, 0o002, *words, exit=FAILED))
                self.assertEqual(self.contents(), before)
        # Who need not goes on, and so does what does not look at the journal.
        for words in (("pin", "all/a-2"), ("state", "all", "--repair"), ("prune", "all"), ("state", "all")):
            with self.subTest(words):
                assert_says(self.by(SECOND, 0o002, *words, exit=YES))
        self.by(SECOND, 0o002, "set-latest", "all", "a-2", exit=YES)
        self.assertEqual(self.by(FIRST, 0o002, "state", "all", exit=YES).err, "")
        said = self.by(FIRST, 0o002, "state", "all", "--repair", "--catalog", "other", exit=YES).err
        self.assertIn("all/b-2: a save of it was cut short", said)
        self.assertNotIn(".cairn-journal", self.contents())
        self.by(SECOND, 0o002, "save", "all/a", "--step", "3", "v:int32=2", exit=YES)

    def test_under_the_sticky_bit_it_is_said_whose_files_stay(self):
        self.made("all", 0o3777)
        self.by(FIRST, 0o002, "save", "all/m", "v:int32=1", exit=YES)
        self.killed(FIRST, "n.cairn", "cp", "all/m", "all/n")
        says = "all: of the files that dead processes left, 3 belong to another user"
        self.assertIn(says, self.by(SECOND, 0o002, "state", "all", exit=YES).err)
        self.assertEqual(self.by(FIRST, 0o002, "state", "all", exit=YES).err, "")

    def test_a_journal_that_may_not_be_read_is_said_with_who_ends_it(self):
        self.saved(FIRST, 0o002, "runs/m", 1)
        self.killed(FIRST, "m-2.index", "save", "runs/m", "--step", "2", "v:int32=1")
        os.chmod(self.dir / "runs/.cairn-journal", 0o600)
        said = self.saved(SECOND, 0o002, "runs/m", 3, FAILED).err
        self.assertIn("runs/.cairn-journal: cannot open: Permission denied; its owner or root finishes", said)
        self.assertIn("'cairn state --repair'", said)
        self.by(FIRST, 0o002, "state", "runs", "--repair", exit=YES)
        self.saved(SECOND, 0o002, "runs/m", 3)


if __name__ == "__main__":
    unittest.main()
