"""Usage, help, versions; and names that try to reach the terminal."""

import os
import unittest

from bundle import write_bundle, write_safetensors
from command import FAILED, YES, CommandTest

VERBS = (
    "ls cat diff verify import export convert merge rename cp mv rm latest state set-latest save prune pin watch demo bench"
).split()
RED = "\x1b[31mred\x07"


class Usage(CommandTest):
    def test_version(self):
        self.assertRegex(self.cairn("--version", exit=YES).text, r"^cairn \d+\.\d+\.\d+\n$")

    def test_help_lists_every_verb(self):
        text = self.cairn("--help", exit=YES).text
        for verb in VERBS:
            self.assertIn("\n  %s " % verb, text)

    def test_help_names_what_a_path_can_be(self):
        text = self.cairn("--help", exit=YES).text
        for word in (".safetensors", ".gguf", ".onnx", ".npz", ".npy", ".ptd", ".tflite", ".pt,", ".pth", ".bin", ".h5", ".keras",
                     "SavedModel", "Hugging Face", "distributed checkpoint"):
            self.assertIn(word, text)

    def test_every_verb_has_help_with_usage_exit_status_and_examples(self):
        for verb in VERBS:
            with self.subTest(verb):
                text = self.cairn(verb, "--help", exit=YES).text
                for part in ("Usage: cairn %s" % verb, "Exit status:", "Example"):
                    self.assertIn(part, text)
                self.assertLessEqual(max(map(len, text.splitlines())), 100)

    def test_an_unknown_verb_is_answered_with_the_nearest(self):
        self.assertIn("'verify'", self.cairn("verfy", exit=FAILED).err)
        self.assertIn("'latest'", self.cairn("lastest", "dir", exit=FAILED).err)

    def test_a_verb_that_is_near_to_none_is_answered_without_a_guess(self):
        self.assertNotIn("nearest", self.cairn("frobnicate", exit=FAILED).err)
        self.assertIn("a verb comes first", self.cairn("--json", exit=FAILED).err)

    def test_a_word_that_is_no_choice_is_answered_with_the_choices(self):
        for words, choices in ((("export", "x", "--to", "excel"), "safetensors, tensorflow"),
                               (("convert", "x", "y", "--to", "excel"), "cairn, npy, npz, safetensors, tensorflow"),
                               (("import", "x", "--link", "soft"), "auto, copy, hard, reflink"),
                              (("prune", ".", "--policy", "all"), "manager, newest, saver")):
            with self.subTest(words):
                ran = self.cairn(*words, exit=FAILED)
                self.assertIn("'%s' is not one of %s" % (words[-1], choices), ran.err)
                self.assert_terminal_safe(ran)

    def test_an_empty_path_is_no_checkpoint(self):
        self.golden("tensorflow/saver_walk/saved")
        for words in (("ls", ""), ("verify", ""), ("import", ""), ("set-latest", "saved", "")):
            with self.subTest(words):
                self.assertIn("the path is empty", self.cairn(*words, exit=FAILED).err)

    def test_wrong_usage_is_said_in_one_line(self):
        for words in ((), ("ls",), ("ls", "--nonsense", "x"), ("export", "x"), ("cat", "x"),
                      ("export", "x", "--to", "excel"), ("import", "x", "--link", "soft"),
                      ("save",), ("prune",), ("pin",), ("merge",), ("rename",), ("prune", ".", "--max-to-keep", "many"),
                      ("bench", "x", "--repeat", "0"), ("verify", "x", "--threads", "zwei")):
            with self.subTest(words):
                ran = self.cairn(*words, exit=FAILED)
                self.assertEqual((ran.text, len(ran.err.splitlines())), ("", 1), ran.err)

    def test_a_full_disk_under_stdout_is_a_failure(self):
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        self.assertEqual(os.system("'%s' --help > /dev/full 2> /dev/null" % self.command()), FAILED << 8)

    def command(self):
        from command import CAIRN

        return CAIRN


class Demo(CommandTest):
    def test_demo_shows_its_times_and_cleans_up(self):
        text = self.cairn("demo", "--dir", self.dir / "work", exit=YES).text
        self.assertIn("plain read() into memory", text)
        self.assertEqual(list((self.dir / "work").iterdir()), [])


class Names(CommandTest):
    def test_names_with_terminal_escapes_come_out_escaped(self):
        write_safetensors(self.dir / "evil.safetensors", {RED: ("U8", [1], b"\1")})
        for words in (("ls", "evil.safetensors"), ("cat", "evil.safetensors", "x"),
                      ("cat", "evil.safetensors", RED, "--slice", "9"), ("verify", "evil.safetensors")):
            with self.subTest(words):
                self.assert_terminal_safe(self.cairn(*words))
        self.assertIn("\\x1b[31mred\\x07", self.cairn("ls", "evil.safetensors", exit=YES).text)
        listing = self.cairn("ls", "evil.safetensors", "--json", exit=YES)
        self.assert_terminal_safe(listing)
        self.assertEqual(listing.json["tensors"][0]["name"], RED)

    def test_damage_in_a_tensor_with_terminal_escapes_is_named_escaped(self):
        write_bundle(self.dir / "evil", {RED.encode(): b"1234"})
        self.flip_bit(self.dir / "evil.data-00000-of-00001", 0)
        for words in (("verify", "evil"), ("cat", "evil", RED), ("verify", "evil", "--json")):
            with self.subTest(words):
                self.assert_terminal_safe(self.cairn(*words))

    def test_names_that_are_not_utf8_are_hexadecimal_in_json(self):
        write_bundle(self.dir / "c", {b"caf\xe9": b"1"})
        tensor = self.cairn("ls", "c", "--json", exit=YES).json["tensors"][0]
        self.assertNotIn("name", tensor)
        self.assertEqual(tensor["name_hex"], "636166e9")
        self.assertIn("caf\\xe9", self.cairn("ls", "c", exit=YES).text)
        self.assertEqual(self.cairn("cat", "c", b"caf\xe9", exit=YES).text, "[49]\n")

    def test_catalogs_with_terminal_escapes_come_out_escaped(self):
        (self.dir / "checkpoint").write_bytes(b'model_checkpoint_path: "\\033[31mred"\n')
        for words in (("latest", "."), ("state", "."), ("ls", ".")):
            with self.subTest(words):
                self.assert_terminal_safe(self.cairn(*words))
