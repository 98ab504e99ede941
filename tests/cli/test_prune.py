"""prune and pin: what stays, what goes, and why."""

import shutil

from command import FAILED, YES, CommandTest


class Prune(CommandTest):
    def setUp(self):
        super().setUp()
        self.saved = self.golden("tensorflow/saver_walk/saved")

    def there(self):
        return sorted(path.name.removesuffix(".index") for path in self.saved.glob("*.index"))

    def test_prune_says_of_each_checkpoint_what_becomes_of_it_and_why(self):
        verdicts = self.cairn("prune", "saved", "--max-to-keep", "2", "--json", exit=YES).json
        self.assertEqual(list(verdicts), ["checkpoints"])
        self.assertEqual(
            {v["prefix"]: v["kept"] for v in verdicts["checkpoints"]},
            {"saved/train1": True} | {"saved/train2-%d" % step: step > 7 for step in range(5, 10)})
        for verdict in verdicts["checkpoints"]:
            self.assertEqual(set(verdict), {"prefix", "kept", "why"})
            self.assertNotEqual(verdict["why"], "")
        self.assertEqual(self.there(), ["train1", "train2-8", "train2-9"])
        self.assertEqual(
            (self.saved / "checkpoint").read_text(),
            'model_checkpoint_path: "train2-9"\n'
            'all_model_checkpoint_paths: "train2-8"\nall_model_checkpoint_paths: "train2-9"\n')

    def test_a_dry_run_says_the_same_and_changes_nothing(self):
        before = {path.name: path.read_bytes() for path in self.saved.iterdir()}
        dry = self.cairn("prune", "saved", "--max-to-keep", "2", "--json", "--dry-run", exit=YES)
        self.assertEqual({path.name: path.read_bytes() for path in self.saved.iterdir()}, before)
        done = self.cairn("prune", "saved", "--max-to-keep", "2", "--json", exit=YES)
        self.assertEqual(dry.json, done.json)

    def test_what_another_catalog_lists_stays(self):
        self.cairn("set-latest", "saved", "saved/train2-6", "--catalog", "best_checkpoint", exit=YES)
        ran = self.cairn("prune", "saved", "--max-to-keep", "2", exit=YES)
        self.assertIn("kept  saved/train2-6  older than the newest 2; its files stay, because another "
                      "catalog of this directory, best_checkpoint, lists it\n", ran.text)
        self.assertEqual(self.there(), ["train1", "train2-6", "train2-8", "train2-9"])
        self.assertEqual(self.cairn("latest", "saved", "--catalog", "best_checkpoint", exit=YES).text, "saved/train2-6\n")
        ran = self.cairn("save", "saved/train2", "--step", "10", "--max-to-keep", "1", "v1:int32=1", exit=YES)
        self.assertEqual(ran.err, "")
        self.cairn("set-latest", "saved", "saved/train2-10", "--catalog", "best_checkpoint", exit=YES)
        ran = self.cairn("save", "saved/train2", "--step", "11", "--max-to-keep", "1", "v1:int32=1", exit=YES)
        self.assertIn("saved/train2-10: leaves the catalog, but its files stay, because another catalog of this directory, best_checkpoint", ran.err)
        self.assertEqual(self.there(), ["train1", "train2-10", "train2-11", "train2-6"])

    def test_the_text_is_aligned(self):
        dry = self.cairn("prune", "saved", "--max-to-keep", "1", "--dry-run", exit=YES).text
        self.assertIn("goes  saved/train2-5  older than the newest 1\n", dry)
        text = self.cairn("prune", "saved", "--max-to-keep", "1", exit=YES).text
        self.assertNotIn("goes", text)
        self.assertIn("kept  saved/train1    the catalog does not list it\n", text)
        self.assertIn("went  saved/train2-5  older than the newest 1\n", text)
        self.assertIn("kept  saved/train2-9  the latest; one of the newest 1\n", text)

    def test_pruning_twice_changes_nothing_more(self):
        self.cairn("prune", "saved", "--max-to-keep", "3", exit=YES)
        before = self.there()
        self.assertNotIn("went", self.cairn("prune", "saved", "--max-to-keep", "3", exit=YES).text)
        self.assertEqual(self.there(), before)

    def test_five_stay_unless_told(self):
        self.assertNotIn("went", self.cairn("prune", "saved", exit=YES).text)

    def test_what_is_no_directory_is_not_made_one(self):
        self.assertIn("is not a directory", self.cairn("prune", "nowhere", exit=FAILED).err)
        self.assertFalse((self.dir / "nowhere").exists())

    def test_a_directory_without_checkpoints_has_nothing_to_say(self):
        (self.dir / "empty").mkdir()
        self.assertEqual(self.cairn("prune", "empty", "--json", exit=YES).json, {"checkpoints": []})

    def test_rules_that_contradict_each_other_are_refused(self):
        ran = self.cairn("prune", "saved", "--policy", "manager", "--best", "loss:1", exit=FAILED)
        self.assertIn("must be the only rule", ran.err)


class OtherCatalogs(CommandTest):
    """What another catalog of the directory lists stays, whatever that is called and however it reads."""

    def setUp(self):
        super().setUp()
        self.save(1)

    def save(self, step, keep=2):
        return self.cairn("save", "d/m", "--step", str(step), "v:int32=%d" % step, "--max-to-keep", str(keep), exit=YES)

    def there(self):
        return sorted(path.name.removesuffix(".index") for path in (self.dir / "d").glob("*.index"))

    def listed(self):
        return [line.split('"')[1] for line in (self.dir / "d/checkpoint").read_text().splitlines() if "all_" in line and '"' in line]

    def test_a_catalog_is_one_whatever_its_name(self):
        for name in ("checkpoint.best", "checkpoint best", "checkpoint#2", "best.data-x", "checkpoint (1)", "a.bak.b"):
            with self.subTest(name):
                self.cairn("set-latest", "d", "m-1", "--catalog", name, exit=YES)
                self.save(2)
                self.assertIn("m-1: is listed by " + name, self.cairn("rm", "d/m-1", exit=FAILED).err)
                self.assertIn("its files stay, because another catalog of this directory, %s, lists it" % name, self.save(3).err)
                self.assertEqual(self.there(), ["m-1", "m-2", "m-3"])
                (self.dir / "d" / name).unlink()
                self.cairn("rm", "d/m-2", exit=YES)
                self.cairn("rm", "d/m-3", "--force", exit=YES)
                self.cairn("set-latest", "d", "m-1", exit=YES)

    def test_what_reads_as_one_is_one_though_no_verb_would_call_it_so(self):
        text = 'model_checkpoint_path: "m-1"\nall_model_checkpoint_paths: "m-1"\n'
        for name in ("best.meta", "best.index", "best.cairn", "best.safetensors", "best.data-00000-of-00001", ".cairn-best",
                     "m-1.meta", "m-2.meta"):
            with self.subTest(name):
                (self.dir / "d" / name).write_text(text)
                self.save(2)
                self.assertIn("its files stay, because another catalog of this directory, %s, lists it" % name, self.save(3).err)
                self.assertIn("went  d/m-2", self.cairn("prune", "d", "--max-to-keep", "1", exit=YES).text)
                self.assertEqual((self.dir / "d" / name).read_text(), text)
                self.cairn("verify", "d/m-1", exit=YES)
                (self.dir / "d" / name).unlink()
                self.cairn("rm", "d/m-3", "--force", exit=YES)
                self.cairn("set-latest", "d", "m-1", exit=YES)

    def test_a_damaged_one_of_such_a_name_is_named_and_one_that_nobody_can_read_is_none(self):
        (self.dir / "d/best.meta").write_text('model_checkpoint_path: "m-1')
        self.assertEqual([self.save(step).err.count("d/best.meta: ") for step in (2, 3)], [0, 1])
        self.assertIn("so it is not known what this catalog lists; repair or remove it", self.save(4).err)
        (self.dir / "d/best.meta").unlink()
        (self.dir / "d/best.meta").symlink_to("best.meta")
        self.assertEqual(self.save(5).err, "")
        self.assertEqual(self.there(), ["m-4", "m-5"])

    def test_comments_before_it_may_have_any_length(self):
        text = 'model_checkpoint_path: "m-1"\nall_model_checkpoint_paths: "m-1"\n'
        for before in ("#" + 5000 * "x" + "\n", 3000 * "# the best\n", 9000 * " \n", "# x\n" + 4096 * "#" + "\n\n#\n",
                       4095 * " " + "#\n", 4095 * "#" + "\n"):
            with self.subTest(before[:10]):
                (self.dir / "d/best").write_text(before + text)
                self.save(2)
                self.assertIn("its files stay, because another catalog of this directory, best, lists it", self.save(3).err)
                (self.dir / "d/best").unlink()
                self.cairn("rm", "d/m-2", exit=YES)
                self.cairn("rm", "d/m-3", "--force", exit=YES)
                self.cairn("set-latest", "d", "m-1", exit=YES)

    def test_a_link_to_a_catalog_is_one_and_a_link_to_its_own_is_none(self):
        self.cairn("set-latest", "d", "m-1", "--catalog", "best", exit=YES)
        (self.dir / "d/best").rename(self.dir / "best")
        (self.dir / "d/best").symlink_to("../best")
        (self.dir / "d/own").symlink_to("checkpoint")
        self.assertIn("because another catalog of this directory, best", [self.save(step).err for step in (2, 3)][1])
        self.assertEqual(self.save(4).err, "")
        self.assertEqual(self.there(), ["m-1", "m-3", "m-4"])

    def test_backups_keep_nothing_and_are_no_catalogs(self):
        text = (self.dir / "d/checkpoint").read_text()
        for name in ("checkpoint~", "checkpoint.bak", "best.old", "x.orig", "#checkpoint#", "checkpoint.tmp" + 32 * "a"):
            (self.dir / "d" / name).write_text(text)
            for words in (("set-latest", "d", "m-1"), ("save", "d/n", "v:int32=1"), ("prune", "d"), ("rm", "d/m-1"),
                          ("mv", "d/m-1", "d/n"), ("state", "d", "--repair")):
                ran = self.cairn(*words, "--catalog", name, exit=FAILED)
                self.assertIn("cannot be the catalog's name: backup files have such names", ran.err)
            self.assertEqual(self.cairn("latest", "d", "--catalog", name, exit=YES).text, "d/m-1\n")
        self.assertEqual([self.save(step).err for step in (2, 3)], ["", ""])
        self.assertEqual(self.there(), ["m-2", "m-3"])

    def test_while_a_damaged_one_is_there_nothing_is_let_go_of(self):
        damaged = self.dir / "d/best"
        for text in ('model_checkpoint_path: "m-1"\nall_model_check', 'model_checkpoint_path: "m',
                     '# ours\n all_model_checkpoint_paths: "m-1\n', 'model_checkpoint_path: ""\n'):
            with self.subTest(text):
                damaged.write_text(text)
                said = [self.save(step).err for step in (2, 3, 4)]
                self.assertEqual(said[0], "")
                for each in said[1:]:
                    self.assertEqual(len(each.splitlines()), 1, each)
                    self.assertIn("so it is not known what this catalog lists; to make it again, use 'cairn state --repair'", each)
                    self.assertIn("d/best: ", each)
                ran = self.cairn("prune", "d", "--max-to-keep", "1", exit=YES)
                self.assertEqual(ran.text.count("but d/best: "), 3)
                self.assertEqual(self.there(), ["m-1", "m-2", "m-3", "m-4"])
                self.assertEqual(self.listed(), self.there())
                self.assertIn("'cairn state --repair'", self.cairn("mv", "d/m-1", "d/n", exit=FAILED).err)
                self.assertIn("anyway, use --force", self.cairn("rm", "d/m-2", exit=FAILED).err)
                self.cairn("rm", "d/m-2", "--force", exit=YES)
                self.assertEqual(damaged.read_text(), text)
                damaged.unlink()
                self.save(5)
                self.assertEqual(self.there(), ["m-4", "m-5"])
                self.save(1, keep=1)
                self.assertEqual(self.there(), ["m-1"])

    def test_what_mentions_the_field_and_is_no_catalog_hinders_nobody(self):
        for text in ("import os\nmodel_checkpoint_path = 'm-1'\n", "12:00 model_checkpoint_path: \"m-1\"\n",
                     "    model_checkpoint_path: str\n"):
            (self.dir / "d/eval.py").write_text(text)
            self.assertEqual([self.save(step).err for step in (2, 3)], ["", ""])
            self.assertEqual(self.there(), ["m-2", "m-3"])


class Links(CommandTest):
    """A checkpoint whose files are links out of the directory: another's, unless links are followed."""

    def test_it_stays_listed_and_a_warning_says_why(self):
        for pin in ((), ("--pin",)):
            with self.subTest(pin=pin):
                self.cairn("save", "a/m", "--step", "1", "v:int32=1", *pin, exit=YES)
                (self.dir / "d").mkdir()
                for path in (self.dir / "a").glob("m-1.*"):
                    (self.dir / "d" / path.name).symlink_to("../a/" + path.name)
                self.cairn("set-latest", "d", "m-1", "--follow-links", exit=YES)
                kept = self.cairn("save", "d/m", "--step", "2", "v:int32=1", "--json", exit=YES).json
                self.assertEqual((kept["kept"], kept["warnings"]), (["d/m-1", "d/m-2"], []))
                one = ("--max-to-keep", "1")
                kept = self.cairn("save", "d/m", "--step", "3", "v:int32=1", *one, "--json", exit=YES).json
                self.assertEqual((kept["kept"], kept["deleted"]), (["d/m-1", "d/m-3"], ["d/m-2"]))
                self.assertEqual(len(kept["warnings"]), 1)
                self.assertIn("d/m-1: stays listed, because its index is a link that leads out", kept["warnings"][0])
                ran = self.cairn("prune", "d", *one, exit=YES)
                self.assertIn("kept  d/m-1  older than the newest 1; stays listed, because its index is a link", ran.text)
                self.assertEqual(ran.text.count("d/m-1"), 1)
                self.assertIn('"m-1"', (self.dir / "d/checkpoint").read_text())
                self.cairn("prune", "d", *one, "--follow-links", exit=YES)
                self.assertEqual((self.dir / "d/m-1.index").is_symlink(), bool(pin))
                self.cairn("verify", "a/m-1", exit=YES)
                for directory in ("a", "d"):
                    shutil.rmtree(self.dir / directory)

    def test_one_in_another_directory_leaves_the_catalog_and_a_warning_says_so(self):
        self.cairn("save", "a/m", "--step", "1", "v:int32=1", exit=YES)
        self.cairn("save", "d/m", "--step", "2", "v:int32=1", exit=YES)
        text = (self.dir / "d/checkpoint").read_text().splitlines()
        (self.dir / "d/checkpoint").write_text("\n".join([text[0], 'all_model_checkpoint_paths: "%s"' % (self.dir / "a/m-1"),
                                                         text[1]]))
        ran = self.cairn("save", "d/m", "--step", "3", "v:int32=1", "--max-to-keep", "2", exit=YES)
        self.assertIn("a/m-1: leaves the catalog, and its files stay, because they are in another directory", ran.err)
        self.cairn("verify", "a/m-1", exit=YES)


class Pin(CommandTest):
    def setUp(self):
        super().setUp()
        self.saved = self.golden("tensorflow/saver_walk/saved")

    def test_a_pinned_checkpoint_stays_until_the_pin_is_taken_away(self):
        self.assertEqual(self.cairn("pin", "saved/train2-6", exit=YES).text, "saved/train2-6\n")
        verdicts = self.cairn("prune", "saved", "--max-to-keep", "1", "--json", exit=YES).json["checkpoints"]
        kept = {v["prefix"]: v["why"] for v in verdicts if v["kept"]}
        self.assertEqual(set(kept), {"saved/train1", "saved/train2-6", "saved/train2-9"})
        self.assertIn("pinned", kept["saved/train2-6"])
        self.assertEqual(self.cairn("cat", "saved/train2-6", "v1", exit=YES).text, "17\n")
        self.cairn("pin", "saved/train2-6", "--remove", exit=YES)
        self.cairn("prune", "saved", "--max-to-keep", "1", exit=YES)
        self.assertEqual(list(self.saved.glob("train2-6*")), [])

    def test_a_save_that_is_pinned_outlives_the_others(self):
        self.cairn("save", "new/m", "--step", "0", "--pin", "v:int8=0", exit=YES)
        for step in range(1, 4):
            self.cairn("save", "new/m", "--step", str(step), "--max-to-keep", "1", "v:int8=0", exit=YES)
        self.assertEqual(sorted(path.name for path in (self.dir / "new").glob("*.index")), ["m-0.index", "m-3.index"])

    def test_what_is_no_checkpoint_cannot_be_pinned(self):
        for prefix, why in (("saved/train2-77", "train2-77"), ("nowhere/m", "is not a directory"),
                            ("saved/", "is a directory"), ("", "empty")):
            with self.subTest(prefix):
                ran = self.cairn("pin", prefix, exit=FAILED)
                self.assertEqual(len(ran.err.splitlines()), 1)
                self.assertIn(why, ran.err)
        self.assertFalse((self.dir / "nowhere").exists())
