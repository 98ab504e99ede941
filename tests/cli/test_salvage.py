"""salvage: what is whole of a damaged checkpoint, and the list of what is not."""

from bundle import crc32c, write_bundle, write_safetensors
from command import FAILED, NO, YES, CommandTest

FIELDS = ["prefix", "tensors_kept", "tensors", "bytes_kept", "bytes", "lost"]


class Salvage(CommandTest):
    def setUp(self):
        super().setUp()
        self.saved = self.golden("tensorflow/saver_walk/saved")
        self.shard = self.saved / "train2-9.data-00000-of-00001"
        self.whole = self.shard.read_bytes()

    def names(self, path):
        return [tensor["name"] for tensor in self.cairn("ls", path, "--json", exit=YES).json["tensors"]]

    def files(self, *folders):
        return {path: (path.stat().st_ino, path.read_bytes()) for folder in folders for path in (self.dir / folder).iterdir()}

    def test_what_is_whole_is_written_and_the_rest_is_listed(self):
        self.flip_bit(self.shard, 6)
        before = self.files("saved")
        ran = self.cairn("salvage", "saved/train2-9", "out/m", exit=NO)
        lost, summary = ran.text.splitlines()
        sums = "have CRC32C %08x, stored is %08x" % (crc32c(self.shard.read_bytes()[4:]), crc32c(self.whole[4:]))
        self.assertEqual(lost, "lost: tensor 'v2': 4 bytes from 4 of %s %s" % (self.shard.name, sums))
        self.assertEqual(summary, "out/m: kept 1 of 2 tensors, 4 of 8 bytes")
        self.assertEqual(ran.err, "")
        self.assertEqual(self.files("saved"), before)
        self.assertEqual(self.names("out/m"), ["v1"])
        self.assertEqual(self.cairn("cat", "out/m", "v1", exit=YES).text, "20\n")
        self.cairn("verify", "out/m", exit=YES)
        self.assertTrue((self.dir / "out/m.meta").exists())

    def test_a_whole_checkpoint_is_copied(self):
        ran = self.cairn("salvage", "saved", "out/m", exit=YES)
        self.assertEqual(ran.text, "out/m: kept 2 of 2 tensors, 8 of 8 bytes\n")
        self.assertEqual(self.cairn("cat", "out/m", "v2", exit=YES).text, self.cairn("cat", "saved", "v2").text)

    def test_json_has_the_ranges_with_their_sums(self):
        self.flip_bit(self.shard, 6)
        found = self.cairn("salvage", "saved/train2-9", "out/m", "--json", exit=NO).json
        self.assertEqual(list(found), FIELDS)
        self.assertEqual(list(found.values())[:5], ["out/m", 1, 2, 4, 8])
        (lost,) = found["lost"]
        self.assertEqual((lost["name"], lost["bytes"]), ("v2", 4))
        (span,) = lost["ranges"]
        self.assertEqual(list(span), ["shard", "offset", "bytes", "stored", "computed", "why"])
        self.assertEqual(list(span.values())[:3], [self.shard.name, 4, 4])
        self.assertEqual(span["stored"], "%08x" % crc32c(self.whole[4:]))
        self.assertEqual(span["computed"], "%08x" % crc32c(self.shard.read_bytes()[4:]))

    def test_what_is_not_there_has_no_sum(self):
        self.shard.write_bytes(self.whole[:7])
        (lost,) = self.cairn("salvage", "saved/train2-9", "out/m", "--json", exit=NO).json["lost"]
        (span,) = lost["ranges"]
        self.assertIsNone(span["computed"])
        self.assertIn("has 7 bytes, too few for 4 at byte 4", span["why"])

    def test_a_dry_run_lists_and_writes_nothing(self):
        self.flip_bit(self.shard, 6)
        words = ("salvage", "saved/train2-9", "out/m", "--dry-run")
        lost, summary = self.cairn(*words, exit=NO).text.splitlines()
        self.assertIn("'v2'", lost)
        self.assertEqual(summary, "saved/train2-9: would keep 1 of 2 tensors, 4 of 8 bytes")
        self.assertEqual(self.cairn(*words, "--json", exit=NO).json["prefix"], "saved/train2-9")
        self.assertFalse((self.dir / "out").exists())
        self.shard.write_bytes(self.whole)
        self.cairn(*words, exit=YES)

    def test_where_nothing_is_whole_nothing_is_written(self):
        self.shard.unlink()
        ran = self.cairn("salvage", "saved/train2-9", "out/m", exit=FAILED)
        self.assertEqual(ran.text, "")
        self.assertIn("none of its 2 tensors is whole", ran.err)
        self.assertIn(self.shard.name, ran.err)
        self.assertFalse((self.dir / "out").exists())
        self.assertEqual(len(self.cairn("salvage", "saved/train2-9", "out/m", "--dry-run", exit=NO).text.splitlines()), 3)

    def test_what_is_there_is_not_replaced_unasked(self):
        words = ("salvage", "saved/train2-9", "saved/train2-8")
        self.assertIn("say --replace", self.cairn(*words, exit=FAILED).err)
        self.cairn(*words, "--replace", exit=YES)
        self.assertIn("is the checkpoint that is salvaged", self.cairn("salvage", "saved/train1", "saved/train1", "--replace", exit=FAILED).err)

    def test_the_index_that_is_whole_is_used(self):
        self.cairn("import", "saved/train2-9", exit=YES)
        self.flip_bit(self.saved / "train2-9.cairn", 80)
        self.cairn("ls", "saved/train2-9", exit=FAILED)
        ran = self.cairn("salvage", "saved/train2-9", "out/m", exit=YES)
        self.assertIn("train2-9.index is whole and was used", ran.err)
        self.assertEqual(self.names("out/m"), ["v1", "v2"])

    def test_without_a_whole_index_it_says_so_in_a_sentence(self):
        self.flip_bit(self.saved / "train2-9.index", 20)
        ran = self.cairn("salvage", "saved/train2-9", "out/m", exit=FAILED)
        self.assertIn("train2-9.index", ran.err)
        self.assertEqual(len(ran.err.splitlines()), 1)

    def test_a_wrong_name_is_no_damage(self):
        self.assertIn("train3", self.cairn("salvage", "saved/train3", "out/m", exit=FAILED).err)
        self.assertIn("is a directory", self.cairn("salvage", "saved/train2-9", "out/", exit=FAILED).err)
        self.assertIn("DST", self.cairn("salvage", "saved/train2-9", exit=FAILED).err)

    def test_a_safetensors_file_has_nothing_to_compare_with(self):
        write_safetensors(self.dir / "s.safetensors", {"a": ("U8", [2], b"\1\2"), "b": ("U8", [2], b"\3\4")})
        (self.dir / "s.safetensors").write_bytes((self.dir / "s.safetensors").read_bytes()[:-1])
        ran = self.cairn("salvage", "s.safetensors", "out/m", exit=NO)
        self.assertIn("have no checksum; they are kept without a check", ran.err)
        self.assertEqual(self.names("out/m"), ["a"])

    def test_names_with_terminal_escapes_come_out_escaped(self):
        write_bundle(self.dir / "evil", {b"\x1b[31mred": b"1234", b"good": b"5678"})
        self.flip_bit(self.dir / "evil.data-00000-of-00001", 0)
        for words in ((), ("--json",), ("--dry-run",)):
            ran = self.cairn("salvage", "evil", "out/m", "--replace", *words, exit=NO)
            self.assert_terminal_safe(ran)
            self.assertIn("red", ran.text)
