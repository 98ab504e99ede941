"""What `cairn convert` writes for other tools: numpy loads its .npz and .npy, safetensors its files by their index."""
import json
import os
import zipfile

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from command import Case, cairn, cairn_json

NUMPY = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
         "complex64", "complex128")
NARROW = {"bfloat16": ml_dtypes.bfloat16, "e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2}


def random_bytes(rng, shape, dtype):
    """An array of any bits, but of numbers that compare equal to themselves as bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    data = rng.integers(0, 2 if dtype == "bool" else 256, size, dtype=np.uint8).tobytes()
    return np.frombuffer(data, dtype).reshape(shape)


def random_arrays(rng, dtypes):
    arrays = {}
    for i in range(40):
        shape = tuple(int(n) for n in rng.integers(0, 7, rng.integers(0, 5)))
        name = "/".join(rng.choice(["a", "layer", "größe", "w:0", "b c"], rng.integers(1, 4))) + f"/{i}"
        arrays[name] = random_bytes(rng, shape, dtypes[i % len(dtypes)])
    return arrays


class ConvertsOut(Case):
    def seeds(self):
        for _ in range(3):
            seed = int.from_bytes(os.urandom(4), "little")
            print(f"interop: convert out: seed {seed}")
            with self.subTest(seed=seed):
                self.folder = self.path(f"seed{seed}")
                os.makedirs(self.folder)
                yield np.random.default_rng(seed)

    def assert_same(self, array, wanted):
        self.assertEqual((array.dtype, array.shape, array.tobytes()), (wanted.dtype, wanted.shape, wanted.tobytes()))

    def test_numpy_loads_an_archive(self):
        for rng in self.seeds():
            arrays = random_arrays(rng, NUMPY)
            np.savez(self.path("theirs.npz"), **arrays)
            for source in (self.path("theirs.npz"), self.path("c")):
                cairn("convert", source, self.path("ours"), "--to", "npz", "--replace")
                with np.load(self.path("ours.npz")) as loaded:
                    self.assertEqual(sorted(loaded.files), sorted(arrays))
                    for name, wanted in arrays.items():
                        self.assert_same(loaded[name], wanted)
                with zipfile.ZipFile(self.path("ours.npz")) as archive:
                    self.assertIsNone(archive.testzip())
                    for entry in archive.infolist():
                        with archive.open(entry) as member:
                            np.lib.format.read_magic(member)
                if source.endswith("npz"):
                    cairn("convert", self.path("ours.npz"), self.path("c"), "--to", "cairn")

    def test_numpy_maps_one_array(self):
        for rng in self.seeds():
            for dtype in NUMPY:
                wanted = random_bytes(rng, (3, 5), dtype)
                np.savez(self.path("s.npz"), wanted=wanted, other=wanted)
                cairn("convert", self.path("s.npz"), self.path("o"), "--to", "npy", "--only", "wanted", "--replace")
                self.assert_same(np.load(self.path("o.npy"), mmap_mode="r"), wanted)

    def test_dtypes_of_ml_dtypes_have_their_values_as_a_view(self):
        for rng in self.seeds():
            arrays = {name: random_bytes(rng, (4, 3), np.dtype(dtype)) for name, dtype in NARROW.items()}
            safetensors.numpy.save_file({name: a for name, a in arrays.items()}, self.path("s.safetensors"))
            cairn("convert", self.path("s.safetensors"), self.path("o"), "--to", "npz")
            with np.load(self.path("o.npz")) as loaded:
                for name, wanted in arrays.items():
                    self.assertEqual(loaded[name].dtype.kind, "V")
                    self.assert_same(loaded[name].view(NARROW[name]), wanted)
            # numpy itself writes bfloat16 so.
            np.save(self.path("theirs.npy"), arrays["bfloat16"])
            self.assertEqual(np.load(self.path("theirs.npy")).dtype, np.load(self.path("o.npz"))["bfloat16"].dtype)

    def test_a_model_in_several_files_is_read_by_its_index(self):
        for rng in self.seeds():
            arrays = random_arrays(rng, [d for d in NUMPY if not d.startswith("complex")])
            safetensors.numpy.save_file(arrays, self.path("s.safetensors"), {"format": "pt"})
            for limit in (1, 100, 1000, 10 ** 9):
                done = cairn_json("convert", self.path("s.safetensors"), self.path(f"m{limit}"), "--to", "safetensors",
                                  "--max-shard-size", str(limit))
                self.assertEqual(self.read_as_transformers_does(done["prefix"]).keys(), arrays.keys())
                for name, array in self.read_as_transformers_does(done["prefix"]).items():
                    self.assert_same(array, arrays[name])
                self.assert_cairn_lists(done["prefix"], arrays)

    def read_as_transformers_does(self, folder):
        """model.safetensors, else the files that the index names; each must say that it is PyTorch's."""
        files = ["model.safetensors"]
        if not os.path.exists(os.path.join(folder, files[0])):
            with open(os.path.join(folder, "model.safetensors.index.json"), encoding="utf-8") as file:
                index = json.load(file)
            files = sorted(set(index["weight_map"].values()))
        found = {}
        for name in files:
            with safetensors.safe_open(os.path.join(folder, name), framework="np") as opened:
                self.assertEqual(opened.metadata()["format"], "pt")
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}
            if len(files) > 1:
                self.assertEqual({key for key, file in index["weight_map"].items() if file == name}, tensors.keys())
            found.update(tensors)
        if len(files) > 1:
            self.assertEqual(index["metadata"], {"total_size": sum(array.nbytes for array in found.values())})
        return found

    def assert_cairn_lists(self, path, arrays):
        self.assertEqual({t["name"] for t in cairn_json("ls", path)["tensors"]}, arrays.keys())
