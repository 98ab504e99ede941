"""What conversions keep, what they refuse to lose, and what they say."""

from bundle import write_safetensors
from command import FAILED, YES, CommandTest

METADATA = {"format": "flax", "empty": "", "tags": '{"a b": 3, "\u00e9": 1}', "title": 'caf\u00e9 "q"\n\u0001'}
MICROSCALED = {
    "w": ("F4", [2, 8], bytes(range(8))),
    "scale": ("F8_E8M0", [2, 1], b"\x7f\x80"),
    "six": ("F6_E3M2", [4], b"abc"),
    "c": ("C64", [1], bytes(8)),
    "z": ("F8_E5M2FNUZ", [2], b"\1\2"),
    "norm": ("BF16", [3], b"\x80\x3f" * 3),
}


class KeepTest(CommandTest):
    def setUp(self):
        super().setUp()
        write_safetensors(self.dir / "q.safetensors", MICROSCALED)
        write_safetensors(self.dir / "t.safetensors", {"v": ("I8", [1], b"\1")}, METADATA)

    def tensors(self, path):
        listing = self.cairn("ls", path, "--json", exit=YES).json["tensors"]
        return {each["name"]: (each["dtype"], each["shape"], self.cairn("cat", path, each["name"], "--raw", exit=YES).out)
                for each in listing}

    def pairs(self, path, key="safetensors_metadata"):
        listing = self.cairn("ls", path, "--json", exit=YES).json[key]
        return {each["key"]: each["value"] for each in listing if not each["key"].startswith("cairn.")}


class OpaqueDtypes(KeepTest):
    def test_cairn_and_safetensors_hold_them(self):
        before = self.tensors("q.safetensors")
        ran = self.cairn("convert", "q.safetensors", "a/m", "--to", "cairn", exit=YES)
        self.assertIn("P.index leaves out 3 tensors", ran.err)
        self.assertIn('"w" (F4 [2, 8])', ran.err)
        self.assertEqual(self.tensors("a/m"), before)
        ran = self.cairn("convert", "a/m", "b/m", "--to", "safetensors", exit=YES)
        self.assertIn("dtype F4, which only the newest readers", ran.err)
        self.assertEqual(self.tensors("b/m.safetensors"), before)
        self.cairn("salvage", "q.safetensors", "c/m", exit=YES)
        self.assertEqual(self.tensors("c/m"), before)
        self.cairn("save", "d/m", "--from", "q.safetensors", "more:int8=1", exit=YES)
        self.assertEqual(self.tensors("d/m"), before | {"more": ("int8", [], b"\1")})
        self.cairn("verify", "a/m", "c/m", "d/m", exit=YES)

    def test_what_tensorflow_cannot_hold_is_refused_or_named(self):
        words = ("convert", "q.safetensors", "a/m", "--to", "tensorflow")
        ran = self.cairn(*words, exit=FAILED)
        for word in ('tensor "w" (F4 [2, 8])', 'tensor "scale" (F8_E8M0 [2, 1])', "--allow-lossy"):
            self.assertIn(word, ran.err)
        self.assertFalse((self.dir / "a").exists())
        ran = self.cairn(*words, "--allow-lossy", "--json", exit=YES)
        self.assertEqual(ran.json["not_nameable"], ["scale", "six", "w"])
        self.assertIn('cannot hold it: tensor "w" (F4 [2, 8])', ran.err)
        self.assertEqual(sorted(self.tensors("a/m")), ["c", "norm", "z"])

    def test_import_elsewhere_loses_nothing_that_cairn_knows(self):
        self.cairn("convert", "q.safetensors", "a/m", "--to", "cairn", exit=YES)
        self.cairn("import", "a/m", "--output", "b/m", exit=YES)
        self.assertEqual(self.tensors("b/m"), self.tensors("q.safetensors"))
        self.cairn("import", "a/m", "--replace", exit=YES)
        self.assertEqual(self.tensors("a/m"), self.tensors("q.safetensors"))

    def test_an_export_that_would_lose_is_refused(self):
        self.cairn("convert", "q.safetensors", "a/m", "--to", "cairn", exit=YES)
        for target in ("tensorflow", "safetensors"):
            with self.subTest(target):
                words = ("export", "a/m", "--to", target, "--output", target + "/m")
                self.assertIn('tensor "w" (F4 [2, 8])', self.cairn(*words, exit=FAILED).err)
                self.assertFalse((self.dir / target).exists())
                self.assertIn("w", self.cairn(*words, "--allow-lossy", "--json", exit=YES).json["not_nameable"])

    def test_an_export_of_what_has_no_sums_reads_only_what_it_keeps(self):
        write_safetensors(self.dir / "f.safetensors", {"a": ("BF16", [1], b"ab"), "b": ("F4", [2], b"c")})
        err = self.cairn("export", "f.safetensors", "--to", "tensorflow", "--output", "t", exit=FAILED).err
        self.assertIn("cannot hold tensor 'b' (F4 [2]); nothing is written", err.replace('"', "'"))
        ran = self.cairn("export", "f.safetensors", "--to", "tensorflow", "--output", "s", "--allow-lossy", "--json", exit=YES)
        self.assertEqual(ran.json["not_nameable"], ["b"])
        self.assertIn("1 tensor had no checksum; 2 bytes were read", ran.err)
        self.assertEqual(self.cairn("verify", "s", exit=YES).text, "s: whole, 2 bytes checked\n")
        self.cairn("convert", "f.safetensors", "t", "--to", "tensorflow", "--allow-lossy", exit=YES)


class Metadata(KeepTest):
    def test_it_is_listed(self):
        text = self.cairn("ls", "t.safetensors", exit=YES).text
        self.assertIn("__metadata__ format: flax\n", text)
        self.assertIn("__metadata__ empty: \n", text)
        write_safetensors(self.dir / "long.safetensors", {}, {"k": "\u00e9" * 100})
        ran = self.cairn("ls", "long.safetensors", exit=YES)
        self.assertIn("__metadata__ k: %s\u2026 (200 bytes)\n" % ("\u00e9" * 50), ran.text)
        self.assert_terminal_safe(self.cairn("ls", "t.safetensors", exit=YES))
        self.assertEqual(self.pairs("long.safetensors"), {"k": "\u00e9" * 100})

    def test_every_verb_keeps_it(self):
        self.cairn("convert", "t.safetensors", "a/m", "--to", "cairn", exit=YES)
        steps = {
            "b/m": ("convert", "a/m", "b/m", "--to", "cairn"),
            "c/m.safetensors": ("convert", "a/m", "c/m", "--to", "safetensors"),
            "d/m": ("salvage", "t.safetensors", "d/m"),
            "e/m": ("save", "e/m", "--from", "t.safetensors", "w:int8=1"),
            "f/m.safetensors": ("export", "a/m", "--to", "safetensors", "--output", "f/m"),
            "g/m": ("import", "a/m", "--output", "g/m"),
            "h/m": ("rename", "a/m", "--regex", "^v=w", "--output", "h/m"),
            "i/m": ("merge", "t.safetensors", "--output", "i/m"),
        }
        for path, words in steps.items():
            with self.subTest(words):
                self.cairn(*words, exit=YES)
                self.assertEqual(self.pairs(path), METADATA)
        self.cairn("rename", "a/m", "--regex", "^v=w", "--replace", exit=YES)
        self.assertEqual(self.pairs("a/m"), METADATA)

    def test_a_file_says_pt_only_where_nothing_was_said(self):
        write_safetensors(self.dir / "n.safetensors", {"v": ("I8", [1], b"\1")})
        self.cairn("convert", "n.safetensors", "a/n", "--to", "safetensors", exit=YES)
        self.assertEqual(self.pairs("a/n.safetensors"), {"format": "pt"})

    def test_what_it_says_of_the_file_is_made_anew(self):
        write_safetensors(self.dir / "s.safetensors", {"v": ("I8", [3], b"123")},
                          {"total_size": "999", "format": "pt", "cairn.tied": "{}"})
        self.cairn("convert", "s.safetensors", "a/m", "--to", "cairn", exit=YES)
        self.assertEqual(self.pairs("a/m"), {"total_size": "3", "format": "pt"})

    def test_tensorflow_has_no_place_for_it(self):
        words = ("convert", "t.safetensors", "a/m", "--to", "tensorflow")
        self.assertIn('__metadata__ "format"; __metadata__ "empty"', self.cairn(*words, exit=FAILED).err)
        done = self.cairn(*words, "--allow-lossy", "--json", exit=YES).json
        self.assertEqual(done["safetensors_metadata_left_out"], list(METADATA))
        write_safetensors(self.dir / "pt.safetensors", {"v": ("I8", [1], b"\1")}, {"format": "pt"})
        self.cairn("convert", "pt.safetensors", "b/m", "--to", "tensorflow", exit=YES)

    def test_step_and_metadata_of_cairns_go_through_a_file(self):
        self.golden("tensorflow/saver_walk/saved")
        self.cairn("convert", "saved/train2-9", "a/m", "--to", "safetensors", exit=YES)
        self.cairn("convert", "a/m.safetensors", "b/m", "--to", "cairn", exit=YES)
        self.assertEqual(self.cairn("ls", "b/m", "--json", exit=YES).json["step"], 9)
        self.assertEqual(self.pairs("b/m"), {"format": "pt"})
        # What a Saver says of its own is not believed of a file.
        write_safetensors(self.dir / "x.safetensors", {}, {"cairn.metadata.cairn.pinned": "1",
                                                           "cairn.metadata.k": "v", "cairn.step": "x"})
        listing = self.cairn("ls", "x.safetensors", "--json", exit=YES).json
        self.assertEqual((listing["metadata"], listing["step"]), ([{"key": "k", "value": "v"}], None))


class Paths(KeepTest):
    def test_the_printed_path_opens(self):
        self.golden("tensorflow/saver_walk/saved")
        for words, path in (
            (("convert", "saved", "out/m", "--to", "safetensors"), "out/m.safetensors"),
            (("convert", "saved", "out/new.safetensors", "--to", "safetensors"), "out/new.safetensors"),
            (("merge", "saved", "--output", "out/c.safetensors"), "out/c.safetensors"),
            (("convert", "saved", "out/c", "--to", "cairn"), "out/c"),
            (("export", "out/c", "--to", "safetensors"), "out/c.safetensors"),
            (("export", "out/c", "--to", "safetensors", "--output", "e/x.safetensors"), "e/x.safetensors"),
            (("merge", "saved", "--output", "out/g"), "out/g"),
            (("salvage", "saved", "out/s"), "out/s"),
        ):
            with self.subTest(words):
                ran = self.cairn(*words, exit=YES)
                self.assertTrue(ran.text.startswith(path + ": "), ran.text)
                self.assertEqual(self.cairn("cat", path, "v1", exit=YES).text, "20\n")
        self.assertEqual(list((self.dir / "out").glob("*.safetensors.safetensors")), [])
        self.cairn("convert", "saved", "out/new.safetensors", "--to", "safetensors", exit=FAILED)  # is there
        self.cairn("convert", "saved", "out/new", "--to", "safetensors", exit=FAILED)

    def test_a_safetensors_file_has_no_step_in_its_name(self):
        for name in ("model-00002-of-00002", "resnet-50"):
            write_safetensors(self.dir / (name + ".safetensors"), {"v": ("I8", [1], b"\1")})
            with self.subTest(name):
                self.assertIsNone(self.cairn("ls", name + ".safetensors", "--json", exit=YES).json["step"])
                self.cairn("convert", name + ".safetensors", "out/" + name[0], "--to", "cairn", exit=YES)
                self.assertIsNone(self.cairn("ls", "out/" + name[0], "--json", exit=YES).json["step"])

    def test_a_merge_of_one_file_is_exported_as_that_file(self):
        self.cairn("merge", "t.safetensors", "--output", "a/m", exit=YES)
        self.cairn("export", "a/m", "--to", "safetensors", exit=YES)
        self.assertEqual((self.dir / "a" / "m.safetensors").read_bytes(), (self.dir / "t.safetensors").read_bytes())
