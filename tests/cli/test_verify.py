"""verify, and what damage looks like from outside."""

import json

from bundle import crc32c, write_safetensors
from command import FAILED, GOLDEN, NO, YES, CommandTest


class Verify(CommandTest):
    def setUp(self):
        super().setUp()
        self.saved = self.golden("tensorflow/saver_walk/saved")
        self.shard = self.saved / "train2-9.data-00000-of-00001"

    def test_whole_checkpoints_are_said_to_be_whole(self):
        ran = self.cairn("verify", "saved/train1", "saved/train2-9", "--json", exit=YES)
        self.assertEqual(
            ran.json,
            {
                "checkpoints": [
                    {"prefix": prefix, "whole": True, "bytes_checked": 8, "unchecked_bytes": 0, "damage": []}
                    for prefix in ("saved/train1", "saved/train2-9")
                ]
            },
        )
        text = self.cairn("verify", "saved/train2-9", exit=YES).text
        self.assertEqual(text, "saved/train2-9: whole, 8 bytes checked\n")

    def test_a_flipped_bit_is_named_with_tensor_range_and_both_sums(self):
        stored = crc32c(self.shard.read_bytes()[4:8])
        self.flip_bit(self.shard, 6)
        computed = crc32c(self.shard.read_bytes()[4:8])
        ran = self.cairn("verify", "saved/train2-9", "--json", exit=NO)
        self.assertEqual(
            ran.json,
            {
                "checkpoints": [
                    {
                        "prefix": "saved/train2-9",
                        "whole": False,
                        "bytes_checked": 8,
                        "unchecked_bytes": 0,
                        "damage": [
                            {
                                "tensor": "v2",
                                "shard": self.shard.name,
                                "offset": 4,
                                "bytes": 4,
                                "stored": "%08x" % stored,
                                "computed": "%08x" % computed,
                            }
                        ],
                    }
                ]
            },
        )
        line = self.cairn("verify", "saved/train2-9", exit=NO).text.splitlines()[0]
        for part in ("'v2'", self.shard.name, "4 bytes from 4", "%08x" % stored, "%08x" % computed):
            self.assertIn(part, line)

    def test_nobody_computes_with_a_damaged_tensor(self):
        self.flip_bit(self.shard, 6)
        ran = self.cairn("cat", "saved/train2-9", "v2", exit=FAILED)
        self.assertEqual(ran.text, "")
        self.assertIn("v2", ran.err)
        self.assertIn(self.shard.name, ran.err)
        self.assertEqual(self.cairn("cat", "saved/train2-9", "v1", exit=YES).text, "20\n")

    def test_a_truncated_shard_is_damage(self):
        self.shard.write_bytes(self.shard.read_bytes()[:7])
        ran = self.cairn("verify", "saved/train2-9", exit=NO)
        self.assertIn(self.shard.name, ran.err)
        checkpoint = self.cairn("verify", "saved/train2-9", "--json", exit=NO).json["checkpoints"][0]
        self.assertFalse(checkpoint["whole"])
        self.assertIn(self.shard.name, checkpoint["why"])

    def test_a_missing_shard_is_damage(self):
        self.shard.unlink()
        self.assertIn(self.shard.name, self.cairn("verify", "saved/train2-9", exit=NO).err)

    def test_a_flipped_bit_in_the_index_is_damage(self):
        self.flip_bit(self.saved / "train2-9.index", 20)
        self.assertIn("train2-9.index", self.cairn("verify", "saved/train2-9", exit=NO).err)

    def test_a_wrong_name_is_no_damage(self):
        self.assertIn("train3", self.cairn("verify", "saved/train3", exit=FAILED).err)

    def test_a_directory_without_a_catalog_is_no_damage(self):
        (self.dir / "empty").mkdir()
        self.assertIn("without a catalog", self.cairn("verify", "empty", exit=FAILED).err)
        (self.dir / "empty" / "checkpoint").write_text('model_checkpoint_path: "gone"\n')
        self.assertIn("gone does not exist", self.cairn("verify", "empty", exit=NO).err)

    def test_a_missing_shard_of_a_directory_is_damage(self):
        self.golden("pytorch/distributed")
        for shard in (self.dir / "distributed").glob("**/*.distcp"):
            shard.unlink()
        (self.dir / "hub").mkdir()
        for stem, end in (("model", "safetensors"), ("diffusion_pytorch_model", "safetensors"), ("pytorch_model", "bin")):
            index = self.dir / "hub" / f"{stem}.{end}.index.json"
            index.write_text(json.dumps({"metadata": {}, "weight_map": {"w": f"{stem}-00001-of-00001.{end}"}}))
            for path in ("hub", index):
                self.assertIn("-00001-of-00001", self.cairn("verify", path, exit=NO).err)
            index.unlink()
        self.assertIn("without a catalog", self.cairn("verify", "hub", exit=FAILED).err)
        for metadata in (self.dir / "distributed").glob("**/.metadata"):
            for path in (metadata, metadata.parent):
                self.assertIn(".distcp", self.cairn("verify", path, exit=NO).err)

    def test_the_worst_of_several_decides(self):
        self.flip_bit(self.shard, 0)
        self.cairn("verify", "saved/train2-9", "saved/train1", exit=NO)
        self.cairn("verify", "saved/train3", "saved/train2-9", exit=FAILED)

    def test_a_file_of_another_kind_is_refused_with_what_it_is(self):
        (self.dir / "notes.txt").write_text("no checkpoint\n" * 100)
        ran = self.cairn("verify", "notes.txt", exit=FAILED)
        self.assertIn("notes.txt", ran.err)
        self.assertEqual(len(ran.err.splitlines()), 1)

    def test_what_has_no_sums_is_counted_as_unchecked_and_not_called_whole(self):
        write_safetensors(self.dir / "m.safetensors", {"w": ("F32", [2], bytes(8)), "v": ("U8", [3], bytes(3))})
        text = self.cairn("verify", "m.safetensors", exit=YES).text
        self.assertEqual(text, "m.safetensors: no damage found, 0 bytes checked, 11 unchecked (no checksums are stored)\n")
        checkpoint = self.cairn("verify", "m.safetensors", "--json", exit=YES).json["checkpoints"][0]
        self.assertEqual((checkpoint["bytes_checked"], checkpoint["unchecked_bytes"]), (0, 11))
        self.assertIsNone(checkpoint["whole"])
        self.cairn("convert", "m.safetensors", "n", "--to", "cairn", exit=YES)
        self.assertIn("n: whole, ", self.cairn("verify", "n", exit=YES).text)
        self.assertNotIn("unchecked", self.cairn("verify", "n", exit=YES).text)

    def test_no_figure_of_bench_is_called_checked_that_was_not(self):
        write_safetensors(self.dir / "m.safetensors", {"w": ("F32", [2], bytes(8))})
        ran = self.cairn("bench", "m.safetensors", "--repeat", "1", "--json", exit=YES).json
        self.assertEqual(ran["unchecked_bytes"], 8)
        self.assertIsNone(ran["verify_ms"])
        text = self.cairn("bench", "m.safetensors", "--repeat", "1", exit=YES).text
        self.assertNotIn("verify, ", text)
        self.assertIn("8 of 8 bytes have no stored checksums: verify and restore did not check them", text)
        ran = self.cairn("bench", "saved/train2-9", "--repeat", "1", "--json", exit=YES).json
        self.assertEqual(ran["unchecked_bytes"], 0)
        self.assertIsNotNone(ran["verify_ms"])
        text = self.cairn("bench", "saved/train2-9", "--repeat", "1", exit=YES).text
        self.assertIn("verify, warm", text)
        self.assertNotIn("no stored checksums", text)


class Hostile(CommandTest):
    def test_every_malformed_bundle_gets_its_verdict(self):
        verdicts = json.loads((GOLDEN / "hostile" / "expected.json").read_text())
        self.golden("hostile")
        for name, verdict in verdicts.items():
            with self.subTest(name, verdict=verdict):
                listed = self.cairn("ls", "hostile/" + name)
                verified = self.cairn("verify", "hostile/" + name)
                for ran in (listed, verified):
                    self.assert_terminal_safe(ran)
                if verdict == "accept":
                    self.assertEqual((listed.exit, verified.exit), (YES, YES), listed.err)
                if verdict == "refuse":
                    self.assertIn(verified.exit, (NO, FAILED))
                if verified.exit != YES:
                    said = verified.err.splitlines() or verified.text.splitlines()
                    self.assertGreaterEqual(len(said), 1)
