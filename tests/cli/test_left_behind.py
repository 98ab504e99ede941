"""What a process that died has left: state says it, and the next change says what it did about it."""

import os
import shutil
import signal
import subprocess
import unittest

from command import CAIRN, FAILED, YES, CommandTest, interrupted


class LeftBehind(CommandTest):
    def setUp(self):
        super().setUp()
        for step in (1, 2, 3):
            self.save(step)

    def save(self, step, *options):
        return self.cairn("save", "saved/m", "--step", str(step), "v:int32=%d" % step, *options, exit=YES)

    def start(self, at, by, *words):
        return subprocess.Popen([CAIRN, *words], cwd=self.dir, env=interrupted(at, by), stdout=subprocess.DEVNULL)

    def killed(self, at, *words):
        """Runs the command until it is about to remove `at`, or to give a file that name."""
        self.assertEqual(self.start(at, signal.SIGKILL, *words).wait(60), -signal.SIGKILL)

    def killed_save(self, at, *options):
        self.killed(at, "save", "saved/m", "--step", "4", "v:int32=4", *options)

    def contents(self):
        return {path.name: path.read_bytes() for path in (self.dir / "saved").iterdir()}

    def left(self, *options):
        """What state says is unfinished, by prefix, and the files: one name for all temporary ones of a file."""
        before = self.contents()
        state = self.cairn("state", "saved", "--json", *options, exit=YES).json
        self.assertEqual(self.contents(), before)
        for file in state["left_files"]:
            self.assertEqual(file["bytes"], (self.dir / file["path"]).stat().st_size)
        names = sorted(os.path.basename(file["path"]).split("-tmp-")[0] for file in state["left_files"])
        return {each["prefix"]: each["why"] for each in state["unfinished"]}, names

    def assert_nothing_left(self):
        self.assertEqual(self.left(), ({}, []))
        self.assertEqual([name for name in self.contents() if "cairn-tmp" in name or "journal" in name], [])

    def test_nothing_is_left_where_nobody_died(self):
        self.assert_nothing_left()
        self.assertNotIn("the next save", self.cairn("state", "saved", exit=YES).text)

    def test_a_removal_that_died_half_way(self):
        self.killed("m-1.data-00000-of-00001", "rm", "saved/m-1")
        why, files = self.left()
        self.assertEqual(why, {"saved/m-1": "saved/m-1: its removal was cut short; what is left of it goes"})
        self.assertEqual(files, ["m-1.data-00000-of-00001", "m-1.index.cairn"])
        text = self.cairn("state", "saved", exit=YES).text
        self.assertIn("\nunfinished: saved/m-1: its removal was cut short", text)
        self.assertIn("\nleft by a dead process: saved/m-1.data-00000-of-00001  ", text)
        finished = "warning: saved/m-1: its removal was cut short, and is finished now\n"
        self.assertIn(finished, self.cairn("prune", "saved", exit=YES).err)
        self.assert_nothing_left()

    def test_what_tensorflow_wrote_is_named_once(self):
        for name in ("train2-9.index", "train2-9.data-00000-of-00001"):
            self.golden("tensorflow/saver_walk/saved/" + name).rename(self.dir / "saved" / name)
        self.killed("train2-9.data-00000-of-00001", "rm", "saved/train2-9")
        self.assertEqual(self.left()[1], ["train2-9.data-00000-of-00001"])
        self.assertEqual(self.cairn("state", "saved", "--json", exit=YES).json["unnamed_shards"], [])
        self.save(4)
        self.assert_nothing_left()

    def test_a_second_removal_says_that_the_first_is_finished(self):
        self.killed("m-1.data-00000-of-00001", "rm", "saved/m-1")
        said = self.cairn("rm", "saved/m-1", exit=FAILED).err
        self.assertIn("no checkpoint there", said)
        self.assertIn("; saved/m-1: its removal was cut short, and is finished now", said)
        self.assert_nothing_left()

    def test_each_verb_says_what_it_finished(self):
        for words in (("rm", "saved/m-2"), ("state", "saved", "--repair"), ("mv", "saved/m-3", "saved/n"), ("pin", "saved/m-3")):
            with self.subTest(words):
                shutil.rmtree(self.dir / "saved")
                for step in (1, 2, 3):
                    self.save(step)
                self.killed("m-1.data-00000-of-00001", "rm", "saved/m-1")
                said = self.cairn(*words, exit=YES).err
                self.assertIn("warning: saved/m-1: its removal was cut short, and is finished now\n", said)
                self.assertNotIn("cut short", self.cairn("state", "saved", "--repair", exit=YES).err)

    def test_a_removal_that_died_before_a_file_had_gone_is_taken_back(self):
        for at, tail in (("checkpoint", '"checkpoint" lists it'),
                         ("m-1.cairn", '"checkpoint" does not list it: \'cairn set-latest\' lists it, \'cairn rm\' removes it')):
            with self.subTest(at):
                self.killed(at, "rm", "saved/m-1")
                says = "saved/m-1: its move or removal was cut short before any file was removed; it is kept, and " + tail
                self.assertEqual(self.left()[0], {"saved/m-1": says})
                self.assertIn("warning: " + says + "\n", self.cairn("state", "saved", "--repair", exit=YES).err)
                self.cairn("verify", "saved/m-1", exit=YES)
                self.assert_nothing_left()

    def test_a_save_that_died_before_it_was_whole(self):
        for at in ("m-4.data-00000-of-00001", "m-4.cairn"):
            with self.subTest(at):
                self.killed_save(at)
                why, files = self.left()
                self.assertEqual(why, {"saved/m-4": "saved/m-4: a save of it was cut short before it was whole; "
                                                    "what it had written goes"})
                shard = "m-4.data-00000-of-00001" + (".cairn" if at != "m-4.cairn" else "")
                self.assertEqual(files, ["m-4.cairn.cairn", shard, "m-4.index.cairn"])
                said = self.cairn("state", "saved", "--repair", exit=YES).err
                self.assertIn("saved/m-4: a save of it was cut short before it was whole; what it had written is gone\n", said)
                self.assert_nothing_left()

    def test_a_save_that_died_when_it_was_whole(self):
        self.killed_save("checkpoint", "--max-to-keep", "3")
        self.assertEqual(self.left()[0], {
            "saved/m-4": 'saved/m-4: a save of it was cut short when it was whole; "checkpoint" is to list it',
            "saved/m-1": "saved/m-1: its removal was cut short; what is left of it goes"})
        self.assertEqual(self.left()[1], ["checkpoint.cairn", "m-1.cairn", "m-1.data-00000-of-00001", "m-1.index"])
        said = self.cairn("rm", "saved/m-2", exit=YES).err
        self.assertIn('warning: saved/m-4: a save of it was cut short when it was whole; "checkpoint" lists it now\n', said)
        self.assertIn("warning: saved/m-1: its removal was cut short, and is finished now\n", said)
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/m-4\n")
        self.assert_nothing_left()

    def test_what_a_dead_copy_left(self):
        self.killed("n.cairn", "cp", "saved/m-1", "saved/n")
        self.assertEqual(self.left(), ({}, ["n.cairn.cairn", "n.data-00000-of-00001", "n.index.cairn"]))
        self.save(4)
        self.assert_nothing_left()

    def test_what_a_living_writer_is_about_is_nobodys_left(self):
        for at in ("m-4.data-00000-of-00001", "m-4.index", "checkpoint", "m-1.data-00000-of-00001"):
            with self.subTest(at):
                words = ("save", "saved/m", "--step", "4", "v:int32=4", "--max-to-keep", "3")
                with self.start(at, signal.SIGSTOP, *words) as process:
                    try:
                        os.waitpid(process.pid, os.WUNTRACED)
                        self.assertEqual(self.left(), ({}, []))
                    finally:
                        process.kill()
                self.assertNotEqual(self.left(), ({}, []))
                self.cairn("prune", "saved", exit=YES)
                self.assert_nothing_left()
                for step in (1, 2, 3):
                    self.save(step)

    def test_while_another_catalog_is_in_doubt_it_is_said_what_is_to_be_done(self):
        self.golden("tensorflow/saver_walk/saved/train2-9.index").rename(self.dir / "saved/t.index")
        self.golden("tensorflow/saver_walk/saved/train2-9.data-00000-of-00001").rename(
            self.dir / "saved/t.data-00000-of-00001")
        doubt = ("; it is kept, because another catalog may list it: saved/best: ", "'cairn state --repair' with its name (--catalog)")
        for prefix, end in (("saved/t", "; then remove what is left of it by hand (rm): t.data-00000-of-00001"),):
            self.killed(os.path.basename(prefix) + ".data-00000-of-00001", "rm", prefix)
            (self.dir / "saved/best").write_text('model_checkpoint_path: "train1"\nall_model_check')
            for said in (self.left()[0][prefix], self.cairn("prune", "saved", exit=YES).err):
                for part in (prefix + ": its removal was cut short", *doubt, end):
                    self.assertIn(part, said)
        self.assertTrue((self.dir / "saved/t.data-00000-of-00001").exists())

    def test_what_retention_let_go_of_stays_while_another_catalog_is_in_doubt(self):
        self.killed_save("m-1.index", "--max-to-keep", "3")
        (self.dir / "saved/best").write_text('model_checkpoint_path: "train1"\nall_model_check')
        said = self.save(5).err
        self.assertIn("saved/m-1: its removal was cut short; it is kept, because another catalog may list it: ", said)
        self.assertIn("; then 'cairn rm' removes it\n", said)
        (self.dir / "saved/best").unlink()
        self.assertEqual(self.cairn("rm", "saved/m-1", exit=YES).err, "")

    def test_a_catalog_that_cannot_be_read_hides_no_file(self):
        self.killed("m-1.data-00000-of-00001", "rm", "saved/m-1")
        (self.dir / "saved/checkpoint").write_text("damaged")
        ran = self.cairn("state", "saved", "--repair", "--dry-run", "--json", exit=YES)
        self.assertEqual((ran.json["unfinished"], len(ran.json["left_files"])), ([], 2))
        self.assertIn("saved/.cairn-journal: a dead process left it, and it is not known how", ran.err)
        said = self.cairn("state", "saved", "--repair", exit=YES).err
        self.assertIn("saved/m-1: its removal was cut short, and is finished now", said)
        self.assert_nothing_left()

    def test_what_another_catalog_has_listed_since_stays(self):
        self.killed_save("m-1.index", "--max-to-keep", "3")
        self.cairn("set-latest", "saved", "m-1", "--catalog", "best", exit=YES)
        says = "saved/m-1: its removal was cut short; it is kept, because best, another catalog of this directory, lists it"
        self.assertEqual(self.left()[0], {"saved/m-1": says})
        self.assertIn(says, self.save(5).err)
        self.cairn("verify", "saved/m-1", exit=YES)


if __name__ == "__main__":
    unittest.main()
