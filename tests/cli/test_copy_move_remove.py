"""cp, mv and rm: a checkpoint as a whole, and the catalogs told."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import time

from bundle import crc32c, masked, table, varint, write_bundle
from command import CAIRN, FAILED, YES, CommandTest


F_OFD_SETLK = 37  # of Linux; Python names it since 3.9 on some systems only


class Checkpoints(CommandTest):
    """A directory that TensorFlow wrote: train1, which no catalog lists, and train2-5 to train2-9."""

    def setUp(self):
        super().setUp()
        self.saved = self.golden("tensorflow/saver_walk/saved")
        self.saved.joinpath("checkpoint.after_train1").unlink()

    def names(self, directory="saved"):
        return sorted(path.name for path in (self.dir / directory).iterdir() if not path.name.startswith("."))

    def members(self, base, directory="saved"):
        return [name for name in self.names(directory) if name.startswith(base)]

    def listed(self, catalog="checkpoint", directory="saved"):
        """What a catalog lists; the latest first."""
        text = (self.dir / directory / catalog).read_text()
        return [line.split('"')[1] for line in text.splitlines()]

    def contents(self):
        """Of every file but those of locks."""
        return {str(path): hashlib.md5(path.read_bytes()).hexdigest() for path in self.dir.rglob("*")
                if path.is_file() and path.name != ".cairn-lock"}

    def refused(self, *words, says):
        before = self.contents()
        ran = self.cairn(*words, exit=FAILED)
        for sentence in says if isinstance(says, (list, tuple)) else [says]:
            self.assertIn(sentence, ran.err)
        self.assertEqual(len(ran.err.splitlines()), 1, ran.err)
        self.assertEqual(self.contents(), before)

    def assert_whole(self, path, quiet=True):
        """Opens, all sums right, and nothing to remark."""
        ran = self.cairn("verify", path, exit=YES)
        if quiet:
            self.assertEqual(ran.err, "")

    def tensors(self, path):
        return [(t["name"], t["dtype"], t["shape"], t["crc32c"])
                for t in self.cairn("ls", path, "--json", exit=YES).json["tensors"]]

    def metadata(self, path):
        return self.cairn("ls", path, "--json", exit=YES).json["metadata"]


class Copy(Checkpoints):
    def test_all_files_are_copied_and_none_is_shared(self):
        done = self.cairn("cp", "saved/train2-9", "out/m", "--json", exit=YES)
        self.assertEqual(done.json["prefix"], "out/m")
        self.assertIn(done.json["link"], ("copy", "reflink"))
        self.assertEqual(self.names("out"), ["m.data-00000-of-00001", "m.index", "m.meta"])
        for name in self.names("out"):
            source = self.saved / name.replace("m.", "train2-9.", 1)
            self.assertEqual((self.dir / "out" / name).read_bytes(), source.read_bytes())
            self.assertFalse(os.path.samefile(self.dir / "out" / name, source))
        self.assert_whole("out/m")

    def test_the_record_of_the_files_is_renewed(self):
        self.cairn("import", "saved/train2-9", exit=YES)
        by_hand = self.dir / "by_hand"
        by_hand.mkdir()
        for name in self.members("train2-9"):
            shutil.copyfile(self.saved / name, by_hand / name)
        # Such a copy nags until somebody imports it again.
        self.assertIn("touched or copied", self.cairn("ls", "by_hand/train2-9", exit=YES).err)
        self.cairn("cp", "saved/train2-9", "out/m", exit=YES)
        self.assertEqual(self.cairn("ls", "out/m", exit=YES).err, "")
        self.assertEqual(self.names("out"), ["m.cairn", "m.data-00000-of-00001", "m.index", "m.meta"])
        # A copy of one that nags does not.
        self.cairn("cp", "by_hand/train2-9", "out/n", exit=YES)
        self.assertEqual(self.cairn("ls", "out/n", exit=YES).err, "")

    def test_everything_that_the_index_says_stays(self):
        self.cairn("save", "kept/m", "--step", "3", "x:float32=1.5", "--metric", "loss=0.5", "--pin", exit=YES)
        self.cairn("cp", "kept/m-3", "out/n", exit=YES)
        self.assertEqual(self.metadata("out/n"), self.metadata("kept/m-3"))
        self.assertIn({"key": "cairn.pinned", "value": "1"}, self.metadata("out/n"))
        self.assertEqual(self.tensors("out/n"), self.tensors("kept/m-3"))
        self.assertEqual(self.cairn("ls", "out/n", "--json").json["step"], 3)

    def test_a_directory_keeps_the_name(self):
        (self.dir / "out").mkdir()
        self.assertEqual(self.cairn("cp", "saved/train2-9", "out", "--json", exit=YES).json["prefix"], "out/train2-9")
        self.cairn("cp", "saved/train2-8.index", "out/", exit=YES)
        self.cairn("cp", "saved", "out/latest", exit=YES)
        for name in ("train2-9", "train2-8", "latest"):
            self.assert_whole("out/" + name)
        self.refused("cp", "saved/train2-9", "nowhere/", says="is neither an existing directory nor a prefix")

    def test_what_is_there_is_replaced_only_when_told(self):
        self.cairn("cp", "saved/train2-8", "out/m", exit=YES)
        self.refused("cp", "saved/train2-9", "out/m", says="--replace")
        self.cairn("cp", "saved/train2-9", "out/m", "--replace", exit=YES)
        self.assertEqual(self.tensors("out/m"), self.tensors("saved/train2-9"))
        self.assertEqual(len([n for n in self.names("out") if ".data-" in n]), 1)
        # One index in the place of two: the other one goes.
        self.cairn("import", "out/m", exit=YES)
        self.cairn("cp", "saved/train2-7", "out/m", "--replace", exit=YES)
        self.assertEqual(self.tensors("out/m"), self.tensors("saved/train2-7"))
        self.assertNotIn("m.cairn", self.names("out"))
        self.assert_whole("out/m")

    def test_what_goes_and_what_stays_of_what_was_there_is_said(self):
        self.cairn("save", "own/m", "gone:float32=1", exit=YES)
        self.cairn("export", "own/m", "--to", "safetensors", exit=YES)
        (self.dir / "own/m.meta").write_bytes(b"graph")
        ran = self.cairn("cp", "saved/train2-7", "own/m", "--replace", exit=YES)
        self.assertIn('own/m: tensor "gone" (float32 []) is not in the new checkpoint', ran.err)
        for name in ("own/m.meta", "own/m.safetensors"):
            self.assertIn(name + ": was there before and is no part of the new checkpoint", ran.err)
        ran = self.cairn("convert", "saved/train2-7", "own/m", "--to", "cairn", "--replace", exit=YES)
        for name in ("own/m.meta", "own/m.safetensors"):
            self.assertIn(name + ": was there before and is no part of the new checkpoint", ran.err)

    def test_a_pin_that_is_replaced_is_said_to_be_gone(self):
        self.cairn("save", "own/n", "v:int32=1", exit=YES)
        for verb, words in (
            ("cp", ("own/n", "own/m")),
            ("convert", ("own/n", "own/m", "--to", "cairn")),
            ("merge", ("own/n", "--output", "own/m")),
        ):
            with self.subTest(verb):
                self.cairn("save", "own/m", "v:int32=1", "--pin", "--replace", exit=YES)
                ran = self.cairn(verb, *words, "--replace", exit=YES)
                self.assertIn("own/m: was pinned, and what took its place is not; 'cairn pin' pins it", ran.err)
        self.cairn("save", "own/m", "v:int32=1", "--pin", "--replace", exit=YES)
        for words in (("save", "own/m", "v:int32=2"), ("pin", "own/m", "--remove")):  # a save keeps the pin
            self.assertNotIn("was pinned", self.cairn(*words, exit=YES).err)

    def test_a_copy_that_fails_leaves_no_directory(self):
        self.flip_bit(self.saved / "train2-9.data-00000-of-00001", 1)
        (self.dir / "there").mkdir()
        ran = self.cairn("cp", "saved/train2-9", "there/a/b/m", exit=FAILED)
        self.assertIn("1 damaged range, in ", ran.err)
        self.assertEqual(list((self.dir / "there").iterdir()), [])

    def test_what_a_killed_copy_left_goes_before_room_is_taken(self):
        (self.dir / "out").mkdir()
        dead = self.dir / "out/x.data-00000-of-00001.cairn-tmp-0123456789abcdef"
        dead.write_bytes(b"dead")
        self.flip_bit(self.saved / "train2-9.data-00000-of-00001", 1)
        self.cairn("cp", "saved/train2-9", "out/y", exit=FAILED)  # comes to no commit
        self.assertFalse(dead.exists())

    def test_a_v1_file_does_not_hide_a_sharded_one(self):
        old = self.golden("tensorflow/v1/old.ckpt-3")
        for i in (0, 1):
            shutil.copyfile(old, self.dir / ("x-0000%d-of-00002" % i))
        self.refused("cp", "old.ckpt-3", "x", says="would hide")
        self.cairn("cp", "old.ckpt-3", "x", "--replace", exit=YES)

    def test_itself_is_refused_however_it_is_spelt(self):
        os.symlink("saved", self.dir / "again")
        for target in ("saved/train2-9", "./saved/../saved/train2-9", "again/train2-9", "again"):
            self.refused("cp", "saved/train2-9", target, "--replace", says="is the place of the checkpoint itself")

    def test_itself_is_refused_by_links_too(self):
        for name in self.members("train2-9"):
            os.symlink(name, self.saved / name.replace("train2-9", "link"))
        for verb in ("cp", "mv"):
            self.refused(verb, "saved/train2-9", "saved/link", "--replace", says="symbolic link to the checkpoint itself")

    def test_damage_is_not_copied(self):
        self.flip_bit(self.saved / "train2-9.data-00000-of-00001", 1)
        self.refused("cp", "saved/train2-9", "saved/m", says=("damaged range", "not copied", "salvage"))
        self.cairn("import", "saved/train2-8", exit=YES)
        shard = self.saved / "train2-8.data-00000-of-00001"
        shard.chmod(0o644)
        self.flip_bit(shard, 1)
        self.refused("cp", "saved/train2-8", "saved/m", says="damaged range")

    def test_every_index_is_taken_along(self):
        self.cairn("save", "own/m", "x:float32=1", exit=YES)
        self.cairn("export", "own/m", "--to", "safetensors", exit=YES)
        self.cairn("cp", "own/m", "out/n", exit=YES)
        self.assertEqual(self.names("out"), ["n.cairn", "n.data-00000-of-00001", "n.index", "n.safetensors"])
        self.assertTrue(os.path.samefile(self.dir / "out/n.safetensors", self.dir / "out/n.data-00000-of-00001"))
        self.assert_whole("out/n")
        self.assertEqual([t[:3] for t in self.tensors("out/n.safetensors")], [t[:3] for t in self.tensors("own/m")])
        (self.dir / "own/m.index").unlink()  # P.cairn alone
        self.cairn("cp", "own/m", "out/alone", exit=YES)
        self.assertEqual([n for n in self.names("out") if n.startswith("alone")],
                         ["alone.cairn", "alone.data-00000-of-00001", "alone.safetensors"])
        self.assert_whole("out/alone")
        self.cairn("cp", "own/m", "out/n", "--replace", exit=YES)
        self.assertNotIn("n.index", self.names("out"))
        self.assert_whole("out/n")

    def test_shards_in_which_no_tensor_lies_come_along(self):
        for verb in ("cp", "mv"):
            prefix = self.dir / verb
            write_bundle(prefix, {b"a": b"12"})
            shape, checksum = b"\x12\x02\x08\x02", struct.pack("<I", masked(crc32c(b"12")))
            entry = b"\x08\x04\x12" + varint(len(shape)) + shape + b"\x28\x02\x35" + checksum
            header = b"\x08\x02\x1a\x02\x08\x01"  # two shards
            (self.dir / (verb + ".index")).write_bytes(table([(b"", header), (b"a", entry)]))
            os.rename("%s.data-00000-of-00001" % prefix, "%s.data-00000-of-00002" % prefix)
            (self.dir / (verb + ".data-00001-of-00002")).write_bytes(b"")
            self.cairn(verb, verb, verb + "d/m", exit=YES)
            self.cairn("import", verb + "d/m", exit=YES)
            self.cairn(verb, verb + "d/m", verb + "n/m", exit=YES)  # by P.cairn too
            self.assertEqual([n for n in self.names(verb + "n") if ".data-" in n],
                             ["m.data-00000-of-00002", "m.data-00001-of-00002"])
            self.assert_whole(verb + "n/m")

    def test_a_safetensors_file_and_a_v1_file(self):
        self.cairn("convert", "saved/train2-9", "hub/m", "--to", "safetensors", exit=YES)
        ran = self.cairn("cp", "hub/m.safetensors", "out/n", "--json", exit=YES)
        self.assertEqual(ran.json["prefix"], "out/n.safetensors")
        self.assertIn("no checksum", ran.err)
        self.assertEqual((self.dir / "out/n.safetensors").read_bytes(), (self.dir / "hub/m.safetensors").read_bytes())
        self.refused("cp", "hub/m.safetensors", "out/n.safetensors", says="--replace")
        self.cairn("import", "hub/m.safetensors", exit=YES)
        self.assertEqual(self.cairn("cp", "hub/m.safetensors", "out/summed", exit=YES).err, "")
        path = self.dir / "hub/m.safetensors"
        data, times = path.read_bytes(), path.stat()
        path.chmod(0o644)
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.refused("cp", "hub/m.safetensors", "out/damaged", says="it was not copied")
        path.write_bytes(data)
        self.cairn("rm", "out/summed.safetensors", exit=YES)
        self.refused("cp", "hub/m.safetensors", "hub/m", "--replace", says="is the place of the checkpoint itself")
        self.cairn("cp", "hub/m.safetensors", "out", exit=YES)
        self.assertEqual(self.names("out"), ["m.safetensors", "n.safetensors"])
        old = self.golden("tensorflow/v1/old.ckpt-3")
        self.cairn("cp", "old.ckpt-3", "out/v1", exit=YES)
        self.assertEqual((self.dir / "out/v1").read_bytes(), old.read_bytes())
        self.assert_whole("out/v1")
        self.refused("cp", "saved/train2-9", "out/v1", "--replace", says="a V1 checkpoint exists there")
        self.refused("cp", "old.ckpt-3", "saved/train2-9", "--replace", says="instead of the V1 file")
        self.flip_bit(old, 1000)
        self.refused("cp", "old.ckpt-3", "out/v2", says=("cairn: old.ckpt-3: byte", "not copied"))
        shutil.copyfile(self.dir / "hub/m.safetensors", self.dir / "short.safetensors")
        os.truncate(self.dir / "short.safetensors", 60)
        self.refused("cp", "short.safetensors", "out/short", says=("cairn: short.safetensors: ", "not copied"))

    def test_a_saved_model_is_a_directory(self):
        model = self.dir / "model"
        (model / "variables").mkdir(parents=True)
        (model / "saved_model.pb").write_bytes(b"\x08\x01")
        write_bundle(model / "variables/variables", {b"a": b"12"})
        self.refused("cp", "model", "out", says=("SavedModel", "cp -r", "model/variables/variables"))
        self.refused("mv", "model/variables/variables", "out", says="SavedModel")
        self.refused("rm", "model/variables/variables", says="SavedModel")
        self.cairn("cp", "model/variables/variables", "out/v", exit=YES)
        self.assert_whole("out/v")

    def test_what_is_no_checkpoint_is_named(self):
        self.refused("cp", "nothing", "out", says="nothing: no checkpoint there")
        self.refused("mv", "nothing", "out", says="nothing: no checkpoint there")
        self.refused("rm", "nothing", says="nothing: no checkpoint there")

    def test_links_make_a_checkpoint_of_its_own(self):
        linked = self.dir / "linked"
        linked.mkdir()
        for name in self.members("train2-9"):
            (linked / name).symlink_to(self.saved / name)
        self.refused("cp", "linked/train2-9", "out/m", says="--follow-links")
        self.cairn("cp", "linked/train2-9", "out/m", "--follow-links", exit=YES)
        self.assertFalse(any((self.dir / "out" / name).is_symlink() for name in self.names("out")))
        self.assert_whole("out/m")
        self.refused("mv", "linked/train2-9", "out/n", "--follow-links", says=("symbolic link", "cairn cp", "cairn rm"))
        self.cairn("rm", "linked/train2-9", exit=YES)
        self.assertEqual(self.names("linked"), [])
        self.assert_whole("saved/train2-9")


class Move(Checkpoints):
    def test_the_files_are_the_same_under_other_names(self):
        self.cairn("import", "saved/train2-7", exit=YES)
        before = {n: os.stat(self.saved / n) for n in self.members("train2-7")}
        done = self.cairn("mv", "saved/train2-7", "saved/best", "--json", exit=YES)
        self.assertEqual((done.json["prefix"], done.json["link"], done.json["payload_bytes_copied"]),
                         ("saved/best", "hard", 0))
        self.assertEqual(done.json["catalogs"], ["checkpoint"])
        self.assertEqual(self.members("train2-7"), [])
        self.assertEqual(self.members("best"), ["best.cairn", "best.data-00000-of-00001", "best.index"])
        for name in ("best.data-00000-of-00001", "best.index"):
            now, then = os.stat(self.saved / name), before[name.replace("best", "train2-7")]
            self.assertEqual((now.st_ino, now.st_mtime_ns, now.st_nlink), (then.st_ino, then.st_mtime_ns, 1))
        self.assert_whole("saved/best")

    def test_the_catalogs_entry_becomes_the_new_name_at_its_place(self):
        self.cairn("mv", "saved/train2-7", "saved/best", exit=YES)
        self.assertEqual(self.listed(), ["train2-9", "train2-5", "train2-6", "best", "train2-8", "train2-9"])
        self.cairn("mv", "saved/train2-9", "saved/last", exit=YES)
        self.assertEqual(self.listed(), ["last", "train2-5", "train2-6", "best", "train2-8", "last"])
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/last\n")
        self.cairn("mv", "saved/train2-8", "saved/last", "--replace", exit=YES)
        self.assertEqual(self.listed(), ["last", "train2-5", "train2-6", "best", "last"])

    def test_who_moves_within_a_catalog_is_told_that_retention_goes_on(self):
        ran = self.cairn("mv", "saved/train2-7", "saved/best", exit=YES)
        self.assertIn("to keep it, run 'cairn pin saved/best'", ran.err)
        self.cairn("pin", "saved/best", exit=YES)
        self.assertNotIn("cairn pin", self.cairn("mv", "saved/best", "saved/top", exit=YES).err)

    def test_a_warning_names_the_new_place(self):
        self.cairn("import", "saved/train2-7", exit=YES)
        os.utime(self.saved / "train2-7.data-00000-of-00001")
        ran = self.cairn("mv", "saved/train2-7", "saved/c", exit=YES)
        self.assertIn("cairn: warning: saved/c: a shard was touched or copied after its index was written, so each tensor is checked before its use; "
                      "to check them once and end this warning, run 'cairn import saved/c'\n", ran.err)
        self.assertNotIn("import saved/train2-7", ran.err)
        os.utime(self.saved / "c.data-00000-of-00001")
        self.assertIn("cairn: warning: saved/c: a shard was touched", self.cairn("cp", "saved/c", "saved/d", exit=YES).err)

    def test_what_no_catalog_lists_stays_unlisted(self):
        before = self.listed()
        done = self.cairn("mv", "saved/train1", "saved/first", "--json", exit=YES)
        self.assertEqual(done.json["catalogs"], [])
        self.assertEqual(self.listed(), before)
        self.assertEqual(self.members("first"), ["first.data-00000-of-00001", "first.index", "first.meta"])

    def test_every_catalog_of_the_directory_is_told(self):
        (self.saved / "best_checkpoint").write_text(
            'model_checkpoint_path: "train2-7"\nall_model_checkpoint_paths: "train2-7"\n')
        done = self.cairn("mv", "saved/train2-7", "saved/best", "--json", exit=YES)
        self.assertEqual(done.json["catalogs"], ["checkpoint", "best_checkpoint"])
        self.assertEqual(self.listed("best_checkpoint"), ["best", "best"])
        self.cairn("mv", "saved/best", "saved/better", "--catalog", "best_checkpoint", exit=YES)
        self.assertEqual(self.listed("best_checkpoint"), ["better", "better"])
        self.assertEqual(self.listed()[3], "better")

    def test_in_another_directory_the_entry_goes(self):
        ran = self.cairn("mv", "saved/train2-9", "archive/old", exit=YES)
        self.assertIn("its latest checkpoint is now saved/train2-8", ran.err)
        self.assertIn("to list it, use 'cairn set-latest'", ran.err)
        self.assertEqual(self.listed(), ["train2-8", "train2-5", "train2-6", "train2-7", "train2-8"])
        self.assertEqual(self.names("archive"), ["old.data-00000-of-00001", "old.index", "old.meta"])
        self.assert_whole("archive/old")
        self.assertEqual(self.cairn("mv", "saved/train1", "archive", exit=YES).err, "")
        for step in (5, 6, 7, 8):
            ran = self.cairn("mv", "saved/train2-%d" % step, "archive", exit=YES)
        self.assertIn("listed no other checkpoint, and is removed", ran.err)
        self.assertEqual(self.names(), [])

    def test_a_pin_moves_along(self):
        self.cairn("pin", "saved/train2-5", exit=YES)
        self.cairn("mv", "saved/train2-5", "saved/train2-1", exit=YES)
        verdicts = self.cairn("prune", "saved", "--max-to-keep", "1", "--json", exit=YES).json["checkpoints"]
        self.assertEqual({v["prefix"]: v["why"] for v in verdicts if v["kept"]}["saved/train2-1"], "pinned")
        # TensorFlow has saved over it since.
        for suffix in (".index", ".data-00000-of-00001"):
            shutil.copyfile(self.saved / ("train1" + suffix), self.saved / "new")
            os.replace(self.saved / "new", self.saved / ("train2-1" + suffix))
        self.refused("mv", "saved/train2-1", "saved/train2-2", says=("pinned", "'cairn import'"))

    def test_a_path_that_only_leads_to_one_is_refused(self):
        for verb in (("mv", "saved"), ("rm", "saved")):
            target = ("out",) if verb[0] == "mv" else ()
            self.refused(*verb, *target, says=("is a directory", "saved/train2-9"))
            self.refused(verb[0], "saved/checkpoint", *target, says=("a catalog", "saved/train2-9"))
            self.refused(verb[0], "saved/train2-8.index", *target, says=("one file of a checkpoint", "saved/train2-8"))
            self.refused(verb[0], "saved/train2-8.data-00000-of-00001", *target, says="one file of a checkpoint")

    def test_it_is_not_moved_onto_itself_or_over_another_unasked(self):
        self.refused("mv", "saved/train2-9", "saved/./train2-9", says="is the place of the checkpoint itself")
        self.refused("mv", "saved/train2-9", "saved", "--replace", says="is the place of the checkpoint itself")
        self.refused("mv", "saved/train2-9", "saved/train2-8", says="--replace")
        self.refused("mv", "saved/train2-9", "saved/checkpoint", says="cannot have the name of the catalog")

    def test_across_file_systems_it_is_copied_and_checked(self):
        if not os.access("/dev/shm", os.W_OK) or os.stat("/dev/shm").st_dev == os.stat(self.dir).st_dev:
            self.skipTest("no other file system here")
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="cairn-cli-") as other:
            self.cairn("import", "saved/train2-8", exit=YES)
            tensors = self.tensors("saved/train2-8")
            done = self.cairn("mv", "saved/train2-8", other + "/m", "--json", exit=YES)
            self.assertEqual(done.json["link"], "copy")
            self.assertEqual(self.members("train2-8"), [])
            self.assertEqual(self.tensors(other + "/m"), tensors)
            self.assert_whole(other + "/m")
            self.flip_bit(self.saved / "train2-7.data-00000-of-00001", 1)
            self.refused("mv", "saved/train2-7", other + "/n", says="damaged range")
            self.assertEqual([p.name for p in pathlib.Path(other).iterdir() if "n." in p.name[:2]], [])

    def test_one_file(self):
        self.cairn("convert", "saved/train2-9", "hub/m", "--to", "safetensors", exit=YES)
        self.assertEqual(self.cairn("mv", "hub/m.safetensors", "hub/n", "--json", exit=YES).json["prefix"],
                         "hub/n.safetensors")
        self.assertEqual(self.names("hub"), ["n.safetensors"])
        old = self.golden("tensorflow/v1/old.ckpt-3")
        self.golden("tensorflow/v1/checkpoint")
        self.cairn("mv", "old.ckpt-3", "model.ckpt-4", exit=YES)
        self.assertFalse(old.exists())
        self.assert_whole("model.ckpt-4")
        self.assertEqual(self.listed(directory="."), ["model.ckpt-4", "model.ckpt-4"])


class Remove(Checkpoints):
    def test_what_the_system_does_not_let_go_of_stays_whole_and_listed_as_before(self):
        index = self.saved / "train2-7.index"
        try:
            subprocess.run(["chattr", "+i", index], check=True, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError):
            self.skipTest("skipped: no file can be made immutable here")
        try:
            self.refused("rm", "saved/train2-7", says=("cannot remove", "saved/train2-7 stays whole", "cairn rm"))
            self.assertFalse((self.saved / ".cairn-journal").exists())
        finally:
            subprocess.run(["chattr", "-i", index], check=True)
        # Nor does the next change remove it.
        self.cairn("save", "saved/k", "v:int32=1", exit=YES)
        self.assert_whole("saved/train2-7")

    def test_the_entry_and_then_the_files_go(self):
        done = self.cairn("rm", "saved/train2-7", "--json", exit=YES)
        self.assertEqual(done.json, {"prefix": "saved/train2-7", "catalogs": ["checkpoint"],
                                     "files": ["train2-7.index", "train2-7.data-00000-of-00001"]})
        self.assertEqual(self.members("train2-7"), [])
        self.assertEqual(self.listed(), ["train2-9", "train2-5", "train2-6", "train2-8", "train2-9"])
        self.assertFalse((self.saved / ".cairn-journal").exists())
        self.assertIn("train1.meta", self.cairn("rm", "saved/train1", exit=YES).text)

    def test_a_dry_run_says_the_same_and_changes_nothing(self):
        before = self.contents()
        dry = self.cairn("rm", "saved/train2-7", "--dry-run", "--json", exit=YES)
        self.assertIn("would remove 2 files", self.cairn("rm", "saved/train2-7", "--dry-run", exit=YES).text)
        self.assertEqual(self.contents(), before)
        self.assertEqual(self.cairn("rm", "saved/train2-7", "--json", exit=YES).json, dry.json)

    def test_the_latest_goes_only_by_force(self):
        self.refused("rm", "saved/train2-9", says=("the latest", "--force"))
        self.cairn("rm", "saved/train2-9", "--force", exit=YES)
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train2-8\n")
        for step in (5, 6, 7):
            self.cairn("rm", "saved/train2-%d" % step, exit=YES)
        self.cairn("rm", "saved/train2-8", "--force", exit=YES)
        self.assertEqual(self.members("train2"), [])
        self.assertFalse((self.saved / "checkpoint").exists())

    def test_a_pinned_one_never_goes(self):
        self.cairn("pin", "saved/train2-6", exit=YES)
        for force in ((), ("--force",)):
            self.refused("rm", "saved/train2-6", *force, says=("pinned", "cairn pin --remove"))
        self.cairn("pin", "saved/train2-6", "--remove", exit=YES)
        self.cairn("rm", "saved/train2-6", exit=YES)

    def test_what_another_catalog_lists_goes_only_by_force(self):
        (self.saved / "best_checkpoint").write_text(
            'model_checkpoint_path: "train2-7"\nall_model_checkpoint_paths: "train2-6"\n'
            'all_model_checkpoint_paths: "train2-7"\n')
        self.refused("rm", "saved/train2-6", says=("best_checkpoint", "--force"))
        done = self.cairn("rm", "saved/train2-6", "--force", "--json", exit=YES)
        self.assertEqual(done.json["catalogs"], ["checkpoint", "best_checkpoint"])
        self.assertEqual(self.listed("best_checkpoint"), ["train2-7", "train2-7"])
        self.refused("rm", "saved/train2-7", "--catalog", "best_checkpoint", says="the latest")

    def test_a_damaged_one_goes(self):
        for name in self.members("train2-5"):
            self.flip_bit(self.saved / name, 1)
        self.cairn("rm", "saved/train2-5", exit=YES)
        (self.saved / "train2-6.data-00000-of-00001").unlink()
        self.cairn("rm", "saved/train2-6", exit=YES)
        self.assertEqual(self.listed(), ["train2-9", "train2-7", "train2-8", "train2-9"])

    def test_one_file(self):
        self.cairn("convert", "saved/train2-9", "hub/m", "--to", "safetensors", exit=YES)
        self.cairn("rm", "hub/m.safetensors", exit=YES)
        self.assertEqual(self.names("hub"), [])
        self.golden("tensorflow/v1/old.ckpt-3")
        self.cairn("rm", "old.ckpt-3", exit=YES)
        self.assertFalse((self.dir / "old.ckpt-3").exists())

    def test_names_that_begin_alike_stay(self):
        for base in ("train2-70", "train2-7-x", "train2"):
            self.cairn("cp", "saved/train2-7", "saved/" + base, exit=YES)
        (self.saved / "train2-7.txt").write_text("notes")
        self.cairn("rm", "saved/train2-7", exit=YES)
        for base in ("train2-70", "train2-7-x", "train2"):
            self.assert_whole("saved/" + base)
        self.assertTrue((self.saved / "train2-7.txt").exists())


class Beside(Checkpoints):
    """Others at work in the same directory."""

    def bring(self, *names):
        """As of a copy or a save under way, whose index comes last."""
        for name in names:
            (self.dir / name).write_bytes(b"under way")

    def test_shards_that_no_index_names_stay(self):
        ours = ["m-%d.data-00000-of-00007" % step for step in (1, 2, 3)]
        theirs = ["train2-7.data-0000%d-of-00002" % i for i in (0, 1)]
        old = ["train2-5.data-00000-of-00002", "train2-6.data-00000-of-00002"]
        for step in (1, 2, 3):
            self.cairn("save", "own/m", "--step", str(step), "x:float32=1", exit=YES)
        self.bring(*("own/" + name for name in ours), *("saved/" + name for name in theirs + old))
        self.cairn("mv", "own/m-1", "own/best", exit=YES)
        self.assertEqual(self.members("m-1", "own"), [ours[0]])
        self.cairn("mv", "saved/train2-7", "saved/best", exit=YES)
        self.assertEqual(self.members("train2-7"), theirs)
        self.assert_whole("saved/best")
        self.cairn("rm", "own/m-2", exit=YES)
        self.assertEqual(self.members("m-2", "own"), [ours[1]])
        self.cairn("save", "own/m", "--step", "4", "x:float32=1", "--max-to-keep", "1", exit=YES)
        self.assertEqual(self.members("m-3", "own"), [ours[2]])
        self.cairn("prune", "saved", "--max-to-keep", "2", exit=YES)
        self.assertEqual(self.members("train2-5") + self.members("train2-6"), old)
        state = self.cairn("state", "own", exit=YES).text
        for name in ours:
            self.assertIn(name, state)

    def test_of_a_damaged_index_rm_takes_the_shards_where_it_is_plain_whose_they_are(self):
        for base in ("train2-5", "train2-6"):
            (self.saved / (base + ".index")).write_bytes(b"damaged")
        self.bring("saved/train2-6.data-00000-of-00002")
        self.cairn("rm", "saved/train2-5", exit=YES)
        self.assertEqual(self.members("train2-5"), [])
        self.cairn("rm", "saved/train2-6", exit=YES)
        self.assertEqual(self.members("train2-6"),
                         ["train2-6.data-00000-of-00001", "train2-6.data-00000-of-00002"])

    def test_retention_leaves_the_shards_of_an_index_that_is_damaged(self):
        (self.saved / "train2-5.index").write_bytes(b"damaged")
        self.cairn("prune", "saved", "--max-to-keep", "2", exit=YES)
        self.assertEqual(self.members("train2-5"), ["train2-5.data-00000-of-00001"])

    def test_the_graph_of_another_checkpoint_stays(self):
        for base in ("x", "x-00000-of-00001"):
            self.cairn("cp", "saved/train2-9", base, exit=YES)
        graph = (self.dir / "x.meta").read_bytes()
        self.cairn("mv", "x-00000-of-00001", "y", exit=YES)
        self.cairn("cp", "y", "x-00000-of-00001", exit=YES)
        self.cairn("rm", "x-00000-of-00001", exit=YES)
        self.assertEqual((self.dir / "x.meta").read_bytes(), graph)

    def test_who_changes_the_catalog_waits_for_the_directory(self):
        with open(self.saved / ".cairn-lock", "w+") as lock:
            # Byte 0 is the directory's, a lock of the open file.
            fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
            for words in (("mv", "saved/train2-7", "saved/m"), ("rm", "saved/train2-7")):
                self.refused(*words, "--lock-wait", "0", says="--lock-wait")
            self.cairn("rm", "saved/train2-7", "--dry-run", exit=YES)
            self.cairn("cp", "saved/train2-7", "saved/m", "--lock-wait", "0", exit=YES)
        self.cairn("mv", "saved/train2-7", "saved/n", "--lock-wait", "0", exit=YES)

    def start_waiting(self, *words):
        """Starts the command, and returns when it has opened the file of the locks."""
        process = subprocess.Popen([CAIRN, *words], cwd=self.dir, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        fds = pathlib.Path("/proc/%d/fd" % process.pid)
        end = time.monotonic() + 30
        while not any(os.path.basename(self.target(fd)) == ".cairn-lock" for fd in fds.iterdir()):
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        return process

    @staticmethod
    def target(link):
        try:
            return os.readlink(link)
        except FileNotFoundError:
            return ""

    def test_what_went_while_one_waited_is_not_listed(self):
        before = (self.saved / "checkpoint").read_text()
        for base, words in (("train2-5", ("set-latest", "saved", "train2-5")), ("train2-6", ("pin", "saved/train2-6"))):
            with self.subTest(words=words), open(self.saved / ".cairn-lock", "w+") as lock:
                fcntl.fcntl(lock, F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
                process = self.start_waiting(*words)
                for name in self.members(base):  # as who holds the lock may
                    (self.saved / name).unlink()
                lock.close()
                said = process.stderr.read().decode()
                self.assertEqual(process.wait(30), FAILED, said)
                self.assertIn("saved/" + base, said)
                self.assertEqual((self.saved / "checkpoint").read_text(), before)
                self.assertEqual(self.members(base), [])
