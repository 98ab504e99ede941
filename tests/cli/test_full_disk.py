"""A disk without room: what frees room works there, and the rest ends in a sentence and changes nothing."""

import os
import subprocess
import unittest

from command import FAILED, YES, CommandTest

FULL = "No space left on device"
BLOCK = 4096


def mounted(kind, path, scratch):
    """Whether a small file system of this kind could be mounted."""
    if os.geteuid() != 0:
        return False
    if kind == "tmpfs":
        words = ["mount", "-t", "tmpfs", "-o", "size=1m", "cairn-test", path]
    else:
        image = os.path.join(scratch, "image")
        with open(image, "wb") as made:
            made.truncate(8 << 20)
        try:
            subprocess.run(["mkfs.ext4", "-q", "-b", str(BLOCK), "-m", "0", "-O", "^has_journal", image], check=True,
                           capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return False
        words = ["mount", "-o", "loop", image, path]
    return subprocess.run(words, capture_output=True).returncode == 0


class OnSmallDisk:
    """The promises, each on a fresh disk with TensorFlow's checkpoints of a walk, and one of Cairn's, m."""

    kind = ""

    def setUp(self):
        super().setUp()
        self.disk = self.dir / "disk"
        self.disk.mkdir()
        if not mounted(self.kind, str(self.disk), str(self.dir)):
            self.skipTest("skipped: no %s can be mounted here" % self.kind)
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(self.disk)], check=True)
        self.golden("tensorflow/saver_walk/saved")
        self.cairn("convert", "saved/train2-9", "m", "--to", "cairn", exit=YES)
        self.cairn("convert", "m", "s", "--to", "safetensors", exit=YES)
        self.saved = self.disk / "saved"
        subprocess.run(["cp", "-r", "saved", "disk/saved"], cwd=self.dir, check=True)
        for base in ("m", "n"):
            self.cairn("cp", "m", "disk/saved/" + base, exit=YES)
        self.cairn("pin", "disk/saved/m", exit=YES)  # so that the file of locks is there

    def settle(self):
        subprocess.run(["sync", "--file-system", str(self.disk)], check=True)

    def fill(self, name="filler", blocks_left=0):
        """Takes all the room there is, but for some blocks. What others have not written yet holds room that comes back."""
        for rest in self.disk.glob("filler-*"):
            rest.unlink()
        self.settle()
        with open(self.disk / name, "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(BLOCK))
            except OSError as full:
                self.assertIn(FULL, str(full))
            os.fsync(filler.fileno())
            filler.truncate(max(0, os.fstat(filler.fileno()).st_size // BLOCK - blocks_left) * BLOCK)
            os.fsync(filler.fileno())
        self.settle()
        # What was kept for the filler's extents, and not taken, ext4 gives back.
        while os.statvfs(self.disk).f_bavail > blocks_left:
            rest = self.disk / ("filler-%d" % len(list(self.disk.glob("filler-*"))))
            rest.write_bytes(bytes(BLOCK))
            self.settle()

    def files(self):
        return {path.relative_to(self.disk).as_posix(): path.read_bytes() for path in self.disk.rglob("*")
                if path.is_file() and path.name != ".cairn-lock" and not path.name.startswith("filler")}

    def bases(self):
        return sorted(path.name.removesuffix(".index") for path in self.saved.glob("*.index"))

    def check_whole(self, gone):
        """Nothing is left of those that are gone, and the others are as they were."""
        names = sorted(os.listdir(self.saved))
        self.assertEqual([name for name in names if "cairn-tmp" in name or name == ".cairn-journal"], [])
        self.assertEqual([name for name in names for base in gone if name.startswith(base + ".")], [])
        for base in self.bases():
            self.cairn("verify", "disk/saved/" + base, exit=YES)
        catalog = (self.saved / "checkpoint").read_text()
        for base in gone:
            self.assertNotIn('"%s"' % base, catalog)

    def test_rm_works(self):
        for left, base in enumerate(("train2-5", "train2-7", "n", "train2-6")):
            self.fill("filler", left)
            with self.subTest(blocks_left=left):
                self.cairn("rm", "disk/saved/" + base, exit=YES)
                self.check_whole([base])
        self.assertEqual(self.cairn("latest", "disk/saved", exit=YES).text, "disk/saved/train2-9\n")

    def test_rm_of_the_latest_and_of_one_that_two_catalogs_list(self):
        self.cairn("set-latest", "disk/saved", "train2-6", "--catalog", "best", exit=YES)
        self.fill()
        self.cairn("rm", "disk/saved/train2-9", "--force", exit=YES)
        self.check_whole(["train2-9"])
        self.assertEqual(self.cairn("latest", "disk/saved", exit=YES).text, "disk/saved/train2-8\n")
        self.fill()
        self.cairn("rm", "disk/saved/train2-6", "--force", exit=YES)
        self.check_whole(["train2-6"])
        self.assertFalse((self.saved / "best").exists())

    def test_what_gives_no_room_back_stays_listed_and_whole(self):
        for name in os.listdir(self.saved):
            if name.startswith("train2-"):
                os.link(self.saved / name, self.disk / name)
        self.fill()
        before = self.files()
        for words in (("rm", "disk/saved/train2-6"), ("prune", "disk/saved", "--max-to-keep", "2")):
            with self.subTest(words):
                said = self.cairn(*words, exit=FAILED).err
                self.assertIn("to remove needs a few kB for the journal and the catalog: free them", said)
                self.assertEqual(self.files(), before)

    def test_rm_still_refuses_what_it_refuses(self):
        self.fill()
        before = self.files()
        for base in ("m", "train2-9"):
            self.cairn("rm", "disk/saved/" + base, exit=FAILED)
            self.assertEqual(self.files(), before)

    def test_prune_works(self):
        for left, keep in enumerate((4, 3, 2)):
            self.fill("filler", left)
            with self.subTest(blocks_left=left):
                gone = "train2-%d" % (9 - keep)
                ran = self.cairn("prune", "disk/saved", "--max-to-keep", str(keep), exit=YES)
                self.assertIn("went  disk/saved/%s" % gone, ran.text)
                self.check_whole([gone])
        self.assertEqual(self.bases(), ["m", "n", "train1", "train2-8", "train2-9"])

    def test_what_takes_room_ends_in_a_sentence_and_changes_nothing(self):
        os.remove(self.saved / "train2-8.index")  # export makes it anew
        for base in ("train2-8", "train2-7"):
            self.cairn("cp", "m", "disk/" + base, exit=YES)
        os.remove(self.disk / "train2-8.index")
        self.cairn("import", "disk/saved/train2-5", "--output", "disk/five", exit=YES)
        self.fill()
        before = self.files()
        for words in (("save", "disk/saved/train2", "--step", "10", "v1:int32=1"), ("save", "disk/new/m", "v1:int32=1"),
                      ("convert", "m", "disk/c", "--to", "cairn"), ("convert", "m", "disk/c", "--to", "safetensors"),
                      ("convert", "m", "disk/saved/n", "--to", "cairn", "--replace"),
                      ("import", "disk/saved/train2-7"), ("import", "saved/train2-7", "--output", "disk/c"),
                      ("export", "disk/train2-8", "--to", "tensorflow"),
                      ("export", "m", "--to", "safetensors", "--output", "disk/c"),
                      ("merge", "m", "--output", "disk/c"), ("rename", "disk/saved/n", "--map", "v1=w", "--replace"),
                      ("salvage", "m", "disk/c"), ("cp", "m", "disk/c"), ("mv", "m", "disk/c"),
                      ("cp", "s.safetensors", "disk/c"), ("cp", "disk/saved/train2-7", "disk/saved/c"),
                      ("mv", "disk/saved/n", "disk/saved/c"), ("mv", "disk/saved/train2-7", "disk/saved/c"),
                      ("pin", "disk/saved/n"), ("set-latest", "disk/saved", "train2-7")):
            with self.subTest(words):
                said = self.cairn(*words, exit=FAILED).err
                self.assertIn(FULL, said)
                self.assertEqual(self.files(), before)
        self.cairn("verify", "m", exit=YES)
        self.cairn("verify", "disk/saved", exit=YES)

    def test_a_catalog_that_is_gone_needs_room(self):
        os.remove(self.saved / "checkpoint")
        self.fill()
        before = self.files()
        self.assertIn(FULL, self.cairn("state", "disk/saved", "--repair", exit=FAILED).err)
        self.assertEqual(self.files(), before)

    def test_what_the_dead_left_makes_room_for_who_comes_next(self):
        left = "c.data-00000-of-00001.cairn-tmp-0123456789abcdef"
        for words in (("save", "disk/saved/c", "v1:int32=1"), ("convert", "m", "disk/saved/b", "--to", "cairn"),
                      ("convert", "m", "disk/saved/b", "--to", "safetensors"),
                      ("salvage", "m", "disk/saved/d"), ("merge", "m", "--output", "disk/saved/e"),
                      ("cp", "m", "disk/saved/f"), ("import", "disk/saved/train2-7"),
                      ("export", "disk/saved/d", "--to", "tensorflow"),
                      ("rename", "disk/saved/n", "--map", "v1=w", "--replace"), ("pin", "disk/saved/n"),
                      ("mv", "disk/saved/d", "disk/saved/g"), ("rm", "disk/saved/g"),
                      ("set-latest", "disk/saved", "train2-7"), ("state", "disk/saved", "--repair", "--all")):
            with self.subTest(words):
                if words[0] == "export":
                    os.remove(self.saved / "d.index")
                self.fill("saved/" + left)
                self.cairn(*words, exit=YES)
                self.assertFalse((self.saved / left).exists())
        self.check_whole([])


class FullMemory(OnSmallDisk, CommandTest):
    kind = "tmpfs"


class FullExt4(OnSmallDisk, CommandTest):
    kind = "ext4"


if __name__ == "__main__":
    unittest.main()
