"""What a verb leaves behind, or does not take along, is said."""

import fcntl
import os
import pathlib
import shutil
import struct
import subprocess
import time

from bundle import write_safetensors
from command import CAIRN, FAILED, YES, CommandTest

F_OFD_SETLK = 37  # of Linux; Python names it since 3.9 on some systems only
MIXED = {
    "w": ("F4", [2, 8], bytes(range(8))),
    "scale": ("F8_E8M0", [2, 1], b"\x7f\x80"),
    "norm": ("BF16", [3], b"\x80\x3f" * 3),
}


class Told(CommandTest):
    def listing(self, path):
        return self.cairn("ls", path, "--json", exit=YES).json

    def metadata(self, path, kind="metadata"):
        return {pair["key"]: pair["value"] for pair in self.listing(path)[kind]}

    def names(self, path):
        return [tensor["name"] for tensor in self.listing(path)["tensors"]]

    def said(self, *words):
        return self.cairn(*words, exit=YES).err


class OvertakenIndexes(Told):
    """A P.cairn that is damaged, or that TensorFlow has written past."""

    def mixed(self):
        """Three tensors, of which P.index can hold one."""
        write_safetensors(self.dir / "q.safetensors", MIXED, {"who": "me"})
        self.cairn("convert", "q.safetensors", "d/m", "--to", "cairn", exit=YES)

    def overtake(self, path):
        """TensorFlow's files come under the name, and P.cairn stays."""
        self.golden("tensorflow/saver_walk/saved")
        for suffix in (".index", ".data-00000-of-00001"):
            (self.dir / (path + suffix)).unlink()
            shutil.copyfile(self.dir / ("saved/train2-9" + suffix), self.dir / (path + suffix))

    def test_what_goes_with_a_damaged_one_cannot_be_known_and_that_is_said(self):
        self.mixed()
        self.flip_bit(self.dir / "d/m.cairn", 100)
        self.assertIn("without what only P.cairn held", self.cairn("ls", "d/m", exit=FAILED).err)
        gone = ("d/m.cairn: ", "tensors that TensorFlow cannot hold, metadata, a pin", "is not known")
        for words in (("salvage", "d/m", "s/m"), ("import", "d/m", "--output", "e/m", "--replace"),
                      ("import", "d/m", "--replace")):
            err = self.said(*words)
            for text in gone:
                self.assertIn(text, err)
        self.assertEqual(self.names("d/m"), ["norm"])

    def test_of_a_newer_one_it_is_said_who_reads_it(self):
        self.mixed()
        index = self.dir / "d/m.cairn"
        index.chmod(0o644)
        with open(index, "r+b") as opened:
            opened.seek(8)
            opened.write(b"\2")
        self.assertIn("a newer version of Cairn can read it", self.cairn("ls", "d/m", exit=FAILED).err)

    def test_the_pin_of_one_that_was_overtaken_stays_and_the_rest_is_named(self):
        for words in (("import", "d/m"), ("pin", "d/m"), ("rename", "d/m", "--map", "v1=w", "--replace")):
            with self.subTest(words):
                shutil.rmtree(self.dir / "d", ignore_errors=True)
                shutil.rmtree(self.dir / "saved", ignore_errors=True)
                self.cairn("save", "d/m", "old:int32=1", "--pin", "--metric", "loss=3", exit=YES)
                self.overtake("d/m")
                err = self.said(*words)
                self.assertEqual(self.metadata("d/m"), {"cairn.pinned": "1"})
                if words[0] != "pin":
                    self.assertIn('what only it held is lost: tensor "old" (int32 []); metadata "cairn.metric.loss"', err)
                self.cairn("save", "d/n", "a:int32=1", "--max-to-keep", "1", exit=YES)
                self.assertEqual(len(self.names("d/m")), 2)

    def test_elsewhere_it_is_named_too(self):
        self.cairn("save", "d/m", "old:int32=1", "--pin", exit=YES)
        self.overtake("d/m")
        self.assertIn('what only it held is lost: tensor "old"', self.said("import", "d/m", "--output", "e/m"))
        self.assertEqual(self.metadata("e/m"), {})


class NotesOfASaver(Told):
    def setUp(self):
        super().setUp()
        self.cairn("save", "d/m", "--step", "7", "--metric", "loss=3", "--pin", "a:int32=1", exit=YES)

    def left_out(self, *words):
        ran = self.cairn(*words, "--json", exit=YES)
        for key in ran.json["metadata_left_out"]:
            self.assertIn('left out, because only a Saver uses it: metadata "%s"' % key, ran.err)
        return ran.json["metadata_left_out"]

    def test_what_does_not_go_along_is_named_and_is_no_reason_to_refuse(self):
        both = ["cairn.metric.loss", "cairn.pinned"]
        self.assertEqual(self.left_out("convert", "d/m-7", "t/m-7", "--to", "tensorflow"), both)
        self.assertEqual(self.left_out("export", "d/m-7", "--to", "tensorflow", "--output", "e/m-7"), both)
        self.assertEqual(self.left_out("export", "d/m-7", "--to", "safetensors", "--output", "e/f"), both)
        self.assertEqual(self.left_out("export", "d/m-7", "--to", "safetensors"), [])  # P.cairn lies beside

    def test_a_metric_goes_through_a_file_and_a_pin_does_not(self):
        self.assertEqual(self.left_out("convert", "d/m-7", "s/m", "--to", "safetensors"), ["cairn.pinned"])
        self.assertEqual(self.metadata("s/m.safetensors"), {"cairn.metric.loss": "3"})
        self.cairn("convert", "s/m.safetensors", "c/m", "--to", "cairn", exit=YES)
        self.assertEqual(self.metadata("c/m"), {"cairn.metric.loss": "3"})


class ForeignKeys(Told):
    def test_those_of_somebody_else_are_kept(self):
        pairs = {"format": "pt", "cairn.foo": "bar", "cairn.": "dot"}
        write_safetensors(self.dir / "f.safetensors", {"v": ("I8", [1], b"\1")}, pairs)
        steps = {
            "a/m": ("convert", "f.safetensors", "a/m", "--to", "cairn"),
            "b/m.safetensors": ("convert", "a/m", "b/m", "--to", "safetensors"),
            "c/m": ("salvage", "f.safetensors", "c/m"),
            "d/m": ("save", "d/m", "--from", "f.safetensors", "w:int8=1"),
            "e/m": ("merge", "f.safetensors", "--output", "e/m"),
            "g/m.safetensors": ("export", "a/m", "--to", "safetensors", "--output", "g/m"),
            "h/m": ("rename", "a/m", "--map", "v=w", "--output", "h/m"),
        }
        for path, words in steps.items():
            with self.subTest(words):
                self.cairn(*words, exit=YES)
                self.assertEqual(self.metadata(path, "safetensors_metadata"), pairs)
        refused = self.cairn("convert", "a/m", "t/m", "--to", "tensorflow", exit=FAILED)
        self.assertIn('__metadata__ "cairn.foo"', refused.err)


class StepAndGraph(Told):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved")
        self.golden("tensorflow/v1/old.ckpt-3")

    def test_the_step_of_a_v1_file_is_kept(self):
        for words in (("merge", "old.ckpt-3"), ("rename", "old.ckpt-3", "--map", "t_int8=x")):
            self.cairn(*words, "--output", "x/" + words[0], exit=YES)
            self.assertEqual(self.listing("x/" + words[0])["step"], 3)

    def test_a_name_that_says_another_step_is_told(self):
        err = self.said("export", "saved/train2-9", "--to", "tensorflow", "--output", "e/m-3")
        self.assertIn("e/m-3: does not have the step of its source, 9, but step 3", err)
        err = self.said("export", "saved/train2-9", "--to", "tensorflow", "--output", "e/m")
        self.assertIn("e/m: does not have the step of its source, 9\n", err)
        self.assertNotIn("step", self.said("export", "saved/train2-9", "--to", "tensorflow", "--output", "e/m-9"))
        self.cairn("save", "d/m", "--step", "7", "a:int32=1", exit=YES)
        err = self.said("export", "d/m-7", "--to", "safetensors", "--output", "e/f-7")
        self.assertIn("e/f-7: does not have the step of its source, 7\n", err)

    def test_a_graph_that_stays_behind_is_named(self):
        graph = "saved/train2-9.meta: TensorFlow's graph is not copied"
        for words in (("export", "saved/train2-9", "--to", "tensorflow", "--output", "e/m-9"),
                      ("rename", "saved/train2-9", "--map", "v1=w", "--output", "r/m-9"),
                      ("merge", "saved/train2-9", "--output", "g/m-9"),
                      ("import", "saved/train2-9", "--output", "i/m-9"),
                      ("save", "s/m", "--step", "9", "--from", "saved/train2-9")):
            with self.subTest(words):
                self.assertIn(graph, self.said(*words))
        self.assertNotIn("graph", self.said("save", "s/n", "--from", "saved/train2-9", "--meta", "saved/train2-9.meta"))
        self.assertNotIn("graph", self.said("convert", "saved/train2-9", "c/m-9", "--to", "cairn"))


class Sentences(Told):
    def test_an_export_does_not_say_of_a_format_what_is_so_of_one_header(self):
        write_safetensors(self.dir / "f.safetensors", {"v": ("I8", [1], b"\1")}, {"cairn.metadata.k": "v"})
        self.cairn("convert", "f.safetensors", "o/m", "--to", "cairn", exit=YES)
        self.assertEqual(self.metadata("o/m"), {"k": "v"})
        err = self.cairn("export", "o/m", "--to", "safetensors", "--output", "e/m", exit=FAILED).err
        self.assertIn('the shard\'s safetensors header cannot hold metadata "k"', err)
        self.assertIn("or use 'cairn convert', which writes everything that a safetensors file can hold", err)
        self.cairn("convert", "o/m", "e/m", "--to", "safetensors", exit=YES)
        self.assertEqual(self.metadata("e/m.safetensors"), {"k": "v"})

    def test_the_help_of_rename_says_whose_syntax_it_is(self):
        text = self.cairn("rename", "--help", exit=YES).text
        self.assertIn("RE2's syntax", text)
        self.assertNotIn("JavaScript", text)


class StaleFiles(Told):
    def test_what_an_export_made_of_the_checkpoint_before_is_named(self):
        self.cairn("save", "d/m", "a:int32=1", exit=YES)
        self.assertNotIn("safetensors", self.said("save", "d/m", "a:int32=2"))
        self.cairn("export", "d/m", "--to", "safetensors", exit=YES)
        stale = "d/m.safetensors: was there before and is no part of the new checkpoint; remove it if it belonged to the previous one"
        self.assertIn(stale, self.said("save", "d/m", "a:int32=3"))
        self.assertEqual(self.said("convert", "d/m", "e/m", "--to", "cairn", "--replace"), "")
        self.assertIn(stale, self.said("convert", "e/m", "d/m", "--to", "cairn", "--replace"))
        self.assertIn(stale, self.said("salvage", "e/m", "d/m", "--replace"))

    def test_so_is_the_graph_of_a_checkpoint_of_tensorflows(self):
        self.golden("tensorflow/saver_walk/saved")
        err = self.said("save", "saved/train2", "--step", "9", "v1:int32=1", "v2:int32=2")
        self.assertIn("saved/train2-9.meta: was there before and is no part of the new checkpoint", err)

    def test_the_source_itself_is_not_called_so(self):
        write_safetensors(self.dir / "m.safetensors", {"v": ("I8", [1], b"\1")})
        self.assertNotIn("remove it by hand", self.said("convert", "m.safetensors", "m", "--to", "cairn"))


class MovedDirectories(Told):
    """The directory of the result is renamed while the verb is at work."""

    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved")
        self.golden("tensorflow/v1/old.ckpt-3")
        self.cairn("save", "own/m", "a:int32=1", exit=YES)

    def moved(self, *words):
        """Runs it, with d renamed between its opening of d and what it publishes there: what it prints."""
        for name in ("d", "d.old"):
            shutil.rmtree(self.dir / name, ignore_errors=True)
        (self.dir / "d").mkdir()
        with open(self.dir / "d/.cairn-lock", "w+") as lock:
            # Each byte but the directory's is a prefix's, up to those where they queue.
            fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 1, 1 << 61, 0))
            process = subprocess.Popen([CAIRN, *words], cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.addCleanup(process.kill)
            end = time.monotonic() + 30
            while not self.has_open(process.pid, self.dir / "d/.cairn-lock"):  # mv locks its source's directory too
                self.assertIsNone(process.poll(), words)
                self.assertLess(time.monotonic(), end)
                time.sleep(0.01)
            (self.dir / "d").rename(self.dir / "d.old")
            (self.dir / "d").mkdir()
        out, err = process.communicate(timeout=30)
        self.assertEqual(process.returncode, YES, err)
        return out.decode(), err.decode()

    @staticmethod
    def has_open(pid, path):
        for link in pathlib.Path("/proc/%d/fd" % pid).iterdir():
            try:
                if os.readlink(link) == os.path.realpath(path):
                    return True
            except FileNotFoundError:
                pass
        return False

    def test_what_is_printed_opens_and_a_warning_says_why(self):
        for words, tensor in (
            (("cp", "saved/train2-9", "d/m"), "v1"),
            (("cp", "old.ckpt-3", "d/m"), "t_int8"),
            (("mv", "saved/train2-8", "d/m"), "v1"),
            (("convert", "saved/train2-9", "d/m", "--to", "cairn"), "v1"),
            (("convert", "saved/train2-9", "d/m", "--to", "safetensors"), "v1"),
            (("salvage", "saved/train2-9", "d/m"), "v1"),
            (("merge", "saved/train2-9", "--output", "d/m"), "v1"),
            (("rename", "saved/train2-9", "--map", "v1=w", "--output", "d/m"), "w"),
            (("import", "saved/train2-9", "--output", "d/m"), "v1"),
            (("export", "saved/train2-9", "--to", "tensorflow", "--output", "d/m"), "v1"),
            (("export", "own/m", "--to", "safetensors", "--output", "d/m"), "a"),
        ):
            with self.subTest(words):
                out, err = self.moved(*words)
                self.assertIn("d/m", err)
                self.assertIn("its directory was renamed or removed in the meantime", err)
                printed = out.split(": ")[0].split(" \u2192 ")[-1]
                self.assertIn("/d.old/m", printed)
                self.assertIn(printed, err)
                self.assertIn(tensor, self.names(printed))
                self.assertEqual([p.name for p in (self.dir / "d").iterdir()], [])
