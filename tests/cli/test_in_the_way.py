"""What stands under a name already, and names that mean something else: refused, or replaced and named."""

import shutil

from command import FAILED, YES, CommandTest


class InTheWay(CommandTest):
    def contents(self):
        """Of every file but those of locks."""
        return {str(path): path.read_bytes() for path in self.dir.rglob("*")
                if path.is_file() and path.name != ".cairn-lock"}

    def refused(self, *words, says):
        before = self.contents()
        ran = self.cairn(*words, exit=FAILED)
        for sentence in says if isinstance(says, tuple) else (says,):
            self.assertIn(sentence, ran.err)
        self.assertEqual(self.contents(), before, words)

    def names(self, path):
        return [tensor["name"] for tensor in self.cairn("ls", path, "--json", exit=YES).json["tensors"]]


class NamesOfAV1File(InTheWay):
    def setUp(self):
        super().setUp()
        shutil.copyfile(self.golden("tensorflow/v1/old.ckpt-3"), self.dir / "src")
        self.cairn("save", "d/m", "a:int32=1", exit=YES)

    def test_those_that_mean_something_else_are_refused(self):
        for name, says in (
            (".cairn-journal", "one of Cairn's own files"),
            (".cairn-lock", "one of Cairn's own files"),
            ("z.cairn-tmp-0123456789abcdef", "one of Cairn's own files"),
            ("checkpoint", "the directory's catalog"),
            ("m.meta", "a file of another checkpoint"),
            ("m.index", "a file of another checkpoint"),
            ("m.cairn", "a file of another checkpoint"),
            ("n.safetensors", "a file of another checkpoint"),
            ("m.data-00000-of-00001", "a file of another checkpoint"),
            ("y-00000-of-00002", "one of several files"),
        ):
            for verb in ("cp", "mv"):
                for replace in ((), ("--replace",)):
                    with self.subTest(name=name, verb=verb, replace=replace):
                        self.refused(verb, "src", "d/" + name, *replace, says=(says, "choose another name"))
        self.assertEqual(self.names("d/m"), ["a"])
        self.cairn("cp", "src", "d/x-00000-of-00001", exit=YES)  # the only one of one: opens as it is
        self.assertIn("t_int8", self.names("d/x"))

    def test_nothing_but_a_v1_file_is_replaced(self):
        (self.dir / "d/best").write_text((self.dir / "d/checkpoint").read_text())
        (self.dir / "d/notes").write_text("notes")
        for name in ("best", "notes"):
            self.refused("cp", "src", "d/" + name, "--replace", says="is no checkpoint")
        self.cairn("cp", "src", "d/v", exit=YES)
        with open(self.dir / "d/v", "r+b") as damaged:
            damaged.seek(1000)
            damaged.write(b"damage")
        self.cairn("cp", "src", "d/v", "--replace", exit=YES)
        self.cairn("verify", "d/v", exit=YES)


class HiddenV1(InTheWay):
    """An index under the name of a V1 checkpoint hides it."""

    def setUp(self):
        super().setUp()
        self.golden("tensorflow/v1/old.ckpt-3")
        self.golden("tensorflow/saver_walk/saved")
        self.old = (self.dir / "old.ckpt-3").read_bytes()

    VERBS = (
        ("convert", "saved/train2-9", "d/v", "--to", "cairn"),
        ("convert", "saved/train2-9", "d/v", "--to", "tensorflow"),
        ("convert", "old.ckpt-3", "d/v", "--to", "cairn"),
        ("salvage", "saved/train2-9", "d/v"),
        ("merge", "saved/train2-9", "--output", "d/v"),
        ("rename", "saved/train2-9", "--map", "v1=w", "--output", "d/v"),
        ("import", "saved/train2-9", "--output", "d/v"),
        ("export", "saved/train2-9", "--to", "tensorflow", "--output", "d/v"),
        ("save", "d/v", "a:int32=1"),
    )

    def test_no_verb_hides_one_unasked_and_who_is_asked_names_it(self):
        for files in (("v",), ("v-00000-of-00002", "v-00001-of-00002")):
            for words in self.VERBS:
                with self.subTest(words=words, files=files):
                    shutil.rmtree(self.dir / "d", ignore_errors=True)
                    (self.dir / "d").mkdir()
                    for name in files:
                        (self.dir / "d" / name).write_bytes(self.old)
                    self.refused(*words, says=("d/v: ", "V1 checkpoint exists there", "--replace"))
                    ran = self.cairn(*words, "--replace", exit=YES)
                    self.assertIn("d/v: has the name of a V1 checkpoint", ran.err)
                    self.assertIn(files[-1], ran.err)
                    self.assertEqual("t_int8" in self.names("d/v"), "old.ckpt-3" in words)
                    for name in files:
                        self.assertEqual((self.dir / "d" / name).read_bytes(), self.old)


class Unreadable(InTheWay):
    """Nobody can tell what a save over an index that cannot be read would do away with."""

    def test_a_save_takes_no_place_whose_tensors_nobody_can_tell(self):
        for damaged in ("m.index", "m.cairn"):
            with self.subTest(damaged):
                shutil.rmtree(self.dir / "d", ignore_errors=True)
                self.cairn("save", "d/m", "a:int32=1", "b:int32=2", exit=YES)
                self.flip_bit(self.dir / "d" / damaged, 100 if damaged == "m.cairn" else 20)
                for tensors in (["a:int32=3"], ["a:int32=3", "b:int32=4"]):
                    self.refused("save", "d/m", *tensors, says=("d/m: is there", "d/" + damaged, "--replace",
                                                                "'cairn salvage'"))
                self.assertEqual(self.cairn("salvage", "d/m", "whole/m", "--replace", exit=YES).text,
                                 "whole/m: kept 2 of 2 tensors, 8 of 8 bytes\n")
                ran = self.cairn("save", "d/m", "a:int32=3", "--replace", exit=YES)
                self.assertIn("whose tensors are not known: d/" + damaged, ran.err)
                self.assertEqual(self.names("d/m"), ["a"])

    def test_nor_does_a_copy_without_saying_so(self):
        self.cairn("save", "d/m", "a:int32=1", exit=YES)
        self.cairn("save", "e/m", "b:int32=1", exit=YES)
        self.flip_bit(self.dir / "e/m.cairn", 100)
        ran = self.cairn("cp", "d/m", "e/m", "--replace", exit=YES)
        self.assertIn("e/m: it is not known which tensors the replaced checkpoint had: e/m.cairn", ran.err)
