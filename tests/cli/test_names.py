"""Names are taken literally, in arguments and in what is printed."""

import os

from command import FAILED, YES, CommandTest

ODD = ["*", "a?[b]", "with space ", "new\nline", "\x1b[2J", "back\\slash\\n", '"q"', "-dash", "été", "%d"]


class Names(CommandTest):
    def test_every_verb_takes_a_prefix_of_any_name(self):
        for i, name in enumerate(ODD):
            with self.subTest(name=name):
                prefix = f"d{i}/{name}"
                self.cairn("save", prefix, "--step", "3", f"t\n{name}:int32=7", exit=YES)
                saved = f"{prefix}-3"
                self.cairn("latest", f"d{i}", exit=YES)
                listing = self.cairn("ls", saved, "--json", exit=YES).json
                self.assertEqual((listing["prefix"], listing["tensors"][0]["name"]), (saved, f"t\n{name}"))
                self.cairn("verify", saved, exit=YES)
                self.cairn("import", saved, exit=YES)
                self.cairn("export", saved, "--to", "tensorflow", exit=YES)
                self.cairn("convert", saved, f"d{i}/c {name}", "--to", "tensorflow", exit=YES)
                self.assertEqual(self.cairn("cat", f"d{i}/c {name}", f"t\n{name}", "--raw", exit=YES).out, b"\7\0\0\0")
                self.assertEqual(self.cairn("state", f"d{i}", "--json", exit=YES).json["latest"], saved)

    def test_what_a_terminal_would_act_on_is_shown_escaped(self):
        self.cairn("save", "d/\x1b[2J", "t\x1b[2J:int32=7", exit=YES)
        for arguments in (("ls", "d/\x1b[2J"), ("verify", "d/\x1b[2J"), ("cat", "d/\x1b[2J", "\x1b"), ("ls", "d/\x1b")):
            self.assert_terminal_safe(self.cairn(*arguments))

    def test_bytes_that_are_not_utf8_are_names_too(self):
        prefix = os.fsdecode(b"d/\xff\xfe")
        self.cairn("save", "d/m", "t:int32=7", exit=YES)
        self.cairn("convert", "d/m", prefix, "--to", "cairn", exit=YES)
        self.assertEqual(self.cairn("ls", prefix, "--json", exit=YES).json["prefix_hex"], b"d/\xff\xfe".hex())
        self.cairn("verify", prefix, exit=YES)
        done = self.cairn("save", os.fsdecode(b"d/\xff"), "t:int32=7", exit=FAILED)
        self.assertIn("UTF-8", done.err)
