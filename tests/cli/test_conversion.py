"""Every source, every target: what it takes to get from the one to the other, as docs/conversion.md says it.

The table there is what this test finds. To write it anew: CAIRN=build/tools/cairn python3 tests/cli/test_conversion.py
"""
import io
import json
import pathlib
import re
import shlex
import shutil
import struct
import tempfile
import unittest
import zipfile

from bundle import varint, write_bundle, write_safetensors
from command import FAILED, GOLDEN, YES, CommandTest

PAGE = pathlib.Path(__file__).resolve().parent.parent.parent / "docs" / "conversion.md"
TARGETS = ("cairn", "tensorflow", "safetensors", "safetensors in several files", "npz", "npy")
HEADS = {"safetensors in several files": "`safetensors` in several files"}
TENSORS = {"a": ("F32", [2, 3], struct.pack("<6f", *range(6))), "b": ("I32", [2], struct.pack("<2i", 7, -7))}


def npy(descr, shape, data, fortran=False):
    header = repr({"descr": descr, "fortran_order": fortran, "shape": tuple(shape)}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def archive(path, members, packed=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packed) as file:
        for name, data in members.items():
            file.writestr(name, data)


class Sources:
    """One of each kind, in a directory: a method makes it and returns its path."""

    def __init__(self, test):
        self.test = test
        self.dir = test.dir

    def files(self, folder, *names):
        for name in names:
            shutil.copyfile(GOLDEN / folder / name, self.dir / name)
        return names[0]

    def arrays(self, **how):
        return {"a.npy": npy("<f4", (2, 3), TENSORS["a"][2], **how), "b.npy": npy("<i4", (2,), TENSORS["b"][2])}

    def cairn(self):
        write_safetensors(self.dir / "s.safetensors", TENSORS)
        self.test.cairn("convert", "s.safetensors", "c", "--to", "cairn", exit=YES)
        return "c"

    def tensorflow(self):
        return self.test.golden("tensorflow/shapes").name + "/all"

    def tensorflow_strings(self):
        return self.test.golden("tensorflow/strings").name + "/all"

    def tensorflow_objects(self):
        return self.test.golden("tensorflow/tf2_manager").name + "/tf_ckpts/ckpt-6"

    def tensorflow_v1(self):
        return self.files("tensorflow/v1", "old.ckpt-3")

    def safetensors(self):
        write_safetensors(self.dir / "s.safetensors", TENSORS)
        return "s.safetensors"

    def safetensors_in_several_files(self):
        write_safetensors(self.dir / "m-1.safetensors", {"a": TENSORS["a"]})
        write_safetensors(self.dir / "m-2.safetensors", {"b": TENSORS["b"]})
        weight_map = {"a": "m-1.safetensors", "b": "m-2.safetensors"}
        (self.dir / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
        return "model.safetensors.index.json"

    def pytorch(self):
        return self.files("pytorch", "tied.pt")

    def pytorch_compressed(self):
        return self.files("pytorch", "deflated.pt")

    def pytorch_with_state_dict(self):
        return self.files("pytorch", "unknown_class.pt")

    def pytorch_old(self):
        return self.files("pytorch", "legacy.pt")

    def pytorch_distributed(self):
        return self.test.golden("pytorch/distributed").name

    def npy(self):
        (self.dir / "a.npy").write_bytes(npy("<f4", (2, 3), TENSORS["a"][2]))
        return "a.npy"

    def npy_fortran(self):
        (self.dir / "a.npy").write_bytes(npy("<f4", (2, 3), TENSORS["a"][2], fortran=True))
        return "a.npy"

    def npz(self):
        archive(self.dir / "m.npz", self.arrays())
        return "m.npz"

    def npz_compressed(self):
        archive(self.dir / "m.npz", self.arrays(), zipfile.ZIP_DEFLATED)
        return "m.npz"

    def gguf_blocks(self):
        return self.files("gguf", "types.gguf")

    def hdf5(self):
        return self.files("hdf5", "model.weights.h5")

    def keras(self):
        archive(self.dir / "m.keras", {"metadata.json": "{}", "config.json": "{}",
                                       "model.weights.h5": (GOLDEN / "hdf5/model.weights.h5").read_bytes()})
        return "m.keras"

    def onnx(self):
        return self.files("onnx", "raw.onnx")

    def onnx_external(self):
        return self.files("onnx", "external.onnx", "weights.bin")

    def onnx_listed(self):
        return self.files("onnx", "listed.onnx")

    def ptd(self):
        return self.files("flat", "dtypes.ptd")


    def onnx_of_floats(self):
        """A model with one initializer, which is what most models have: floats."""
        def field(number, data):
            return varint(number << 3 | 2) + varint(len(data)) + data
        tensor = b"\x08\x06\x10\x01" + field(8, b"w") + field(9, TENSORS["a"][2])  # dims 6, FLOAT
        (self.dir / "w.onnx").write_bytes(b"\x08\x08" + field(7, field(5, tensor)))
        return "w.onnx"

    # As the page calls what people have.

    def asked(self, name):
        """Makes the source of this name."""
        if name == "saved/train2-9":
            (self.dir / "saved").mkdir()
            write_bundle(self.dir / name, {b"layer/kernel": b"abc", b"optimizer/m": b"de"})
        elif name == "saved/ckpt-6":
            self.test.golden("tensorflow/tf2_manager/tf_ckpts").rename(self.dir / "saved")
        elif name == "MODEL_DIR":
            (self.dir / name).mkdir()
            inside = Sources(self.test)
            inside.dir = self.dir / name
            inside.safetensors_in_several_files()
        else:
            made = {"pytorch_model.bin": self.pytorch, "model.safetensors": self.safetensors,
                    "old.ckpt-3": self.tensorflow_v1, "model.weights.h5": self.hdf5, "model.keras": self.keras,
                    "model.ckpt": self.pytorch_with_state_dict, "arrays.npz": self.npz, "model.onnx": self.onnx_of_floats, "model.gguf": self.gguf_blocks}[name]()
            (self.dir / made).rename(self.dir / name)


ROWS = (
    ("Cairn", "cairn"),
    ("TensorFlow", "tensorflow"),
    ("TensorFlow, strings", "tensorflow_strings"),
    ("TensorFlow 2, objects", "tensorflow_objects"),
    ("TensorFlow V1", "tensorflow_v1"),
    ("safetensors", "safetensors"),
    ("safetensors in several files", "safetensors_in_several_files"),
    ("PyTorch `.pt`", "pytorch"),
    ("PyTorch, compressed again", "pytorch_compressed"),
    ("PyTorch before 1.6", "pytorch_old"),
    ("PyTorch, distributed checkpoint", "pytorch_distributed"),
    ("`.npy`", "npy"),
    ("`.npy`, Fortran order", "npy_fortran"),
    ("`.npz`", "npz"),
    ("`.npz`, compressed", "npz_compressed"),
    ("GGUF, quantized", "gguf_blocks"),
    ("HDF5 of Keras", "hdf5"),
    ("`.keras`", "keras"),
    ("ONNX", "onnx"),
    ("ONNX, external data", "onnx_external"),
    ("ONNX, lists of numbers", "onnx_listed"),
    ("`.ptd`", "ptd"),
)


class Conversion(CommandTest):
    maxDiff = None

    def tensors(self, path):
        return {tensor["name"]: tensor for tensor in self.cairn("ls", path, "--json", exit=YES).json["tensors"]}

    def values(self, path, name):
        return self.cairn("cat", path, name, "--raw", exit=YES).out

    def compare(self, source, result, target=None):
        """(how many tensors the result lacks, of how many; how many have another dtype); the others are the same."""
        before, after = self.tensors(source), self.tensors(result)
        self.assertLessEqual(after.keys(), before.keys())
        renamed = 0
        for name in after:
            self.assertEqual(before[name]["shape"], after[name]["shape"])
            self.assertEqual(self.values(source, name), self.values(result, name), name)
            dtypes = (before[name]["dtype"], after[name]["dtype"])
            if dtypes[0] != dtypes[1]:
                self.assertTrue(target in ("npz", "npy") and (dtypes[1] == "V1" or dtypes[0] == "q" + dtypes[1]), dtypes)
                renamed += 1
        return len(before) - len(after), len(before), renamed

    def by_index(self, source, target):
        """Without moving a byte; None: that is not possible."""
        before = {path: path.read_bytes() for path in self.dir.rglob("*")
                  if path.is_file() and path.name != ".cairn-lock"}
        if target not in ("cairn", "tensorflow", "safetensors"):
            return None
        words = ("import", source) if target == "cairn" else ("export", source, "--to", target)
        done = self.cairn(*words, "--json")
        if done.exit == FAILED:
            return None
        self.assertEqual(self.compare(source, done.json["prefix"])[0], 0)
        for path, data in before.items():
            self.assertEqual(path.read_bytes(), data, path)
        return "index" if done.json["link"] is None else "link"

    def by_convert(self, source, target):
        words = ("convert", source, "new/result", "--json", "--to", target)
        if target == "safetensors in several files":
            words = words[:-1] + ("safetensors", "--max-shard-size", "16")
        if target == "npy":
            return self.by_convert_of_one(source)
        done = self.cairn(*words)
        lossy = done.exit == FAILED
        if lossy:
            done = self.cairn(*words, "--allow-lossy")
        if done.exit == FAILED:
            return "no"
        missing, count, renamed = self.compare(source, done.json["prefix"], target)
        self.assertTrue(lossy or not missing)
        said = ["without %d of %d tensors" % (missing, count)] if missing else ["without some metadata"] if lossy else []
        return ", ".join(["rewritten"] + said + (["%d as bytes" % renamed] if renamed else []))

    def by_convert_of_one(self, source):
        """The first tensor that can be an .npy file."""
        listed = self.tensors(source)
        for name in listed:
            done = self.cairn("convert", source, "new/result", "--to", "npy", "--only", name, "--allow-lossy", "--json")
            if done.exit == FAILED:
                continue
            (tensor,) = self.tensors(done.json["prefix"]).values()
            self.assertEqual((tensor["dtype"], tensor["shape"]), (listed[name]["dtype"], listed[name]["shape"]))
            self.assertEqual(self.values(source, name), self.values(done.json["prefix"], tensor["name"]))
            return "rewritten" if len(listed) == 1 else "one tensor"
        return "no"

    def cell(self, make, target):
        shutil.rmtree(self.dir)
        self.dir.mkdir()
        source = getattr(Sources(self), make)()
        same = {"tensorflow_strings": "tensorflow", "tensorflow_objects": "tensorflow",
                "safetensors_in_several_files": "safetensors in several files"}
        if target in (make, same.get(make)):
            return "–"
        return self.by_index(source, target) or self.by_convert(source, target)

    def table(self):
        lines = ["| from \\ to | " + " | ".join(HEADS.get(target, "`%s`" % target) for target in TARGETS) + " |",
                 "| --- |" + " --- |" * len(TARGETS)]
        for label, make in ROWS:
            lines.append("| %s | %s |" % (label, " | ".join(self.cell(make, target) for target in TARGETS)))
        return "\n".join(lines) + "\n"

    def test_the_page_says_of_each_source_and_target_what_is_so(self):
        said = re.search(r"\| from .*?\n(?=\n)", PAGE.read_text(), re.DOTALL)
        self.assertEqual(said.group(0), self.table())

    def test_what_people_ask_for_is_one_command(self):
        rows = re.findall(r"^\| ([^|]+) \| `(cairn [^`]+)` \|$", PAGE.read_text(), re.MULTILINE)
        self.assertGreaterEqual(len(rows), 10)
        for asked, command in rows:
            with self.subTest(command):
                shutil.rmtree(self.dir)
                self.dir.mkdir()
                _, verb, source, *words = shlex.split(command)
                Sources(self).asked(source)
                done = self.cairn(verb, source, *words, "--json", exit=YES)
                self.assertTrue(self.tensors(done.json["prefix"]), asked)
                for word in [word for word in words if word.endswith((".safetensors", ".npz", ".npy"))]:
                    self.assertEqual(done.json["prefix"], word)

    def test_only_what_is_named_is_converted(self):
        write_safetensors(self.dir / "s.safetensors", {name: TENSORS["a"] for name in ("m/a", "m/b", "opt/a", "step")})
        for words, names in ((("--only", "m/*"), {"m/a", "m/b"}), (("--exclude", "opt*"), {"m/a", "m/b", "step"}),
                             (("--only", "*/a", "--only", "step", "--exclude", "opt/a"), {"m/a", "step"})):
            for target in ("cairn", "tensorflow", "safetensors", "npz"):
                done = self.cairn("convert", "s.safetensors", "new/x", "--to", target, "--json", "--replace", *words,
                                  exit=YES)
                self.assertEqual(self.tensors(done.json["prefix"]).keys(), names)
                self.compare("s.safetensors", done.json["prefix"])
        for word in ("--only", "--exclude"):
            refused = self.cairn("convert", "s.safetensors", "y", "--to", "cairn", word, "none*", exit=FAILED)
            self.assertIn("no tensor's name matches 'none*'", refused.err)
        # What the target cannot hold does not matter where it is not asked for.
        self.golden("tensorflow/strings")
        self.cairn("convert", "strings/all", "z", "--to", "safetensors", exit=FAILED)
        listed = [t["name"] for t in self.cairn("ls", "strings/all", "--json", exit=YES).json["tensors"] if t["dtype"] != "string"]
        self.cairn("convert", "strings/all", "z", "--to", "safetensors", "--only", listed[0], exit=YES)


def write():
    test = Conversion()
    with tempfile.TemporaryDirectory() as scratch:
        test.dir = pathlib.Path(scratch) / "in"
        test.dir.mkdir()
        table = test.table()
    page = re.sub(r"\| from .*?\n(?=\n)", lambda _: table, PAGE.read_text(), flags=re.DOTALL)
    PAGE.write_text(page)


if __name__ == "__main__":
    write()
