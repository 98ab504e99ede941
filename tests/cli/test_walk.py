"""The directory that every TensorFlow user knows: latest, state, set-latest, ls."""

import shutil

from bundle import crc32c
from command import FAILED, NO, YES, CommandTest


class Walk(CommandTest):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved")

    def test_latest_is_what_tensorflow_says(self):
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train2-9\n")
        ran = self.cairn("latest", "saved", "--json", exit=YES)
        self.assertEqual(ran.json, {"latest": "saved/train2-9"})

    def test_latest_is_no_where_there_is_no_catalog(self):
        (self.dir / "saved" / "checkpoint").unlink()
        ran = self.cairn("latest", "saved", exit=NO)
        self.assertEqual(ran.text, "")
        self.assertIn("no latest checkpoint", ran.err)
        self.assertEqual(self.cairn("latest", "saved", "--json", exit=NO).json, {"latest": None})

    def test_latest_is_no_where_its_files_are_gone(self):
        (self.dir / "saved" / "train2-9.index").unlink()
        err = self.cairn("latest", "saved", exit=NO).err
        self.assertIn("its catalog names saved/train2-9, whose files are missing", err)
        self.assertIn("'cairn state' shows which are whole", err)

    def test_latest_of_a_directory_that_is_missing_or_empty_is_no(self):
        (self.dir / "empty").mkdir()
        for name in ("nowhere", "empty"):
            self.assertIn(name + " has no latest checkpoint", self.cairn("latest", name, exit=NO).err)

    def test_state_tells_of_each_checkpoint_whether_it_is_whole(self):
        state = self.cairn("state", "saved", "--json", exit=YES).json
        names = ["saved/train2-%d" % step for step in range(5, 10)]
        self.assertEqual(
            state,
            {
                "latest": "saved/train2-9",
                "latest_whole": "saved/train2-9",
                "checkpoints": [{"prefix": name, "whole": True, "opens_as": name, "why": None} for name in names],
                "unnamed_shards": [],
                "unfinished": [],
                "left_files": [],
            },
        )

    def test_state_lists_the_shards_that_no_index_names(self):
        for catalog in (True, False):
            with self.subTest(catalog=catalog):
                (self.dir / "saved" / "copy.data-00001-of-00002").write_bytes(b"1234")
                if not catalog:
                    (self.dir / "saved" / "checkpoint").unlink()
                exit = YES if catalog else NO
                state = self.cairn("state", "saved", "--json", exit=exit).json
                self.assertEqual(state["unnamed_shards"], [{"path": "saved/copy.data-00001-of-00002", "bytes": 4}])
                text = self.cairn("state", "saved", exit=exit).text
                self.assertIn("no index names: saved/copy.data-00001-of-00002  4 bytes\n", text)
                self.assertIn("if none is running, delete them with 'rm'", text)
        self.cairn("state", "saved", "--repair", exit=YES)
        self.assertTrue((self.dir / "saved" / "copy.data-00001-of-00002").exists())

    def test_no_catalog_is_named_like_a_file_of_a_checkpoint_or_of_cairns(self):
        for name in (".cairn-journal", ".cairn-lock", "train2-9.index", "train2-9.data-00000-of-00001", "a/b"):
            (self.dir / "saved" / ".cairn-journal").write_text('model_checkpoint_path: "train2-9"\n')
            said = set()
            for verb in (["latest"], ["state"], ["state", "--repair"], ["watch", "--timeout", "0"], ["prune"]):
                with self.subTest(name=name, verb=verb):
                    said.add(self.cairn(verb[0], "saved", *verb[1:], "--catalog", name, exit=FAILED).err)
            self.assertEqual(len(said), 1)
            self.assertIn("cannot be the catalog's name", said.pop())

    def test_state_passes_over_a_truncated_checkpoint(self):
        (self.dir / "saved" / "train2-9.data-00000-of-00001").write_bytes(b"1234")
        state = self.cairn("state", "saved", "--json", exit=YES).json
        self.assertEqual(state["latest"], "saved/train2-9")
        self.assertEqual(state["latest_whole"], "saved/train2-8")
        self.assertFalse(state["checkpoints"][-1]["whole"])
        self.assertIn("train2-9", state["checkpoints"][-1]["why"])
        text = self.cairn("state", "saved", exit=YES).text
        self.assertIn("not whole: ", text)

    def test_state_tells_why_an_entry_outside_is_skipped(self):
        (self.dir / "out").mkdir()
        (self.dir / "out" / "checkpoint").write_text(
            'model_checkpoint_path: "../saved/train1"\nall_model_checkpoint_paths: "../saved/train1"\n')
        state = self.cairn("state", "out", "--json", exit=YES).json
        self.assertIsNone(state["latest_whole"])
        self.assertIn("outside its directory", state["checkpoints"][0]["why"])

    def test_a_catalog_from_windows_leads_to_what_lies_beside_it(self):
        for name in (r"C:\\Users\\u\\saved\\train2-8", r".\\train2-8"):
            with self.subTest(name):
                (self.dir / "saved" / "checkpoint").write_text(
                    'model_checkpoint_path: "%s"\nall_model_checkpoint_paths: "%s"\n' % (name, name))
                state = self.cairn("state", "saved", "--json", exit=YES).json
                self.assertEqual(state["latest_whole"], "saved/train2-8")
                self.assertEqual(state["checkpoints"], [{
                    "prefix": "saved/" + name.replace("\\\\", "\\"), "whole": True, "opens_as": "saved/train2-8",
                    "why": None}])
                self.assertIn("missing; whole beside the catalog: saved/train2-8", self.cairn("state", "saved", exit=YES).text)
                ran = self.cairn("cat", "saved", "v1", exit=YES)
                self.assertEqual(ran.text, "19\n")
                self.assertIn("saved/train2-8, in the directory of the catalog, was opened instead", ran.err)

    def test_state_without_a_catalog_is_no(self):
        (self.dir / "saved" / "checkpoint").unlink()
        state = self.cairn("state", "saved", "--json", exit=NO).json
        self.assertEqual(state, {"latest": None, "latest_whole": None, "checkpoints": [], "unnamed_shards": [],
                                 "unfinished": [], "left_files": []})

    def test_opening_a_directory_whose_latest_is_damaged_names_the_newest_whole_one(self):
        (self.dir / "saved" / "train2-9.data-00000-of-00001").write_bytes(b"1234")
        self.assertIn("train2-8", self.cairn("ls", "saved", exit=FAILED).err)

    def test_set_latest_keeps_the_entries_and_moves_one_to_the_end(self):
        for spelling in ("saved/train2-7", "train2-7", "saved/train2-7.index"):
            with self.subTest(spelling):
                self.cairn("set-latest", "saved", "train2-9", exit=YES)
                ran = self.cairn("set-latest", "saved", spelling, exit=YES)
                self.assertEqual(ran.text, "saved/train2-7\n")
                state = self.cairn("state", "saved", "--json", exit=YES).json
                self.assertEqual(state["latest"], "saved/train2-7")
                self.assertEqual(
                    [entry["prefix"] for entry in state["checkpoints"]],
                    ["saved/train2-%d" % step for step in (5, 6, 8, 9, 7)],
                )
                catalog = (self.dir / "saved" / "checkpoint").read_text()
                self.assertTrue(catalog.startswith('model_checkpoint_path: "train2-7"\n'), catalog)

    def test_set_latest_refuses_what_is_no_checkpoint(self):
        before = (self.dir / "saved" / "checkpoint").read_bytes()
        self.assertIn("train2-77", self.cairn("set-latest", "saved", "train2-77", exit=FAILED).err)
        self.assertEqual((self.dir / "saved" / "checkpoint").read_bytes(), before)

    def test_set_latest_makes_a_catalog_where_there_is_none(self):
        (self.dir / "saved" / "checkpoint").unlink()
        self.cairn("set-latest", "saved", "saved/train1", exit=YES)
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train1\n")

    def test_set_latest_keeps_timestamps_beside_their_entries(self):
        self.golden("tensorflow/tf2_manager/tf_ckpts")
        self.cairn("set-latest", "tf_ckpts", "tf_ckpts/ckpt-4", exit=YES)
        lines = (self.dir / "tf_ckpts" / "checkpoint").read_text().splitlines()
        times = [line for line in lines if line.startswith("all_model_checkpoint_timestamps")]
        paths = [line for line in lines if line.startswith("all_model_checkpoint_paths")]
        self.assertEqual(len(times), 3)
        self.assertIn('"ckpt-4"', paths[-1])

    def test_values_are_the_saved_ones(self):
        for path, v1 in (("saved", 20), ("saved/train2-9", 20), ("saved/train1", 10)):
            with self.subTest(path):
                self.assertEqual(self.cairn("cat", path, "v1", exit=YES).text, "%d\n" % v1)
                self.assertEqual(self.cairn("cat", path, "v2", exit=YES).text, "11\n")

    def test_ls_has_exactly_the_fields_of_the_contract(self):
        listing = self.cairn("ls", "saved/train2-9", "--json", exit=YES).json
        self.assertEqual(
            listing,
            {
                "prefix": "saved/train2-9",
                "format": "tensorflow",
                "step": 9,
                "warnings": [],
                "shards": [{"name": "train2-9.data-00000-of-00001", "bytes": 8}],
                "metadata": [],
                "safetensors_metadata": [],
                "parameters": 2,
                "tensors": [
                    {
                        "name": name,
                        "dtype": "int32",
                        "shape": [],
                        "bytes": 4,
                        "shard": "train2-9.data-00000-of-00001",
                        "offset": offset,
                        "crc32c": "%08x" % crc,
                    }
                    for name, offset, crc in (("v1", 0, crc32c(b"\x14\0\0\0")), ("v2", 4, crc32c(b"\x0b\0\0\0")))
                ],
            },
        )

    def test_ls_in_text_lists_every_tensor(self):
        text = self.cairn("ls", "saved/train2-9", exit=YES).text
        self.assertIn("v1      int32  []", text)
        self.assertIn("tensorflow, step 9, 2 tensors, 2 parameters, 8 bytes in 1 shard\n", text)

    def test_a_catalog_elsewhere_still_finds_its_checkpoints(self):
        shutil.move(self.dir / "saved", self.dir / "moved")
        self.assertEqual(self.cairn("latest", "moved", exit=YES).text, "moved/train2-9\n")
