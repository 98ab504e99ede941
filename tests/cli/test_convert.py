"""convert: other names, other dtypes, and what a terminal shows meanwhile."""

import os
import struct
import subprocess

from bundle import write_safetensors
from command import CAIRN, FAILED, YES, CommandTest, read_to_end, slow_reads, terminal


def floats(*values):
    return struct.pack("<%df" % len(values), *values)


class Names(CommandTest):
    def setUp(self):
        super().setUp()
        write_safetensors(self.dir / "m.safetensors", {
            "state_dict.model.a": ("F32", [2], floats(1, 2)),
            "state_dict.model.b": ("F32", [1], floats(3)),
            "optimizer.a": ("F32", [1], floats(4)),
        })

    def names(self, path):
        return [tensor["name"] for tensor in self.cairn("ls", path, "--json", exit=YES).json["tensors"]]

    def test_a_prefix_is_removed_and_patterns_apply_to_what_is_left(self):
        for target, path in (("safetensors", "n.safetensors"), ("cairn", "n"), ("tensorflow", "t")):
            with self.subTest(target):
                done = self.cairn("convert", "m.safetensors", path, "--to", target, "--strip-prefix", "state_dict.",
                                  "--rename", r"^model\.=", "--rename", "^(.)$=w.$1", "--json", exit=YES).json
                self.assertEqual(self.names(path), ["optimizer.a", "w.a", "w.b"])
                self.assertEqual(done["renamed"], [{"from": "state_dict.model.a", "to": "w.a"},
                                                   {"from": "state_dict.model.b", "to": "w.b"}])
                self.assertEqual(self.cairn("cat", path, "w.b", exit=YES).text, "[3.0]\n")

    def test_text_says_how_many_names_changed(self):
        ran = self.cairn("convert", "m.safetensors", "n", "--to", "cairn", "--strip-prefix", "state_dict.", exit=YES)
        self.assertIn("  renamed: 2 tensors\n", ran.text)

    def test_only_and_exclude_mean_the_old_names(self):
        words = ("convert", "m.safetensors", "n", "--to", "cairn", "--strip-prefix", "state_dict.model.")
        ran = self.cairn(*words, "--rename", "optimizer.=", exit=FAILED)
        self.assertIn('tensors "optimizer.a" and "state_dict.model.a" would both get the name "a"', ran.err)
        self.assertFalse((self.dir / "n.cairn").exists())
        self.assertIn("a", self.cairn(*words, "--exclude", "a", exit=FAILED).err)
        self.cairn(*words, "--exclude", "optimizer*", exit=YES)
        self.assertEqual(self.names("n"), ["a", "b"])

    def test_what_no_name_has_is_refused(self):
        for words, why in ((("--strip-prefix", "model."), 'no tensor\'s name begins with "model."'),
                           (("--rename", "c$=d"), 'no tensor\'s name matches "c$"'),
                           (("--rename", "a"), "has no '='"),
                           (("--names", "full"), "has no object graph"),
                           (("--names", "long"), "is not one of full, stored, variable")):
            with self.subTest(words):
                self.assertIn(why, self.cairn("convert", "m.safetensors", "n", "--to", "cairn", *words, exit=FAILED).err)

    def test_an_output_with_the_suffix_of_another_target_is_refused(self):
        for output, target in (("x.npz", "safetensors"), ("x.npy", "npz"), ("x.safetensors", "npz"), ("x.safetensors", "cairn"),
                               ("x.index", "cairn"), ("x.cairn", "tensorflow")):
            with self.subTest(output, target=target):
                ran = self.cairn("convert", "m.safetensors", output, "--to", target, exit=FAILED)
                self.assertIn("'%s' has the suffix of another format; use --to " % output, ran.err)
        for output, target in (("x.cairn", "cairn"), ("x.index", "tensorflow")):
            ran = self.cairn("convert", "m.safetensors", output, "--to", target, exit=FAILED)
            self.assertIn("'%s' is a file of the prefix 'x'; give the prefix" % output, ran.err)
        self.assertEqual([path.name for path in self.dir.iterdir()], ["m.safetensors"])
        for output in ("x.safetensors", "x.npz", ""):
            self.cairn("convert", "m.safetensors", output, "--to", "safetensors", "--max-shard-size", "16", exit=FAILED)
        self.cairn("convert", "m.safetensors", "d/", "--to", "safetensors", "--max-shard-size", "16", exit=YES)
        self.cairn("convert", "m.safetensors", "x.1", "--to", "npz", exit=YES)

    def test_a_selection_without_tensors_is_refused(self):
        for words in (("--exclude", "*"), ("--only", "state*", "--exclude", "s*")):
            ran = self.cairn("convert", "m.safetensors", "n", "--to", "cairn", *words, exit=FAILED)
            self.assertIn("--exclude leaves out all tensors", ran.err)

    def test_rename_removes_a_prefix_too(self):
        self.cairn("convert", "m.safetensors", "n", "--to", "cairn", exit=YES)
        ran = self.cairn("rename", "n", "--strip-prefix", "state_dict.", "--dry-run", exit=YES)
        self.assertEqual(ran.text, "state_dict.model.a → model.a\nstate_dict.model.b → model.b\n")

    def test_full_names_are_the_object_paths_of_a_tensorflow_checkpoint(self):
        self.golden("tensorflow/tf2_manager")
        source = "tf2_manager/tf_ckpts/ckpt-6"
        ran = self.cairn("convert", source, "n", "--to", "safetensors", exit=FAILED)
        self.assertIn("_CHECKPOINTABLE_OBJECT_GRAPH", ran.err)
        self.assertIn("or use TensorNames::Path (--names full)", ran.err)
        ran = self.cairn("convert", source, "n", "--to", "safetensors", "--names", "full", "--json", exit=YES)
        self.assertIn("left out, because it has only the stored names", ran.err)
        self.assertEqual(ran.json["not_nameable"], ["_CHECKPOINTABLE_OBJECT_GRAPH"])
        self.assertEqual(self.names("n.safetensors"),
                         ["net/dense/bias", "net/dense/kernel", "net/layers/0", "net/layers/1", "save_counter", "step"])
        for name in self.names("n.safetensors"):
            stored = self.cairn("cat", source, name + "/.ATTRIBUTES/VARIABLE_VALUE", "--raw", exit=YES).out
            self.assertEqual(self.cairn("cat", "n.safetensors", name, "--raw", exit=YES).out, stored)
        self.cairn("convert", source, "v", "--to", "tensorflow", "--names", "variable", "--strip-prefix", "net/", exit=YES)
        self.assertEqual(self.names("v"), ["dense/bias", "dense/kernel", "layers/0", "layers/1", "save_counter", "step"])

    def test_no_object_graph_keeps_an_old_name(self):
        self.golden("tensorflow/tf2_manager")
        source = "tf2_manager/tf_ckpts/ckpt-6"
        ran = self.cairn("convert", source, "n", "--to", "tensorflow", "--strip-prefix", "net/", exit=FAILED)
        self.assertIn("--names full", ran.err)


class Casts(CommandTest):
    def setUp(self):
        super().setUp()
        write_safetensors(self.dir / "m.safetensors", {
            "i": ("I32", [1], struct.pack("<i", 7)),
            "w": ("F32", [2, 2], floats(1, 1.00390625, 3.4e38, 1e-44)),
            "x": ("F64", [1], struct.pack("<d", 1 + 2.0 ** -8 + 2.0 ** -40)),
        })

    def test_values_are_rounded_once_and_what_is_lost_is_counted(self):
        ran = self.cairn("convert", "m.safetensors", "n", "--to", "cairn", "--cast", "float32=bfloat16",
                         "--cast", "float64=bfloat16", "--json", exit=YES)
        self.assertEqual(ran.json["casts"], [
            {"from": "float32", "to": "bfloat16", "tensors": 1, "values": 4, "became_infinite": 1, "became_zero": 1},
            {"from": "float64", "to": "bfloat16", "tensors": 1, "values": 1, "became_infinite": 0, "became_zero": 0},
        ])
        self.assertIn("of 4 values of float32, as bfloat16, 1 became infinite and 1 became zero", ran.err)
        self.assertNotIn("float64", ran.err)
        # A tie goes to the even neighbour; what is above one in the 41st bit goes up.
        self.assertEqual(self.cairn("cat", "n", "w", "--raw", exit=YES).out, struct.pack("<4H", 0x3F80, 0x3F80, 0x7F80, 0))
        self.assertEqual(self.cairn("cat", "n", "x", "--raw", exit=YES).out, struct.pack("<H", 0x3F81))
        self.assertEqual(self.cairn("cat", "n", "i", exit=YES).text, "[7]\n")
        self.assertIn("whole", self.cairn("verify", "n", exit=YES).text)

    def test_text_says_what_was_cast(self):
        ran = self.cairn("convert", "m.safetensors", "n", "--to", "safetensors", "--cast", "float64=float32", exit=YES)
        self.assertEqual(ran.text, "n.safetensors: the payload is a copy, 24 payload bytes written\n"
                                   "  float64 → float32: 1 tensor, 1 value\n")
        self.assertEqual(ran.err, "")

    def test_a_dtype_that_no_tensor_has_is_a_warning(self):
        ran = self.cairn("convert", "m.safetensors", "n", "--to", "cairn", "--cast", "float16=float32", exit=YES)
        self.assertIn("no tensor is float16", ran.err)

    def test_other_casts_are_refused(self):
        for cast in ("float32=int8", "bfloat16", "F32=F16", "=", "float32=bfloat16=float16"):
            with self.subTest(cast):
                ran = self.cairn("convert", "m.safetensors", "n", "--to", "cairn", "--cast", cast, exit=FAILED)
                self.assertIn("is not FROM=TO with two of", ran.err)
        ran = self.cairn("convert", "m.safetensors", "n", "--to", "cairn", "--cast", "float32=float32", exit=FAILED)
        self.assertIn("'float32=float32' changes nothing: both are the same dtype", ran.err)
        ran = self.cairn("convert", "m.safetensors", "n", "--to", "cairn", "--cast", "float32=float16",
                         "--cast", "float32=bfloat16", exit=FAILED)
        self.assertIn("cast twice", ran.err)

    def test_names_and_dtypes_change_in_one_run(self):
        self.cairn("convert", "m.safetensors", "n", "--to", "cairn", "--cast", "float32=float16", "--only", "w",
                   "--rename", "w=weight", exit=YES)
        listed = self.cairn("ls", "n", "--json", exit=YES).json["tensors"]
        self.assertEqual([(tensor["name"], tensor["dtype"]) for tensor in listed], [("weight", "float16")])


class Bar(CommandTest):
    """What is written to stderr while it reads 100 tensors, each of which takes 20 ms."""

    def setUp(self):
        super().setUp()
        write_safetensors(self.dir / "m.safetensors",
                          {"tensor.%03d" % number: ("U8", [1 << 16], bytes(1 << 16)) for number in range(100)})

    CONVERT = ("convert", "m.safetensors", "n", "--to", "cairn")

    def stderr_of(self, *words, columns=80, on_terminal=True, **environment):
        ours, its = terminal(columns) if on_terminal else os.pipe()
        env = {**slow_reads(self.dir), "TERM": "xterm", **environment}
        with subprocess.Popen([CAIRN, *(words or self.CONVERT), "--threads", "1"], cwd=self.dir,
                              stdout=subprocess.PIPE, stderr=its, env=env) as run:
            os.close(its)
            said = read_to_end(ours)
            self.out = run.stdout.read().decode()
        self.assertEqual(run.returncode, YES)
        return said.decode()

    def test_a_terminal_shows_how_far_it_is_and_is_left_as_it_was(self):
        said = self.stderr_of(*self.CONVERT, "--json")
        lines = said.split("\r\x1b[K")
        self.assertGreater(len(lines), 3, said)
        self.assertEqual((lines[0], lines[-1]), ("", ""))
        for line in lines[1:-1]:
            self.assertRegex(line, r"^converting m\.safetensors \[#*\.*\] +\d+ %  \d+\.\d\d GB/s$")
        self.assertTrue(self.out.startswith('{"prefix"'), self.out)

    def test_import_shows_it_while_it_reads(self):
        said = self.stderr_of("import", "m.safetensors")
        self.assertIn("importing m.safetensors [#", said)

    def test_a_long_line_is_cut_to_the_terminal(self):
        for line in self.stderr_of(columns=64).split("\r\x1b[K"):
            self.assertLessEqual(len(line), 64)

    def test_no_bar_where_nobody_sees_it(self):
        self.assertEqual(self.stderr_of(on_terminal=False), "")

    def test_no_bar_on_a_terminal_that_cannot_clear_a_line(self):
        self.assertEqual(self.stderr_of(TERM="dumb"), "")

    def test_the_bar_has_no_colours(self):
        self.assertNotIn("\x1b[", self.stderr_of(NO_COLOR="1").replace("\x1b[K", ""))
