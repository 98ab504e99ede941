"""cairn diff: what differs between two checkpoints."""

import array
import os
import subprocess
import unittest

from bundle import write_safetensors
from command import CAIRN, FAILED, NO, YES, CommandTest, read_to_end, terminal


def floats(*values):
    return array.array("f", values).tobytes()


BEFORE = {
    "bias": ("F32", [2], floats(1, 2)),
    "gone": ("F32", [3], floats(1, 2, 3)),
    "kernel": ("F32", [2, 2], floats(1, 2, 3, 4)),
    "old": ("F32", [4], floats(5, 6, 7, 8)),
    "same": ("I32", [1], b"\1\0\0\0"),
    "steps": ("I64", [1], bytes(8)),
}
AFTER = {
    "bias": ("F32", [2], floats(1, 4)),
    "come": ("F32", [5], floats(0, 0, 0, 0, 0)),
    "kernel": ("F32", [4], floats(1, 2, 3, 4)),
    "new": ("F32", [4], floats(5, 6, 7, 8)),
    "same": ("I32", [1], b"\1\0\0\0"),
    "steps": ("F64", [1], bytes(8)),
}


class Diff(CommandTest):
    def setUp(self):
        super().setUp()
        write_safetensors(self.dir / "a.safetensors", BEFORE)
        write_safetensors(self.dir / "b.safetensors", AFTER)

    def changes(self, *words, exit=NO):
        found = self.cairn("diff", *words, "--json", exit=exit).json
        return [(tensor["change"], tensor["name"]) for tensor in found["tensors"]]

    def test_no_difference_is_success_in_any_two_formats(self):
        self.cairn("convert", "a.safetensors", "cairn", "--to", "cairn", exit=YES)
        self.cairn("convert", "a.safetensors", "tf", "--to", "tensorflow", exit=YES)
        for a in ("a.safetensors", "cairn", "tf"):
            for b in ("a.safetensors", "cairn", "tf"):
                with self.subTest(a=a, b=b):
                    ran = self.cairn("diff", a, b, exit=YES)
                    self.assertEqual(ran.text, "no difference: 6 tensors equal\n")
                    self.assertEqual(ran.err, "")
                    self.assertTrue(self.cairn("diff", a, b, "--json", exit=YES).json["same"])

    def test_every_difference_is_listed(self):
        ran = self.cairn("diff", "a.safetensors", "b.safetensors", exit=NO)
        self.assertEqual([line.split() for line in ran.text.splitlines()], [
            ["tensor", "change", "in", "A", "in", "B"],
            ["bias", "content", "float32", "[2]", "float32", "[2]"],
            ["come", "added", "-", "float32", "[5]"],
            ["gone", "removed", "float32", "[3]", "-"],
            ["kernel", "shape", "float32", "[2,2]", "float32", "[4]"],
            ["old", "->", "new", "renamed", "float32", "[4]", "float32", "[4]"],
            ["steps", "dtype", "int64", "[1]", "float64", "[1]"],
            "6 differences (1 content, 1 dtype, 1 shape, 1 renamed, 1 added, 1 removed); 1 tensor equal".split(),
        ])
        self.assertEqual(ran.err, "")

    def test_json_has_every_field(self):
        found = self.cairn("diff", "a.safetensors", "b.safetensors", "--json", "--values", "--chunks", exit=NO).json
        self.assertEqual((found["a"], found["b"], found["same"], found["equal"], found["equal_by_checksum"]),
                         ("a", "b", False, 1, 0))
        tensors = {tensor["name"]: tensor for tensor in found["tensors"]}
        self.assertEqual(tensors["bias"]["a"], {"dtype": "float32", "shape": [2]})
        self.assertEqual(tensors["bias"]["ranges"], [{"offset": 0, "bytes": 8}])
        values = tensors["bias"]["values"]
        self.assertEqual((values["elements"], values["changed"], values["not_finite"]), (2, 1, 0))
        self.assertEqual((values["max_abs"], values["max_rel"]), (2, 0.5))
        self.assertAlmostEqual(values["norm_rel"], 2 / 17 ** 0.5)
        self.assertAlmostEqual(values["cosine"], 9 / (5 * 17) ** 0.5)
        self.assertEqual(tensors["steps"]["values"]["changed"], 0)
        self.assertEqual((tensors["old"]["change"], tensors["old"]["new_name"]), ("renamed", "new"))
        self.assertIsNone(tensors["gone"]["b"])
        self.assertIsNone(tensors["come"]["a"])
        self.assertIsNone(tensors["kernel"]["values"])
        self.assertGreater(found["read_bytes"], 0)

    def test_values_that_changed_most_come_first(self):
        write_safetensors(self.dir / "b.safetensors", {**BEFORE, "bias": ("F32", [2], floats(1, 2.5)),
                                                      "old": ("F32", [4], floats(-5, 6, 7, 8))})
        self.assertEqual(self.changes("a.safetensors", "b.safetensors", "--values"), [("content", "old"), ("content", "bias")])
        text = self.cairn("diff", "a.safetensors", "b.safetensors", "--values", exit=NO).text.splitlines()
        self.assertEqual(text[0].split()[:9], ["tensor", "change", "by", "changed", "max", "abs", "max", "rel", "cosine"])
        self.assertEqual(text[1].split()[:7], ["old", "content", "0.758", "25%", "10", "2", "0.712644"])

    def test_a_table_fits_a_terminal(self):
        ours, its = terminal(80)
        env = {**os.environ, "TERM": "xterm"}
        with subprocess.Popen([CAIRN, "diff", "a.safetensors", "b.safetensors", "--values", "--chunks"], cwd=self.dir,
                              stdout=its, env=env) as run:
            os.close(its)
            said = read_to_end(ours).decode()
        self.assertEqual(run.returncode, NO)
        for line in said.replace("\r\n", "\n").splitlines()[1:-1]:
            self.assertLessEqual(len(line), 80)

    def test_checksums_alone_decide_only_if_they_are_trusted(self):
        self.cairn("convert", "a.safetensors", "one", "--to", "tensorflow", exit=YES)
        self.cairn("convert", "a.safetensors", "two", "--to", "tensorflow", exit=YES)
        self.assertGreater(self.cairn("diff", "one", "two", "--json", exit=YES).json["read_bytes"], 0)
        trusted = self.cairn("diff", "one", "two", "--json", "--trust-checksums", exit=YES).json
        self.assertEqual((trusted["read_bytes"], trusted["equal"], trusted["equal_by_checksum"]), (0, 6, 6))
        self.assertIn("6 of them by CRC32C alone", self.cairn("diff", "one", "two", "--trust-checksums", exit=YES).text)

    def test_what_cannot_be_compared_is_an_error(self):
        self.assertIn("nothing", self.cairn("diff", "a.safetensors", "nothing", exit=FAILED).err)
        self.cairn("diff", "a.safetensors", exit=FAILED)
        self.cairn("convert", "a.safetensors", "tf", "--to", "tensorflow", exit=YES)
        shard = self.dir / "tf.data-00000-of-00001"
        shard.chmod(0o644)
        self.flip_bit(shard, os.path.getsize(shard) - 1)
        ran = self.cairn("diff", "tf", "a.safetensors", "--json", exit=FAILED)
        self.assertIn("is damaged", ran.err)
        self.assertEqual(ran.text, "")
        with open(self.dir / "b.safetensors", "r+b") as file:
            file.truncate(os.path.getsize(self.dir / "b.safetensors") - 1)
        self.cairn("diff", "a.safetensors", "b.safetensors", exit=FAILED)

    def test_names_are_safe(self):
        write_safetensors(self.dir / "b.safetensors", {**BEFORE, "\x1b[31m\u202e": ("F32", [1], floats(1))})
        ran = self.cairn("diff", "a.safetensors", "b.safetensors", exit=NO)
        self.assert_terminal_safe(ran)
        self.assertIn("\\x1b", ran.text)


if __name__ == "__main__":
    unittest.main()
