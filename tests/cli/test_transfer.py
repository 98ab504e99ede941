"""import, export and convert: indexes come and go, the payload stays."""

import os

from bundle import write_safetensors
from command import FAILED, YES, CommandTest

FIELDS = {"prefix", "link", "payload_bytes_copied", "not_nameable",
          "metadata_left_out", "safetensors_metadata_left_out"}


class Import(CommandTest):
    def setUp(self):
        super().setUp()
        self.saved = self.golden("tensorflow/saver_walk/saved")
        self.shard = self.saved / "train2-9.data-00000-of-00001"

    def test_import_adds_an_index_and_touches_nothing_else(self):
        before = {f.name: (f.stat().st_ino, f.read_bytes()) for f in self.saved.iterdir()}
        done = self.cairn("import", "saved/train2-9", "--json", exit=YES).json
        self.assertEqual(
            done,
            {
                "prefix": "saved/train2-9",
                "link": None,
                "payload_bytes_copied": 0,
                "not_nameable": [],
                "metadata_left_out": [],
                "safetensors_metadata_left_out": [],
            },
        )
        after = {f.name: (f.stat().st_ino, f.read_bytes()) for f in self.saved.iterdir()}
        self.assertEqual(set(after) - set(before), {"train2-9.cairn", ".cairn-lock"})
        for name, was in before.items():
            self.assertEqual(after[name], was)

    def test_what_was_imported_opens_by_cairns_index_with_the_same_values(self):
        self.cairn("import", "saved/train2-9", exit=YES)
        listing = self.cairn("ls", "saved/train2-9", "--json", exit=YES).json
        self.assertEqual(listing["format"], "cairn")
        self.assertEqual(listing["step"], 9)
        self.assertEqual([t["crc32c"] for t in listing["tensors"]], ["da21cb09", "dc01a118"])
        self.cairn("verify", "saved/train2-9", exit=YES)
        self.assertEqual(self.cairn("cat", "saved/train2-9", "v1", exit=YES).text, "20\n")

    def test_importing_again_changes_nothing(self):
        self.cairn("import", "saved/train2-9", exit=YES)
        self.cairn("import", "saved/train2-9", exit=YES)
        self.cairn("verify", "saved/train2-9", exit=YES)

    def test_import_elsewhere_links_the_shards(self):
        done = self.cairn("import", "saved/train2-9", "--output", "served/m", "--json", exit=YES).json
        self.assertEqual(set(done), FIELDS)
        self.assertEqual(done["prefix"], "served/m")
        self.assertEqual(done["link"], "hard")
        linked = self.dir / "served" / "m.data-00000-of-00001"
        self.assertEqual(linked.stat().st_ino, self.shard.stat().st_ino)
        self.assertEqual(self.cairn("cat", "served/m", "v1", exit=YES).text, "20\n")

    def test_import_elsewhere_keeps_the_step(self):
        self.cairn("import", "saved/train2-9", "--output", "served/m", exit=YES)
        self.assertEqual(self.cairn("ls", "served/m", "--json", exit=YES).json["step"], 9)

    def test_import_elsewhere_can_copy(self):
        words = ("import", "saved/train2-9", "--output", "served/m", "--link", "copy", "--json")
        done = self.cairn(*words, exit=YES).json
        self.assertEqual((done["link"], done["payload_bytes_copied"]), ("copy", 8))
        linked = self.dir / "served" / "m.data-00000-of-00001"
        self.assertNotEqual(linked.stat().st_ino, self.shard.stat().st_ino)

    def test_a_stale_cairn_index_is_noticed_and_the_newer_values_count(self):
        self.cairn("import", "saved/train2-9", exit=YES)
        for suffix in (".index", ".data-00000-of-00001"):
            os.replace(self.saved / ("train2-5" + suffix), self.saved / ("train2-9" + suffix))
        ran = self.cairn("cat", "saved/train2-9", "v1", exit=YES)
        self.assertEqual(ran.text, "16\n")
        self.assertIn("warning: ", ran.err)
        self.cairn("import", "saved/train2-9", "--replace", exit=YES)
        ran = self.cairn("cat", "saved/train2-9", "v1", exit=YES)
        self.assertEqual((ran.text, ran.err), ("16\n", ""))

    def test_what_cannot_be_imported_is_refused_with_the_way_out(self):
        write_safetensors(self.dir / "m.safetensors", {"w": ("I32", [2], b"\1\0\0\0\2\0\0\0")})
        self.assertIn("convert", self.cairn("import", "m.safetensors", "--output", "new/m", exit=FAILED).err)
        self.cairn("convert", "m.safetensors", "new/m", "--to", "cairn", exit=YES)
        self.assertEqual(self.cairn("cat", "new/m", "w", exit=YES).text, "[1 2]\n")


    def test_a_file_gets_its_index_beside_it_and_opens_by_its_own_name(self):
        write_safetensors(self.dir / "m.safetensors", {"w": ("I32", [2], b"\1\0\0\0\2\0\0\0")})
        before = (self.dir / "m.safetensors").read_bytes()
        done = self.cairn("import", "m.safetensors", "--no-sums", "--json", exit=YES).json
        self.assertEqual((done["prefix"], done["link"]), ("m.safetensors", None))
        self.assertIn("8 unchecked", self.cairn("verify", "m.safetensors", exit=YES).text)
        self.cairn("import", "m.safetensors", exit=YES)
        self.assertEqual(self.cairn("verify", "m.safetensors", exit=YES).text, "m.safetensors: whole, 8 bytes checked\n")
        self.assertEqual((self.dir / "m.safetensors").read_bytes(), before)
        self.assertTrue((self.dir / "m.safetensors.cairn").exists())
        self.assertIn("up to date", self.cairn("import", "m.safetensors", exit=YES).err)
        damaged = bytearray(before)
        damaged[-1] ^= 1
        times = (self.dir / "m.safetensors").stat()
        (self.dir / "m.safetensors").write_bytes(damaged)
        os.utime(self.dir / "m.safetensors", ns=(times.st_atime_ns, times.st_mtime_ns))
        self.assertIn("damaged", self.cairn("cat", "m.safetensors", "w", exit=FAILED).err)
        (self.dir / "m.safetensors").write_bytes(before)
        os.utime(self.dir / "m.safetensors", ns=(0, 0))
        listed = self.cairn("ls", "m.safetensors", exit=YES)
        self.assertIn("run 'cairn import m.safetensors'", listed.err)
        self.cairn("import", "m.safetensors", exit=YES)
        self.cairn("rm", "m.safetensors", exit=YES)
        self.assertFalse((self.dir / "m.safetensors.cairn").exists())

    def test_a_file_gets_tensorflows_index_over_the_same_bytes_and_comes_back(self):
        write_safetensors(self.dir / "m.safetensors", {"w": ("I32", [2], b"\1\0\0\0\2\0\0\0")})
        file = (self.dir / "m.safetensors").stat()
        done = self.cairn("import", "m.safetensors", "--to", "tensorflow", "--json", exit=YES)
        self.assertEqual((done.json["prefix"], done.json["link"], done.json["payload_bytes_copied"]), ("m", "hard", 0))
        self.assertIn("1 tensor had no checksum; 8 bytes were read to compute them", done.err)
        self.assertEqual((self.dir / "m.data-00000-of-00001").stat().st_ino, file.st_ino)
        self.assertFalse((self.dir / "m.cairn").exists())
        self.assertEqual(self.cairn("verify", "m", exit=YES).text, "m: whole, 8 bytes checked\n")
        self.assertIn("m.index is there",
                      self.cairn("import", "m.safetensors", "--to", "tensorflow", exit=FAILED).err)
        self.assertIn("--no-sums", self.cairn("import", "m.safetensors", "--to", "tensorflow", "--no-sums", exit=FAILED).err)
        self.cairn("export", "m", "--to", "safetensors", "--output", "back", exit=YES)
        self.assertEqual((self.dir / "back.safetensors").stat().st_ino, file.st_ino)
        self.assertEqual(self.cairn("cat", "back.safetensors", "w", exit=YES).text, "[1 2]\n")

    def test_what_only_looks_like_a_header_is_not_exported_as_one(self):
        write_safetensors(self.dir / "m.safetensors", {"w": ("I32", [2], b"\1\0\0\0\2\0\0\0")})
        write_safetensors(self.dir / "o.safetensors", {"v": ("I32", [2], b"\1\0\0\0\2\0\0\0")})
        self.cairn("import", "m.safetensors", "--to", "tensorflow", exit=YES)
        os.replace(self.dir / "o.safetensors", self.dir / "m.data-00000-of-00001")
        self.assertIn("none of its shards is a safetensors file",
                      self.cairn("export", "m", "--to", "safetensors", exit=FAILED).err)


class Convert(CommandTest):
    def test_a_converted_checkpoint_holds_the_same_values(self):
        self.golden("tensorflow/dtypes")
        done = self.cairn("convert", "dtypes/all", "new/c", "--to", "cairn", "--json", exit=YES).json
        self.assertEqual(set(done), FIELDS | {"renamed", "casts"})
        self.assertEqual(done["prefix"], "new/c")
        self.cairn("verify", "new/c", exit=YES)
        for entry in self.cairn("ls", "dtypes/all", "--json", exit=YES).json["tensors"]:
            with self.subTest(entry["name"]):
                old = self.cairn("cat", "dtypes/all", entry["name"], "--raw", exit=YES).out
                new = self.cairn("cat", "new/c", entry["name"], "--raw", exit=YES).out
                self.assertEqual(old, new)

    def test_a_directory_is_no_prefix_to_write_under(self):
        self.golden("tensorflow/saver_walk/saved")
        for words in (("convert", "saved", "new/", "--to", "cairn"), ("convert", "saved", ".", "--to", "cairn"),
                      ("convert", "saved", "", "--to", "cairn"), ("import", "saved", "--output", "new/"),
                      ("import", "saved", "--output", "")):
            with self.subTest(words):
                self.assertIn("prefix", self.cairn(*words, exit=FAILED).err)
        self.assertEqual([path.name for path in self.dir.iterdir()], ["saved"])

    def test_a_damaged_source_is_not_converted(self):
        saved = self.golden("tensorflow/saver_walk/saved")
        self.flip_bit(saved / "train2-9.data-00000-of-00001", 0)
        ran = self.cairn("convert", "saved/train2-9", "new/c", "--to", "cairn", exit=FAILED)
        self.assertIn("v1", ran.err)
        self.assertFalse((self.dir / "new" / "c.cairn").exists())

    def test_what_is_there_is_not_replaced_unasked(self):
        self.golden("tensorflow/saver_walk/saved")
        words = ("convert", "saved/train2-9", "new/c", "--to", "cairn")
        self.cairn(*words, exit=YES)
        self.cairn(*words, exit=FAILED)
        self.cairn(*words, "--replace", exit=YES)


class Export(CommandTest):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved")
        self.cairn("convert", "saved/train2-9", "new/c", "--to", "cairn", exit=YES)

    def test_export_to_tensorflow_writes_the_index_alone(self):
        shard = next((self.dir / "new").glob("c.data-*"))
        before = shard.stat()
        (self.dir / "new" / "c.index").unlink(missing_ok=True)
        done = self.cairn("export", "new/c", "--to", "tensorflow", "--json", exit=YES).json
        self.assertEqual(set(done), FIELDS)
        self.assertEqual(done["payload_bytes_copied"], 0)
        self.assertTrue((self.dir / "new" / "c.index").exists())
        self.assertEqual(shard.stat().st_ino, before.st_ino)
        (self.dir / "new" / "c.cairn").unlink()
        self.assertEqual(self.cairn("ls", "new/c", "--json", exit=YES).json["format"], "tensorflow")
        self.cairn("verify", "new/c", exit=YES)

    def test_export_to_safetensors_gives_the_shard_a_second_name(self):
        self.cairn("export", "new/c", "--to", "safetensors", exit=YES)
        shard = next((self.dir / "new").glob("c.data-*"))
        file = self.dir / "new" / "c.safetensors"
        self.assertEqual(file.stat().st_ino, shard.stat().st_ino)
        listing = self.cairn("ls", "new/c.safetensors", "--json", exit=YES).json
        self.assertEqual(listing["format"], "safetensors")
        self.assertEqual(self.cairn("cat", "new/c.safetensors", "v1", exit=YES).text, "20\n")

    def test_what_safetensors_cannot_say_is_refused_with_the_way_out(self):
        ran = self.cairn("export", "saved/train2-9", "--to", "safetensors", exit=FAILED)
        self.assertIn("convert", ran.err)
