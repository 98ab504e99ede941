"""A catalog that is damaged, gone or out of date: state --repair."""

import os

from command import FAILED, NO, YES, CommandTest

STEPS = ["saved/train2-%d" % step for step in range(5, 10)]


class Repair(CommandTest):
    def setUp(self):
        super().setUp()
        self.golden("tensorflow/saver_walk/saved").joinpath("checkpoint.after_train1").unlink()
        self.catalog = self.dir / "saved" / "checkpoint"
        # TensorFlow saved them in this order; a copy has lost the times.
        for seconds, name in enumerate(("train1", *("train2-%d" % step for step in range(5, 10)))):
            os.utime(self.dir / "saved" / (name + ".index"), (0, 1_700_000_000 + seconds))

    def repair(self, *options, exit=YES):
        return self.cairn("state", "saved", "--repair", "--json", *options, exit=exit).json

    def listed(self):
        return [entry["prefix"] for entry in self.cairn("state", "saved", "--json", exit=YES).json["checkpoints"]]

    def test_a_damaged_catalog_is_rebuilt(self):
        self.catalog.write_text("damaged")
        self.cairn("state", "saved", exit=FAILED)
        self.assertEqual(
            self.repair(),
            {
                "latest": STEPS[-1],
                "latest_whole": STEPS[-1],
                "checkpoints": [{"prefix": name, "whole": True, "opens_as": name, "why": None} for name in ["saved/train1", *STEPS]],
                "changed": True,
                "unnamed_shards": [],
                "unfinished": [],
                "left_files": [],
                "left_out": [],
            },
        )
        self.assertEqual(self.listed(), ["saved/train1", *STEPS])
        self.assertFalse(self.repair()["changed"])

    def test_a_missing_catalog_is_made(self):
        self.catalog.unlink()
        text = self.cairn("state", "saved", "--repair", exit=YES).text
        self.assertTrue(text.startswith("latest:       saved/train2-9\n"), text)
        self.assertTrue(text.endswith("the catalog was rewritten\n"), text)
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train2-9\n")

    def test_what_is_not_whole_goes_and_what_retention_may_have_preserved_stays_out(self):
        (self.dir / "saved" / "train2-9.data-00000-of-00001").write_bytes(b"1234")
        (self.dir / "saved" / "train2-6.index").unlink()
        done = self.repair()
        self.assertEqual(self.listed(), ["saved/train2-5", "saved/train2-7", "saved/train2-8"])
        why = {each["prefix"]: each["why"] for each in done["left_out"]}
        self.assertEqual(sorted(why), ["saved/train1", "saved/train2-6", "saved/train2-9"])
        self.assertIn("older than the checkpoints in the catalog", why["saved/train1"])
        self.assertIn("has 4 bytes", why["saved/train2-9"])
        self.assertEqual([each["prefix"] for each in self.repair("--all")["left_out"]], ["saved/train2-9"])
        self.assertEqual(self.listed()[0], "saved/train1")

    def test_what_another_catalog_lists_and_copies_are_left_alone(self):
        saved = self.dir / "saved"
        for name in list(saved.iterdir()):
            if name.name.startswith("train2-8."):
                for other in ("best-8", "train2-8 - Copy"):
                    copy = saved / name.name.replace("train2-8", other)
                    copy.write_bytes(name.read_bytes())
        (saved / "best_checkpoint").write_text(
            'model_checkpoint_path: "best-8"\nall_model_checkpoint_paths: "best-8"\n'
        )
        self.catalog.unlink()
        why = {each["prefix"]: each["why"] for each in self.repair()["left_out"]}
        self.assertEqual(sorted(why), ["saved/best-8", "saved/train2-8 - Copy"])
        self.assertIn("is listed by best_checkpoint", why["saved/best-8"])
        self.assertIn("is a copy of train2-8; to list it too, use 'cairn state --repair --all'", why["saved/train2-8 - Copy"])
        self.assertEqual(self.listed(), ["saved/train1", *STEPS])
        best = ("--catalog", "best_checkpoint")
        self.assertEqual(self.cairn("latest", "saved", *best, exit=YES).text, "saved/best-8\n")
        self.assertEqual(self.cairn("state", "saved", "--json", *best, exit=YES).json["latest"], "saved/best-8")
        self.cairn("set-latest", "saved", "train2-7", *best, exit=YES)
        self.assertEqual(self.cairn("latest", "saved", *best, exit=YES).text, "saved/train2-7\n")
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train2-9\n")
        ran = self.cairn("watch", "saved", "--timeout", "0", "--latest-only", *best, exit=YES)
        self.assertEqual(ran.text, "saved/train2-7\n")
        self.cairn("save", "saved/top", "--step", "1", "v:int32=1", *best, exit=YES)
        self.assertEqual(self.cairn("latest", "saved", *best, exit=YES).text, "saved/top-1\n")
        self.cairn("prune", "saved", "--max-to-keep", "1", *best, exit=YES)
        self.assertFalse((saved / "best-8.index").exists())
        self.assertEqual(self.cairn("latest", "saved", exit=YES).text, "saved/train2-9\n")
        self.cairn("latest", "saved", "--catalog", "train2-9.index", exit=FAILED)

    def test_what_a_damaged_catalog_may_list_is_left_alone_unless_all_is_asked_for(self):
        (self.dir / "saved" / "best").write_text('model_checkpoint_path: "train1"\nall_model_check')
        self.catalog.write_text('model_checkpoint_path: "train2-5"\n')
        repaired = self.repair()
        self.assertEqual(repaired["latest"], "saved/train2-5")
        why = {each["prefix"]: each["why"] for each in repaired["left_out"]}
        self.assertEqual(sorted(why), ["saved/train1", *STEPS[1:]])
        for each in why.values():
            self.assertIn("may be listed by another catalog: saved/best: ", each)
        self.assertEqual(self.repair("--all")["left_out"], [])
        self.cairn("state", "saved", "--repair", "--all", "--catalog", "best", exit=NO)

    def test_a_link_that_is_listed_stays_and_is_named(self):
        for name in list((self.dir / "saved").iterdir()):
            if name.name.startswith("train2-7."):
                (self.dir / name.name).write_bytes(name.read_bytes())
                name.unlink()
                name.symlink_to("../" + name.name)
        done = self.repair()
        self.assertFalse(done["changed"])
        self.assertEqual(self.listed(), STEPS)
        entry = done["checkpoints"][2]
        self.assertEqual((entry["prefix"], entry["whole"]), (STEPS[2], False))
        self.assertIn("symbolic link", entry["why"])
        text = self.cairn("state", "saved", "--repair", exit=YES).text
        self.assertIn("kept, not checked: ", text)

    def test_a_dry_run_changes_nothing(self):
        self.catalog.write_text("damaged")
        self.assertEqual(self.repair("--dry-run")["latest"], STEPS[-1])
        ran = self.cairn("state", "saved", "--repair", "--dry-run", exit=YES)
        self.assertTrue(ran.text.endswith("the catalog would be rewritten\n"), ran.text)
        self.assertEqual(self.catalog.read_text(), "damaged")
        self.assertEqual([each.name for each in (self.dir / "saved").glob(".*")], [])

    def test_a_catalog_that_is_right_stays_as_it_is(self):
        before = self.catalog.read_bytes()
        ran = self.cairn("state", "saved", "--repair", exit=YES)
        self.assertTrue(ran.text.endswith("the catalog did not change\n"), ran.text)
        self.assertEqual(self.catalog.read_bytes(), before)

    def test_where_nothing_is_whole_the_answer_is_no(self):
        for shard in (self.dir / "saved").glob("*.data-*"):
            shard.unlink()
        done = self.repair(exit=NO)
        self.assertEqual((done["latest"], done["checkpoints"], done["changed"]), (None, [], False))
        self.assertEqual(len(done["left_out"]), 6)
        self.assertIn("is whole", self.cairn("state", "saved", "--repair", exit=NO).err)

    def test_its_options_need_it(self):
        for option in (("--all",), ("--dry-run",), ("--lock-wait", "0")):
            self.assertIn("--repair", self.cairn("state", "saved", *option, exit=FAILED).err)
        self.assertIn("is not a directory", self.cairn("state", "nowhere", "--repair", exit=FAILED).err)

    def test_state_has_a_row_for_a_latest_that_the_catalog_does_not_list(self):
        self.catalog.write_text('model_checkpoint_path: "train2-9"\nall_model_checkpoint_paths: "train2-8"\n')
        self.assertEqual(self.listed(), ["saved/train2-8", "saved/train2-9"])
        self.catalog.write_text('model_checkpoint_path: "gone"\nall_model_checkpoint_paths: "train2-8"\n')
        entries = self.cairn("state", "saved", "--json", exit=YES).json["checkpoints"]
        self.assertEqual([(each["prefix"], each["whole"]) for each in entries],
                         [("saved/train2-8", True), ("saved/gone", False)])
