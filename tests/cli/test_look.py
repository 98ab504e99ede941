"""What a person looks at a checkpoint with: ls with patterns, info, stat, help, completion; and stdout as a terminal."""

import array
import json
import math
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import unittest

from bundle import write_safetensors
from command import CAIRN, FAILED, YES, CommandTest, read_to_end, terminal

NAMES = ("layer.0.weight", "layer.1.weight", "layer.1.bias", "layer.*", "a/b/c")


def floats(*values):
    return array.array("f", values).tobytes()


class Look(CommandTest):
    def model(self, tensors, metadata=None, name="m.safetensors"):
        write_safetensors(self.dir / name, tensors, metadata)
        return name

    def named(self):
        return self.model({name: ("F32", [2], floats(1, 2)) for name in NAMES})

    def on_terminal(self, *arguments, columns=80, **environment):
        """The lines that the command prints on a terminal of so many columns."""
        ours, its = terminal(columns)
        env = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        with subprocess.Popen([CAIRN, *arguments], cwd=self.dir, stdout=its, env={**env, "TERM": "xterm", **environment}) as run:
            os.close(its)
            said = read_to_end(ours)
        self.assertEqual(run.returncode, YES)
        return said.decode().replace("\r\n", "\n").splitlines()

    # ---- ls

    def listed(self, *patterns):
        return [tensor["name"] for tensor in self.cairn("ls", self.named(), *patterns, "--json", exit=YES).json["tensors"]]

    def test_ls_lists_the_tensors_that_a_word_means(self):
        for words, names in (((), sorted(NAMES)),
                             (("layer.1.bias",), ["layer.1.bias"]),
                             (("layer.?.weight",), ["layer.0.weight", "layer.1.weight"]),
                             (("*weight", "a/*"), ["a/b/c", "layer.0.weight", "layer.1.weight"]),
                             (("a*c",), ["a/b/c"]),
                             (("layer.*",), ["layer.*"]),  # a name is no pattern
                             (("layer.**",), ["layer.*", "layer.0.weight", "layer.1.bias", "layer.1.weight"]),
                             (("*",), sorted(NAMES))):
            with self.subTest(words):
                self.assertEqual(self.listed(*words), names)

    def test_names_in_brackets_arrive_as_typed(self):
        names = ("[0]", "0", "[a,b]", "a", "[[a]]", "[]", "[")
        path = self.model({name: ("F32", [1], floats(1)) for name in names})
        for name in ("[0]", "[a,b]", "[[a]]", "[]", "["):
            for verb in ("ls", "stat"):
                with self.subTest(name, verb=verb):
                    tensors = self.cairn(verb, path, name, "0", "--json", exit=YES).json["tensors"]
                    self.assertEqual({tensor["name"] for tensor in tensors}, {name, "0"})
            self.cairn("cat", path, name, exit=YES)
            self.cairn("convert", path, "out", "--to", "safetensors", "--only", name, "--replace", exit=YES)
            (tensor,) = self.cairn("ls", "out.safetensors", "--json", exit=YES).json["tensors"]
            self.assertEqual(tensor["name"], name)
        os.rename(self.dir / path, self.dir / "[m.safetensors]")
        self.cairn("verify", "[m.safetensors]", exit=YES)
        self.cairn("ls", "[m.safetensors]", exit=YES)
        self.cairn("merge", "[m.safetensors]", "--output", "[merged]", exit=YES)
        self.assertIn("'[a]'", self.cairn("save", "d/m", "[a]", exit=FAILED).err)
        self.assertIn("[a,b]", self.cairn("info", "[merged]", "[a,b]", exit=FAILED).err)
        self.assertIn("[1]", self.cairn("verify", "[merged]", "--threads", "[1]", exit=FAILED).err)

    def test_a_word_that_means_nothing_is_an_error(self):
        path = self.named()
        ran = self.cairn("ls", path, "*weight", "none*", exit=FAILED)
        self.assertEqual(ran.text, "")
        self.assertIn("no tensor's name matches 'none*'", ran.err)
        self.assertIn("layer.1.bias", self.cairn("ls", path, "layer.1.bia", exit=FAILED).err)  # similar names

    def test_ls_counts_parameters(self):
        path = self.model({"a": ("F32", [2, 3], floats(*range(6))), "b": ("I64", [2], bytes(16))})
        last = self.cairn("ls", path, exit=YES).text.splitlines()[-1]
        self.assertIn("safetensors, 2 tensors, 8 parameters, ", last)
        last = self.cairn("ls", path, "a", exit=YES).text.splitlines()[-1]
        self.assertEqual(last, "m: 1 of 2 tensors, 6 parameters, 24 bytes")
        self.assertEqual(self.cairn("ls", path, "--json", exit=YES).json["parameters"], 8)

    def test_a_terminal_gets_what_fits_into_its_lines(self):
        path = self.model({"w" * 90: ("F32", [1000, 2000], bytes(8_000_000)), "ü" * 30: ("F32", [2], floats(1, 2))})
        for columns in (200, 80, 50):
            with self.subTest(columns):
                heading, *rows, _ = self.on_terminal("ls", path, columns=columns)
                self.assertTrue(heading.startswith("\x1b[1mtensor "), heading)
                self.assertEqual("crc32c" in heading, columns == 200)
                for row in rows:
                    self.assertLessEqual(len(row), columns)
                self.assertTrue(any("8.00 MB" in row for row in rows), rows)
                self.assertEqual(any("…" in row for row in rows), columns != 200)

    def test_colours_are_turned_off_by_their_variables(self):
        path = self.named()
        for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
            with self.subTest(variables):
                self.assertNotIn("\x1b", "".join(self.on_terminal("ls", path, **variables)))
        self.assertIn("\x1b", "".join(self.on_terminal("ls", path, NO_COLOR="")))
        self.assertNotIn(b"\x1b", self.cairn("ls", path, exit=YES).out)

    # ---- info

    def test_info_says_what_a_checkpoint_is(self):
        words = json.dumps(["a, b", 'c"d', [1, 2]] * 100)
        path = self.model({"a": ("F32", [2], floats(1, 2)), "b": ("F32", [1], floats(3)), "c": ("BOOL", [1], b"\1")},
                          {"words": words, "long": "x" * 1000, "short": "y"})
        text = self.cairn("info", path, exit=YES).text
        for said in ("format      safetensors\n", "tensors     3\n", "parameters  4\n", "float32        2         3     12\n",
                     "(300 elements)", "(1,000 bytes)", "short: y\n"):
            self.assertIn(said, text)
        self.assertNotIn(words, text)
        said = self.cairn("info", path, "--json", exit=YES).json
        self.assertEqual((said["format"], said["tensors"], said["parameters"]), ("safetensors", 3, 4))
        self.assertEqual(said["dtypes"], [{"dtype": "bool", "tensors": 1, "elements": 1, "bytes": 1},
                                          {"dtype": "float32", "tensors": 2, "elements": 3, "bytes": 12}])
        self.assertIn({"key": "words", "value": words}, said["safetensors_metadata"])

    def test_info_says_the_digest_where_there_is_one_and_it_stays_through_formats(self):
        path = self.model({"a": ("F32", [2], floats(1, 2)), "b": ("F32", [1], floats(3))})
        self.assertIsNone(self.cairn("info", path, "--json", exit=YES).json["digest"])
        self.assertNotIn("digest", self.cairn("info", path, exit=YES).text)
        self.cairn("import", path, exit=YES)
        digest = self.cairn("info", path, "--json", exit=YES).json["digest"]
        self.assertRegex(digest, "^[0-9a-f]{32}$")
        self.assertIn("digest      %s\n" % digest, self.cairn("info", path, exit=YES).text)
        self.cairn("convert", path, "copy", "--to", "cairn", exit=YES)
        self.assertEqual(self.cairn("info", "copy", "--json", exit=YES).json["digest"], digest)
        self.cairn("convert", path, "other", "--to", "cairn", "--rename", "a=c", exit=YES)
        self.assertNotEqual(self.cairn("info", "other", "--json", exit=YES).json["digest"], digest)

    # ---- stat

    def stat(self, dtype, shape, data, *more):
        (said,) = self.cairn("stat", self.model({"w": (dtype, shape, data)}), "--json", *more, exit=YES).json["tensors"]
        return said

    def test_stat_of_floats(self):
        nan, inf = math.nan, math.inf
        said = self.stat("F32", [9], floats(1, 2, 3, 4, 0, -0.0, nan, inf, -inf))
        self.assertEqual((said["min"], said["max"]), (0, 4))
        self.assertAlmostEqual(said["mean"], 10 / 6)
        self.assertAlmostEqual(said["std"], math.sqrt(sum((x - 10 / 6) ** 2 for x in (1, 2, 3, 4, 0, 0)) / 6))
        self.assertEqual((said["zeros"], said["nans"], said["infinities"], said["elements"]), (2, 1, 2, 9))

    def test_stat_of_other_numbers(self):
        for dtype, data, least, most, mean in (
                ("I64", struct.pack("<3q", -2**63, 0, 2**63 - 1), -2**63, 2**63 - 1, 0),  # as numpy: sums are float64
                ("U8", b"\x00\xff\x80", 0, 255, 383 / 3),
                ("I8", b"\x00\xff\x80", -128, 0, -129 / 3),
                ("BOOL", b"\x00\x01\x01", 0, 1, 2 / 3),
                ("F16", struct.pack("<3e", -1.5, 0.5, 65504), -1.5, 65504, 65503 / 3),
                ("BF16", bytes.fromhex("803f004080bf"), -1, 2, 2 / 3)):
            with self.subTest(dtype):
                said = self.stat(dtype, [3], data)
                self.assertEqual((said["min"], said["max"]), (least, most))
                self.assertAlmostEqual(said["mean"], mean)

    def test_packed_elements_are_numbers(self):
        self.golden("onnx/raw.onnx")
        raw = self.cairn("cat", "raw.onnx", "INT4", "--raw", exit=YES).out
        nibbles = [half for byte in raw for half in (byte & 15, byte >> 4)][:15]
        numbers = [nibble - 16 if nibble > 7 else nibble for nibble in nibbles]
        text = self.cairn("cat", "raw.onnx", "INT4", exit=YES).text
        self.assertEqual([int(word) for word in text.translate(str.maketrans("[]", "  ")).split()], numbers)
        (said,) = self.cairn("stat", "raw.onnx", "INT4", "--json", exit=YES).json["tensors"]
        self.assertEqual((said["min"], said["max"], said["elements"]), (min(numbers), max(numbers), 15))

    def test_stat_prints_integers_exactly(self):
        path = self.model({"w": ("I64", [2], struct.pack("<2q", 2**53, 2**53 + 1))})
        self.assertIn(f" {2**53}  {2**53 + 1} ", self.cairn("stat", path, exit=YES).text)

    def test_stat_of_nothing_and_of_what_has_no_numbers(self):
        said = self.stat("F32", [0], b"")
        self.assertEqual((said["min"], said["mean"], said["zeros"]), (None, None, 0))
        said = self.stat("F8_E8M0", [2], b"ab")
        self.assertEqual((said["min"], said["zeros"]), (None, None))
        self.golden("tensorflow/saver_walk/saved")
        self.assertIn("v1 ", self.cairn("stat", "saved", "v1", exit=YES).text)

    def test_a_large_mean_does_not_drown_the_deviation(self):
        values = [1e6 + i % 2 for i in range(300_000)]
        said = self.stat("F64", [len(values)], struct.pack(f"<{len(values)}d", *values))
        self.assertEqual((said["mean"], said["std"]), (1e6 + 0.5, 0.5))

    def test_sums_of_large_numbers_do_not_overflow(self):
        most = sys.float_info.max
        for values, mean, std in (
                ((most,) * 3, most, 0),
                ((-most, most), 0, most),
                ((1e200, 3e200), 2e200, 1e200),
                ((most, 0, math.inf, math.nan), most / 2, most / 2),
                ((most,) * 100_000 + (-most,) * 100_000, 0, most)):
            with self.subTest(values[:3], count=len(values)):
                said = self.stat("F64", [len(values)], struct.pack(f"<{len(values)}d", *values))
                self.assertTrue(math.isclose(said["mean"], mean, rel_tol=1e-12, abs_tol=most * 1e-12 if mean == 0 else 0))
                self.assertTrue(math.isclose(said["std"], std, rel_tol=1e-12, abs_tol=most * 1e-12 if std == 0 else 0))
                text = self.cairn("stat", "m.safetensors", exit=YES).text.splitlines()[1]
                self.assertNotRegex(text, "inf|nan")

    def test_threads_do_not_change_the_numbers(self):
        data = b"".join(struct.pack("<f", (i * 2654435761 % 1000003) / 7) for i in range(1_500_000))
        path = self.model({"w": ("F32", [len(data) // 4], data), "v": ("F32", [2], floats(1, 2))})
        one, four = (self.cairn("stat", path, "--json", "--threads", n, exit=YES).out for n in ("1", "4"))
        self.assertEqual(one, four)

    def test_stat_fits_a_terminal(self):
        values = floats(-1.2345678e-5, 0.99916887, 1 / 3) * 1000
        path = self.model({"model.layers.11.attention.weight": ("F32", [3000], values)})
        heading, row = self.on_terminal("stat", path)
        self.assertLessEqual(len(row), 80)
        self.assertIn("inf", heading)
        self.assertNotIn("elements", heading)
        self.assertEqual(row.split()[2:4], ["-1.23457e-05", "0.999169"])
        self.assertIn(" -1.2345678e-05 ", self.cairn("stat", path, exit=YES).text)

    def test_stat_refuses_damage(self):
        self.golden("tensorflow/saver_walk/saved")
        shard = self.dir / "saved/train2-9.data-00000-of-00001"
        data = bytearray(shard.read_bytes())
        data[0] ^= 1
        shard.write_bytes(data)
        ran = self.cairn("stat", "saved", exit=FAILED)
        self.assertEqual(ran.text, "")
        self.assertIn("v1", ran.err)

    # ---- cat, help, completion

    def test_cat_on_a_terminal_leaves_out_what_numpy_leaves_out(self):
        count = 2 * 8 * 70
        path = self.model({"w": ("I32", [2, 8, 70], struct.pack(f"<{count}i", *range(count))),
                           "v": ("I32", [1001], struct.pack("<1001i", *range(1001))),
                           "u": ("I32", [1000], struct.pack("<1000i", *range(1000)))})
        self.assertEqual(self.on_terminal("cat", path, "w"), [
            "[[[   0    1    2 ...   67   68   69]", "  [  70   71   72 ...  137  138  139]",
            "  [ 140  141  142 ...  207  208  209]", "  ...", "  [ 350  351  352 ...  417  418  419]",
            "  [ 420  421  422 ...  487  488  489]", "  [ 490  491  492 ...  557  558  559]]", "",
            " [[ 560  561  562 ...  627  628  629]", "  [ 630  631  632 ...  697  698  699]",
            "  [ 700  701  702 ...  767  768  769]", "  ...", "  [ 910  911  912 ...  977  978  979]",
            "  [ 980  981  982 ... 1047 1048 1049]", "  [1050 1051 1052 ... 1117 1118 1119]]]"])
        self.assertEqual(self.on_terminal("cat", path, "v"), ["[   0    1    2 ...  998  999 1000]"])
        self.assertNotIn("...", self.on_terminal("cat", path, "u")[0])
        whole = self.cairn("cat", path, "w", exit=YES).text
        self.assertEqual(len(whole.replace("[", " ").replace("]", " ").split()), count)
        self.assertEqual(self.on_terminal("cat", path, "w", "--all"), whole.splitlines())

    def test_help_of_a_verb_is_its_own(self):
        self.assertEqual(self.cairn("help", "ls", exit=YES).text, self.cairn("ls", "--help", exit=YES).text)
        self.assertIn("the nearest is 'ls'", self.cairn("help", "lss", exit=FAILED).err)
        self.assertEqual(self.cairn("help", exit=YES).text, self.cairn("--help", exit=YES).text)

    def test_the_manual_page_has_every_verb(self):
        tool = pathlib.Path(__file__).resolve().parents[2] / "tools/man.py"
        page = subprocess.run([sys.executable, tool, CAIRN], capture_output=True, check=True, text=True).stdout
        listed = self.cairn("--help", exit=YES).text.partition("Verbs:\n")[2].partition("\n\n")[0]
        verbs = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
        self.assertIn("ls", verbs)
        for verb in verbs:
            self.assertIn(f"\n.SH CAIRN {verb.upper()}\n.nf\n", page)
        requests = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
        self.assertEqual(requests, {".TH", ".SH", ".nf", ".fi"})

    def completed(self, *words):
        script = self.cairn("completion", "bash", exit=YES).text
        line = " ".join(f"'{word}'" for word in words)
        script += f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _cairn; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        env = {**os.environ, "PATH": os.path.dirname(CAIRN) + ":" + os.environ["PATH"]}
        done = subprocess.run(["bash", "-c", script], capture_output=True, env=env, check=True, text=True)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    @unittest.skipUnless(shutil.which("bash"), "there is no bash")
    def test_bash_completes_verbs_and_options(self):
        self.assertEqual(self.completed("cairn", "conv"), ["convert"])
        self.assertEqual(sorted(self.completed("cairn", "s")), ["salvage", "save", "set-latest", "stat", "state"])
        self.assertIn("--follow-links", self.completed("cairn", "ls", "--"))
        self.assertEqual(self.completed("cairn", "ls", "m"), [])  # a file's name, by bash itself

    def test_every_shell_has_a_script(self):
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("cairn", self.cairn("completion", shell, exit=YES).text)
            if shutil.which(shell):
                script = self.cairn("completion", shell, exit=YES).out
                subprocess.run([shell, "-n"], input=script, check=True)
        self.assertIn("'csh' is not one of bash, fish, zsh", self.cairn("completion", "csh", exit=FAILED).err)


if __name__ == "__main__":
    unittest.main()
