"""TensorFlow's V1 checkpoints in a directory that a Saver of ours goes on with."""

import unittest

from bundle import write_bundle
from command import GOLDEN, YES, CommandTest

V1 = (GOLDEN / "tensorflow/v1/old.ckpt-3").read_bytes()


class RetentionOfV1(CommandTest):
    def catalog(self, *entries):
        listed = "".join(f'all_model_checkpoint_paths: "{entry}"\n' for entry in entries)
        (self.dir / "checkpoint").write_text(f'model_checkpoint_path: "{entries[-1]}"\n' + listed)

    def write(self, *names):
        for name in names:
            (self.dir / name).write_bytes(V1)

    def save(self, kept):
        ran = self.cairn("save", "new", "--step", "9", "w:int32=1", "--max-to-keep", str(kept), "--json", exit=YES)
        return ran.json["deleted"], {path.name for path in self.dir.iterdir() if path.name[:4] != "new-"}

    def test_the_files_of_a_v1_checkpoint_that_is_let_go_are_removed(self):
        self.write("m-1", "m-2", "m-1.bak")
        (self.dir / "m-1.meta").write_bytes(b"graph")
        self.catalog("m-1", "m-2")
        self.assertTrue(self.cairn("state", ".", "--json", exit=YES).json["checkpoints"][0]["whole"])
        deleted, names = self.save(kept=2)
        self.assertEqual(deleted, ["./m-1"])
        self.assertEqual(names, {"m-2", "m-1.bak", "checkpoint", ".cairn-lock"})

    def test_the_graph_of_a_checkpoint_with_an_index_stays(self):
        self.write("m-1-00000-of-00002", "m-1-00001-of-00002", "m-2")
        write_bundle(self.dir / "m-1", {b"w": b"1234"})
        (self.dir / "m-1.meta").write_bytes(b"graph")
        self.catalog("m-1-?????-of-00002", "m-2")
        deleted, names = self.save(kept=2)
        self.assertEqual(deleted, ["./m-1-?????-of-00002"])
        self.assertLessEqual({"m-1.index", "m-1.meta", "m-1.data-00000-of-00001"}, names)

    def test_a_sharded_one_goes_with_all_its_files_and_no_other(self):
        self.write("m-1-00000-of-00002", "m-1-00001-of-00002", "m-1-00000-of-00003", "m-10-00000-of-00002")
        (self.dir / "m-1.meta").write_bytes(b"graph")
        self.write("m-2")
        self.catalog("m-1-?????-of-00002", "m-2")
        deleted, names = self.save(kept=2)
        self.assertEqual(deleted, ["./m-1-?????-of-00002"])
        self.assertEqual(
            names, {"m-2", "m-1-00000-of-00003", "m-10-00000-of-00002", "checkpoint", ".cairn-lock"})

    def test_a_strangers_file_that_is_named_like_a_prefix_stays(self):
        for name in ("m-1", "m-2"):
            write_bundle(self.dir / name, {b"w": b"1"})
        (self.dir / "m-1").write_bytes(b"notes on the first run")
        self.write("m-1-00000-of-00002")
        self.catalog("m-1", "m-2")
        deleted, names = self.save(kept=2)
        self.assertEqual(deleted, ["./m-1"])
        self.assertTrue({"m-1", "m-1-00000-of-00002"} < names)
        self.assertNotIn("m-1.index", names)

    def test_repair_keeps_a_v1_checkpoint_that_the_catalog_lists(self):
        self.write("m-1", "m-2")
        self.catalog("gone-0", "m-1", "m-2")
        ran = self.cairn("state", ".", "--repair", "--json", exit=YES)
        self.assertEqual([c["prefix"] for c in ran.json["checkpoints"]], ["./m-1", "./m-2"])


if __name__ == "__main__":
    unittest.main()
