"""What never goes, though the rules let go of it: what a link that stays leads to, and what nobody can judge."""

import shutil

from command import FAILED, YES, CommandTest


class Kept(CommandTest):
    def save(self, step, *words, name="m"):
        return self.cairn("save", "d/" + name, "--step", str(step), "a:int32=%d" % step, *words, exit=YES)

    def there(self):
        return sorted(path.name.removesuffix(".index") for path in (self.dir / "d").glob("*.index"))

    def listed(self):
        lines = (self.dir / "d/checkpoint").read_text().splitlines()
        return [line.split('"')[1] for line in lines if "all_" in line and '"' in line]

    def value(self, prefix):
        return self.cairn("cat", prefix, "a", exit=YES).text

    def link(self, base, to, folder="", text=""):
        """Gives every file of `to` a link named after `base`; `text`: before the name that it leads to."""
        for path in (self.dir / "d").glob(to + ".*"):
            (self.dir / "d" / folder / (base + path.name[len(to):])).symlink_to(text + path.name)


class Linked(Kept):
    """A checkpoint whose files are links to another's, beside it: what it leads to is as much its own."""

    def setUp(self):
        super().setUp()
        for step in (1, 2, 3):
            self.save(step)

    def test_what_the_latest_leads_to_stays_listed_and_a_warning_says_why(self):
        self.link("best", "m-1")
        self.cairn("set-latest", "d", "best", exit=YES)
        dry = self.cairn("prune", "d", "--max-to-keep", "1", "--dry-run", exit=YES).text
        ran = self.cairn("prune", "d", "--max-to-keep", "1", exit=YES)
        self.assertEqual(dry.replace("goes", "went"), ran.text)
        self.assertIn("kept  d/m-1   older than the newest 1; stays listed, because the symbolic link best.", ran.text)
        self.assertIn(" leads to it\n", ran.text)
        self.assertEqual(self.there(), ["best", "m-1"])
        self.assertEqual(self.value("d"), "1\n")
        ran = self.save(4, "--max-to-keep", "2")
        self.assertEqual(len(ran.err.splitlines()), 1, ran.err)
        self.assertIn("d/m-1: stays listed, because the symbolic link best.", ran.err)
        self.assertEqual(self.listed(), ["m-1", "best", "m-4"])

    def test_it_goes_together_with_what_leads_to_it(self):
        self.link("best", "m-1")
        self.cairn("set-latest", "d", "best", exit=YES)
        self.cairn("set-latest", "d", "m-3", exit=YES)
        self.cairn("prune", "d", "--max-to-keep", "1", exit=YES)
        self.assertEqual(sorted(path.name for path in (self.dir / "d").iterdir() if path.name[0] != "."),
                         ["checkpoint", "m-3.cairn", "m-3.data-00000-of-00001", "m-3.index"])

    def test_whoever_keeps_the_link(self):
        """Pinned, listed by another catalog, or by none; absolute links, links to links, by another folder, of one file."""
        here = str(self.dir / "d") + "/"
        ways = {
            "none": lambda: self.link("best", "m-1"),
            "pinned": lambda: (self.link("best", "m-1"), self.cairn("pin", "d/best", exit=YES)),
            "another": lambda: (self.link("best", "m-1"),
                                self.cairn("set-latest", "d", "best", "--catalog", "bestcat", exit=YES)),
            "absolute": lambda: self.link("best", "m-1", text=here),
            "roundabout": lambda: self.link("best", "m-1", text="sub/../"),
            "links to links": lambda: (self.link("each", "m-1"), self.link("best", "each")),
            "the shard alone": lambda: (self.link("best", "m-1"), [
                (path.unlink(), shutil.copy(self.dir / "d" / path.name.replace("best", "m-1"), path))
                for path in (self.dir / "d").glob("best.[ic]*")]),
            "any name": lambda: (self.dir / "d/weights").symlink_to("m-1.data-00000-of-00001"),
            "a folder that is listed": lambda: (self.link("best", "m-1", "sub", "../"), (self.dir / "d/sub/best.cairn").unlink(), self.cairn(
                "set-latest", "d", "d/sub/best", "--catalog", "bestcat", "--follow-links", exit=YES)),
            "that folder by its links": lambda: (self.link("best", "m-1", "sub", "../"),
                                                 [(self.dir / "d" / ("each" + path.name[4:])).symlink_to(
                                                     "sub/" + path.name) for path in (self.dir / "d/sub").iterdir()]),
        }
        for name, make in ways.items():
            with self.subTest(name):
                shutil.rmtree(self.dir / "d")
                (self.dir / "d/sub").mkdir(parents=True)
                for step in (1, 2, 3):
                    self.save(step)
                make()
                ran = self.cairn("prune", "d", "--max-to-keep", "1", exit=YES)
                self.assertRegex(ran.text, "kept  d/m-1 .* because the symbolic link .* leads to it\n")
                self.assertIn("went  d/m-2", ran.text)
                self.cairn("verify", "d/m-1", exit=YES)
                for words in (("rm", "d/m-1"), ("rm", "d/m-1", "--force"), ("mv", "d/m-1", "d/k")):
                    err = self.cairn(*words, exit=FAILED).err
                    self.assertIn("d/m-1: stays, because ", err)
                    self.assertIn(" leads to it; remove that link first", err)
                self.cairn("verify", "d/m-1", exit=YES)

    def test_a_rule_of_tensorflows_lets_it_leave_the_catalog_and_keeps_its_files(self):
        self.link("best", "m-1")
        ran = self.save(4, "--policy", "manager", "--max-to-keep", "2")
        self.assertIn("d/m-1: leaves the catalog, but its files stay, because the symbolic link best.", ran.err)
        self.assertEqual(self.there(), ["best", "m-1", "m-3", "m-4"])
        self.assertEqual(self.listed(), ["m-3", "m-4"])
        self.assertEqual(self.value("d/best"), "1\n")

    def test_links_that_lead_to_nothing_here_keep_nothing(self):
        self.save(1, name="n")
        self.link("best", "n-1")
        (self.dir / "d/gone.index").symlink_to("m-9.index")
        (self.dir / "d/up").symlink_to("..")
        (self.dir / "d/m-1.safetensors").symlink_to("m-1.data-00000-of-00001")
        self.cairn("rm", "d/m-2", exit=YES)
        self.cairn("mv", "d/m-3", "d/k", exit=YES)
        ran = self.cairn("prune", "d", "--max-to-keep", "1", exit=YES)
        self.assertEqual(ran.text.count("went"), 2, ran.text)
        self.assertEqual(self.value("d/best"), "1\n")

    def test_what_consists_of_links_is_removed_alone(self):
        self.link("best", "m-1")
        self.cairn("rm", "d/best", exit=YES)
        self.assertEqual(self.there(), ["m-1", "m-2", "m-3"])
        self.cairn("rm", "d/m-1", exit=YES)
        self.assertEqual(self.there(), ["m-2", "m-3"])


class Unread(Kept):
    """A P.cairn that nobody can read: whether it is pinned is not known, so it is taken for pinned."""

    def flip(self, path):
        self.flip_bit(path, 100)

    def of_version_two(self, path):
        """The version stands behind the eight bytes of magic."""
        whole = path.read_bytes()
        path.write_bytes(whole[:8] + b"\2" + whole[9:])

    def dangling(self, path):
        path.unlink()
        path.symlink_to("nowhere")

    DAMAGES = (flip, of_version_two, lambda self, path: path.write_bytes(b""), dangling, lambda self, path: (
        path.unlink(), path.mkdir()))

    def each(self, check, *words):
        """Runs the check once for each damage to the P.cairn of d/m-1, which `words` have saved."""
        for number, damage in enumerate(self.DAMAGES):
            with self.subTest(number):
                shutil.rmtree(self.dir / "d", ignore_errors=True)
                self.save(1, *words)
                path = self.dir / "d/m-1.cairn"
                path.chmod(0o644)
                damage(self, path)
                check(path)

    def test_it_stays_and_a_warning_says_why(self):
        def check(path):
            ran = self.save(2, "--max-to-keep", "1")
            self.assertIn("d/m-1: stays listed, because it may be pinned: d/m-1.cairn", ran.err)
            self.assertEqual(self.listed(), ["m-1", "m-2"])
            ran = self.cairn("prune", "d", "--max-to-keep", "1", exit=YES)
            self.assertIn("kept  d/m-1  older than the newest 1; stays listed, because it may be pinned", ran.text)
            ran = self.save(3, "--policy", "manager", "--max-to-keep", "1")
            self.assertIn("d/m-1: leaves the catalog, but its files stay, because it may be pinned", ran.err)
            self.assertEqual(self.there(), ["m-1", "m-3"])

        self.each(check, "--pin")

    def test_the_best_by_a_metric_that_nobody_can_read_stays(self):
        def check(path):
            for step in (2, 3, 4):
                self.save(step, "--metric", "loss=%d" % step, "--best", "loss:1", "--max-to-keep", "1")
            self.assertEqual(self.listed(), ["m-1", "m-2", "m-4"])

        self.each(check, "--metric", "loss=1")

    def test_it_is_removed_by_force_alone(self):
        def check(path):
            self.save(2)
            err = self.cairn("rm", "d/m-1", exit=FAILED).err
            self.assertIn("d/m-1: it may be pinned: d/m-1.cairn", err)
            self.assertIn("--force", err)
            self.assertEqual(self.there(), ["m-1", "m-2"])
            if not path.is_dir():
                self.cairn("rm", "d/m-1", "--force", exit=YES)
                self.assertEqual(self.there(), ["m-2"])

        self.each(check)

    def test_a_save_over_it_is_pinned_and_a_warning_says_so(self):
        def check(path):
            if path.is_dir():
                return
            err = self.save(1, "--replace").err
            self.assertIn("d/m-1: is pinned, because the checkpoint that it replaced may have been pinned: it may be pinned", err)
            self.assertIn("to unpin it, use 'cairn pin --remove'", err)
            self.save(2, "--max-to-keep", "1")
            self.assertEqual(self.listed(), ["m-1", "m-2"])
            self.cairn("pin", "d/m-1", "--remove", exit=YES)
            self.assertEqual(self.save(1).err, "")

        self.each(check, "--pin")

    def test_whoever_replaces_it_says_that_it_may_have_been_pinned(self):
        self.cairn("save", "o/m", "a:int32=1", exit=YES)
        self.cairn("save", "o/n", "a:int32=1", exit=YES)
        for words in (("cp", "o/m", "d/m-1"), ("mv", "o/n", "d/m-1"), ("convert", "o/m", "d/m-1", "--to", "cairn")):
            def check(path):
                if path.is_dir() or (words[0] == "mv" and not (self.dir / "o/n.index").exists()):
                    return
                err = self.cairn(*words, "--replace", exit=YES).err
                self.assertIn("d/m-1: may have been pinned, for its P.cairn cannot be read, and what took its place is "
                              "not; 'cairn pin' pins it", err)

            self.each(check, "--pin")

    def test_a_grid_that_turns_is_written_down_where_it_can_be_read(self):
        rule = ("--policy", "saver", "--keep-every", "0.0000001", "--max-to-keep")
        for number, damage in enumerate(self.DAMAGES[:-1]):
            with self.subTest(number):
                shutil.rmtree(self.dir / "d", ignore_errors=True)
                for step in (1, 2, 3):
                    self.save(step, *rule, "9")
                latest = self.dir / "d/m-3.cairn"
                latest.chmod(0o644)
                damage(self, latest)
                self.assertIn("kept  d/m-2  one every", self.cairn("prune", "d", *rule, "1", exit=YES).text)
                self.assertEqual(self.listed(), ["m-3"])


class Arriving(Kept):
    """A P.cairn whose other files are not there, or not there yet."""

    def test_what_comes_first_of_a_move_is_there_when_the_rest_arrives(self):
        self.cairn("save", "a/m", "a:int32=1", exit=YES)
        (self.dir / "d").mkdir()
        names = sorted(path.name for path in (self.dir / "a").glob("m.*"))
        self.assertEqual(names[0], "m.cairn")
        for name in names:
            shutil.move(self.dir / "a" / name, self.dir / "d" / name)
            self.assertEqual(self.save(1, name="n").err, "")
            self.cairn("prune", "d", exit=YES)
            self.assertTrue((self.dir / "d/m.cairn").exists())
        self.assertEqual(self.cairn("verify", "d/m", exit=YES).err, "")
        self.assertEqual(self.value("d/m"), "1\n")

    def test_a_damaged_one_can_be_salvaged_whatever_is_done_beside_it(self):
        self.cairn("save", "d/m", "a:int32=1", "b:string=x", "--pin", exit=YES)
        (self.dir / "d/m.index").unlink()
        (self.dir / "d/m.data-00001-of-00002").unlink()
        self.save(1, name="n")
        self.save(2, name="n")
        for words in (("prune", "d"), ("pin", "d/n-1"), ("state", "d", "--repair"), ("rm", "d/n-1", "--force"),
                      ("mv", "d/n-2", "d/k")):
            self.cairn(*words)
        self.assertIn("kept 1 of 2", self.cairn("salvage", "d/m", "o/m").text)


if __name__ == "__main__":
    import unittest
    unittest.main()
