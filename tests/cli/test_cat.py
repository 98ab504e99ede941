"""cat: every dtype, slices, raw bytes, .npy files."""

import ast
import base64
import hashlib
import json
import os
import struct
import subprocess

from bundle import write_bundle
from command import CAIRN, FAILED, GOLDEN, YES, CommandTest

CHECKPOINTS = {  # golden directory: (prefix in it, what TensorFlow reads back)
    "dtypes": ("dtypes/all", "dtypes/all.expected.json"),
    "partitioned": ("partitioned/part", "partitioned/part.expected.json"),
    "shapes": ("shapes/all", "shapes/all.expected.json"),
    "sharded": ("sharded/shard-42", "sharded/shard-42.expected.json"),
    "strings": ("strings/all", "strings/all.expected.json"),
    "tf2_manager": ("tf2_manager/tf_ckpts/ckpt-6", "tf2_manager/tf_ckpts_ckpt-6.expected.json"),
    "v1": ("v1/old.ckpt-3", "v1/old.ckpt-3.expected.json"),
}


def expected(name):
    return json.loads((GOLDEN / "tensorflow" / CHECKPOINTS[name][1]).read_text())["tensors"]


def parse_npy(data):
    """The header of an .npy file, and what follows it."""
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    (length,) = struct.unpack("<H", data[8:10])
    assert (10 + length) % 64 == 0
    return ast.literal_eval(data[10 : 10 + length].decode()), data[10 + length :]


class Cat(CommandTest):
    def test_raw_bytes_are_what_tensorflow_reads(self):
        for name, (prefix, _) in CHECKPOINTS.items():
            self.golden("tensorflow/" + name)
            for tensor, want in expected(name).items():
                with self.subTest(checkpoint=name, tensor=tensor):
                    raw = self.cairn("cat", prefix, tensor, "--raw", exit=YES).out
                    if "strings_b64" in want:
                        strings = [base64.b64decode(text) for text in want["strings_b64"]]
                        self.assertEqual(raw, b"".join(strings))
                    else:
                        self.assertEqual(hashlib.sha256(raw).hexdigest(), want["sha256"])

    def test_ls_agrees_with_tensorflow_about_names_dtypes_and_shapes(self):
        for name, (prefix, _) in CHECKPOINTS.items():
            self.golden("tensorflow/" + name)
            with self.subTest(name):
                listing = self.cairn("ls", prefix, "--json", exit=YES).json["tensors"]
                got = {entry["name"]: (entry["dtype"], entry["shape"]) for entry in listing}
                want = {key: (t["dtype"], t["shape"]) for key, t in expected(name).items()}
                self.assertEqual(got, want)
                self.assertEqual(list(got), sorted(got, key=str.encode))

    def test_every_dtype_prints_readably(self):
        self.golden("tensorflow/dtypes")
        samples = {
            "v/bool": "[[False  True",
            "v/bfloat16": "[[2.0 0.0",
            "v/float16": "[[1.0 0.0",
            "v/float8_e4m3fn": "[[1.0 2.0 0.0",
            "v/float8_e4m3fnuz": "[[2.0 1.0 0.0",
            "v/float8_e4m3b11fnuz": "[[1.0 0.0 0.0 2.0",
            "v/float8_e5m2": "[[2.0 0.0",
            "v/float8_e5m2fnuz": "[[2.0 2.0",
            "v/float4_e2m1fn": "[[2.0 0.0 0.0 2.0",
            "v/int2": "[[ 1  0  0 -2",
        }
        for tensor in expected("dtypes"):
            with self.subTest(tensor):
                text = self.cairn("cat", "dtypes/all", tensor, exit=YES).text
                self.assertEqual(len(text.splitlines()), 3)
                self.assertTrue(text.startswith("[[") and text.endswith("]]\n"), text)
                self.assertTrue(text.startswith(samples.get(tensor, "[[")), text)

    def test_partitioned_variables_are_whole_and_have_no_place(self):
        self.golden("tensorflow/partitioned")
        listing = self.cairn("ls", "partitioned/part", "--json", exit=YES).json["tensors"]
        emb = next(entry for entry in listing if entry["name"] == "emb")
        self.assertEqual((emb["shard"], emb["offset"], emb["crc32c"]), (None, None, None))
        self.assertEqual(emb["bytes"], 264)

    def test_strings_print_as_bytes_literals(self):
        self.golden("tensorflow/strings")
        want = [base64.b64decode(text) for text in expected("strings")["many"]["strings_b64"]]
        text = self.cairn("cat", "strings/all", "many", exit=YES).text
        self.assertEqual(ast.literal_eval(text.replace("' b", "', b").replace("\" b", "\", b")), want)

    def test_empty_tensors_print_as_empty_brackets(self):
        self.golden("tensorflow/shapes")
        self.assertEqual(self.cairn("cat", "shapes/all", "empty", exit=YES).text, "[]\n")
        self.assertEqual(self.cairn("cat", "shapes/all", "empty", "--raw", exit=YES).out, b"")

    def test_a_missing_tensor_is_answered_with_the_nearest_names(self):
        self.golden("tensorflow/dtypes")
        ran = self.cairn("cat", "dtypes/all", "v/flot32", exit=FAILED)
        self.assertIn("v/flot32", ran.err)
        self.assertIn("v/float32", ran.err)

    def test_a_shard_that_is_cut_off_meanwhile_ends_the_command_with_a_sentence(self):
        count = 1_000_000
        header = f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({count},), }}".encode().ljust(117) + b"\n"
        values = struct.pack("<10s", b"\x93NUMPY\x01\x00\x76\x00") + header + bytes(4 * count)
        (self.dir / "v.npy").write_bytes(values)
        self.cairn("save", "m/m", "v=v.npy", exit=YES)
        with subprocess.Popen([CAIRN, "cat", "m/m", "v"], cwd=self.dir, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
            running.stdout.read(1)  # it prints, and waits for a reader
            os.truncate(self.dir / "m/m.data-00000-of-00001", 0)
            _, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, FAILED)
        self.assertIn(b"a shard can no longer be read", errors)


class Slices(CommandTest):
    def setUp(self):
        super().setUp()
        write_bundle(self.dir / "c", {b"t": bytes(range(20))})

    def slice(self, text):
        return self.cairn("cat", "c", "t", "--slice", text, exit=YES).text

    def test_slices_are_numpys(self):
        for text, want in (
            ("2:5", "[2 3 4]\n"),
            (":3", "[0 1 2]\n"),
            ("17:", "[17 18 19]\n"),
            ("-2:", "[18 19]\n"),
            (":-18", "[0 1]\n"),
            ("18:99", "[18 19]\n"),
            ("7", "7\n"),
            ("-1", "19\n"),
            ("5:5", "[]\n"),
            ("9:3", "[]\n"),
        ):
            with self.subTest(text):
                self.assertEqual(self.slice(text), want)

    def test_slices_that_do_not_fit_are_refused_in_a_sentence(self):
        for text, why in (
            ("20", "outside a dimension of 20"),
            ("1:2,3:4", "more dimensions"),
            ("a:b", "neither A:B nor an index"),
            ("1:2:3", "neither A:B nor an index"),
            ("x", "neither A:B nor an index"),
        ):
            with self.subTest(text):
                ran = self.cairn("cat", "c", "t", "--slice", text, exit=FAILED)
                self.assertIn(why, ran.err)

    def test_slices_of_matrices_and_partitioned_variables(self):
        self.golden("tensorflow/partitioned")
        whole = self.cairn("cat", "partitioned/part", "cols", "--raw", exit=YES).out
        rows = [whole[40 * i : 40 * i + 40] for i in range(4)]
        part = self.cairn("cat", "partitioned/part", "cols", "--raw", "--slice", "1:3,2:7", exit=YES)
        self.assertEqual(part.out, b"".join(row[8:28] for row in rows[1:3]))

    def test_slices_of_strings(self):
        self.golden("tensorflow/strings")
        text = self.cairn("cat", "strings/all", "grid", "--slice", "0", exit=YES).text
        self.assertEqual(text, "[b'r0c0' b'r0c1']\n")


class Quantized(CommandTest):
    """Two rows of 32 elements, of which each is a block of 34 bytes; the values are gguf-py's."""

    def test_values_by_default_and_blocks_with_raw(self):
        self.golden("gguf")
        values = (self.dir / "gguf/types.float32").read_bytes()[-256:]  # Q8_0 has the last name
        header, payload = parse_npy(self.cairn("cat", "gguf/types.gguf", "Q8_0", "--npy", exit=YES).out)
        self.assertEqual((header["descr"], header["shape"], payload), ("<f4", (2, 32), values))
        lines = self.cairn("cat", "gguf/types.gguf", "Q8_0", exit=YES).text.splitlines()
        printed = [float(word) for line in lines for word in line.strip("[]  ").split()]
        self.assertEqual(struct.pack("<64f", *printed), values)
        part = self.cairn("cat", "gguf/types.gguf", "Q8_0", "--slice", "1,30:", exit=YES).text
        self.assertEqual(struct.pack("<2f", *map(float, part.strip("[]\n").split())), values[-8:])
        blocks = self.cairn("cat", "gguf/types.gguf", "Q8_0", "--raw", exit=YES).out
        self.assertEqual(len(blocks), 68)
        (scale,) = struct.unpack("<e", blocks[:2])
        self.assertEqual(struct.pack("<f", scale * struct.unpack("b", blocks[2:3])[0]), values[:4])

    def test_types_whose_values_are_not_known_print_as_bytes(self):
        self.golden("gguf")
        blocks = self.cairn("cat", "gguf/types.gguf", "IQ2_S", "--raw", exit=YES).out
        self.assertEqual(self.cairn("cat", "gguf/types.gguf", "IQ2_S", exit=YES).text, blocks.hex() + "\n")
        self.assertIn("numpy has no type for IQ2_S", self.cairn("cat", "gguf/types.gguf", "IQ2_S", "--npy", exit=FAILED).err)


class Npy(CommandTest):
    def test_npy_files_hold_dtype_shape_and_bytes(self):
        self.golden("tensorflow/dtypes")
        descriptions = {
            "v/float32": "<f4",
            "v/int64": "<i8",
            "v/bool": "|b1",
            "v/complex128": "<c16",
            "v/bfloat16": "|V2",
            "v/float8_e5m2": "|V1",
        }
        for tensor, description in descriptions.items():
            with self.subTest(tensor):
                data = self.cairn("cat", "dtypes/all", tensor, "--npy", exit=YES).out
                header, payload = parse_npy(data)
                self.assertEqual(
                    header, {"descr": description, "fortran_order": False, "shape": (3, 5)}
                )
                digest = hashlib.sha256(payload).hexdigest()
                self.assertEqual(digest, expected("dtypes")[tensor]["sha256"])

    def test_scalars_and_vectors_have_numpys_shapes(self):
        self.golden("tensorflow/shapes")
        for tensor, shape in (("scalar", ()), ("one", (1,)), ("empty", (0, 4))):
            with self.subTest(tensor):
                data = self.cairn("cat", "shapes/all", tensor, "--npy", exit=YES).out
                self.assertEqual(parse_npy(data)[0]["shape"], shape)

    def test_strings_become_fixed_width_bytes(self):
        self.golden("tensorflow/strings")
        data = self.cairn("cat", "strings/all", "grid", "--npy", "--slice", "0", exit=YES).out
        header, payload = parse_npy(data)
        self.assertEqual((header["descr"], header["shape"]), ("|S4", (2,)))
        self.assertEqual(payload, b"r0c0r0c1")

    def test_raw_and_npy_exclude_each_other(self):
        self.golden("tensorflow/shapes")
        self.cairn("cat", "shapes/all", "scalar", "--npy", "--raw", exit=FAILED)
