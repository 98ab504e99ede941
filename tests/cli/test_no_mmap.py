"""Checkpoints on a file system that cannot map: every way of reading gives the same bytes."""

import os
import unittest.mock

from bundle import write_safetensors
from command import YES, CommandTest, without

WARNING = "cannot be mapped"


class NoMmap(CommandTest):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved")
        self.golden("tensorflow/dtypes")
        write_safetensors(self.dir / "m.safetensors", {"w": ("F32", [2], bytes(range(8)))})

    def unmappable(self):
        return unittest.mock.patch.dict(os.environ, without("mmap", NO_MMAP_BELOW=os.path.realpath(self.dir)))

    def names(self, path):
        return [tensor["name"] for tensor in self.cairn("ls", path, "--json", exit=YES).json["tensors"]]

    def test_reading_gives_what_it_gives_where_files_are_mapped(self):
        paths = ["saved/train2-9", "m.safetensors", "dtypes/" + next(
            file.stem for file in sorted((self.dir / "dtypes").glob("*.index")))]
        for path in paths:
            words = [("ls", path), ("verify", path)]
            words += [("cat", path, name, *form) for name in self.names(path) for form in ((), ("--raw",))]
            mapped = [self.cairn(*each) for each in words]
            with self.unmappable():
                for each, there in zip(words, mapped):
                    with self.subTest(each):
                        here = self.cairn(*each, exit=there.exit)
                        self.assertEqual(here.out, there.out)
                        self.assertIn(WARNING, here.err)

    def test_a_restore_reads(self):
        with self.unmappable():
            ran = self.cairn("bench", "saved/train2-9", "--repeat", "1", "--json", exit=YES)
            for cache in ("warm", "cold"):
                self.assertEqual(ran.json["method"][cache]["name"], "read")
                self.assertIn(WARNING, ran.json["method"][cache]["reason"])
            for way in ("map", "populate", "read"):
                self.cairn("bench", "saved/train2-9", "--repeat", "1", "--method", way, exit=YES)

    def test_damage_is_found_and_not_given_out(self):
        self.flip_bit(self.dir / "saved/train2-9.data-00000-of-00001", 6)
        with self.unmappable():
            self.assertIn("is damaged", self.cairn("cat", "saved/train2-9", "v2", exit=2).err)
            self.assertEqual(self.cairn("cat", "saved/train2-9", "v1", exit=YES).text, "20\n")

    def test_conversions_need_no_mapping(self):
        with self.unmappable():
            self.cairn("convert", "saved/train2-9", "new", "--to", "cairn", exit=YES)
            self.assertEqual(self.cairn("cat", "new", "v1", exit=YES).text, "20\n")
            self.cairn("convert", "m.safetensors", "other", "--to", "cairn", exit=YES)
            self.cairn("verify", "other", exit=YES)

    def test_where_it_can_map_nobody_hears_of_it(self):
        self.assertEqual(self.cairn("cat", "saved/train2-9", "v1", exit=YES).err, "")
