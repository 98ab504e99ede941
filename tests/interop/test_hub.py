"""We read sharded safetensors models, whose files the safetensors library writes, through their index."""
import json
import os
import secrets

import numpy as np
from safetensors.numpy import load_file, save_file

from command import Case, cairn, cairn_json

SEED = secrets.randbits(32)
print(f"test_hub: seed {SEED}")
RNG = np.random.default_rng(SEED)
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")


def random_tensors(count):
    tensors = {}
    for i in range(count):
        shape = tuple(RNG.integers(0, 5, RNG.integers(0, 4)))
        values = RNG.integers(0, 2, int(np.prod(shape)))
        tensors[f"layer.{i}.weight"] = values.astype(DTYPES[RNG.integers(len(DTYPES))]).reshape(shape)
    return tensors


class ReadsSharded(Case):
    def model(self, tensors, files):
        """Writes each tensor into one of `files` files, and the index; the directory."""
        directory = self.path("model")
        os.makedirs(directory, exist_ok=True)
        parts = [{} for _ in range(files)]
        for name, array in tensors.items():
            parts[RNG.integers(files)][name] = array
        weight_map = {}
        for number, part in enumerate(parts):
            file = f"model-{number + 1:05}-of-{files:05}.safetensors"
            save_file(part, os.path.join(directory, file), {"format": "np"})
            weight_map.update({name: file for name in part})
        total = sum(array.nbytes for array in tensors.values())
        with open(os.path.join(directory, "model.safetensors.index.json"), "w", encoding="utf-8") as index:
            json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, index, indent=2)
        return directory

    def test_random_models_are_read_through_directory_and_index(self):
        for files in (1, 2, 5):
            with self.subTest(files=files):
                tensors = random_tensors(20)
                directory = self.model(tensors, files)
                for path in (directory, os.path.join(directory, "model.safetensors.index.json")):
                    listed = {t["name"]: t["shape"] for t in cairn_json("ls", path)["tensors"]}
                    self.assertEqual(listed, {name: list(array.shape) for name, array in tensors.items()})
                for name, array in tensors.items():
                    self.assertEqual(cairn("cat", directory, name, "--raw"), array.tobytes(), name)

    def test_what_is_converted_is_read_by_safetensors(self):
        tensors = random_tensors(12)
        cairn("convert", self.model(tensors, 3), self.path("one.safetensors"), "--to", "safetensors")
        read = load_file(self.path("one.safetensors"))
        self.assertEqual(sorted(read), sorted(tensors))
        for name, array in tensors.items():
            np.testing.assert_array_equal(read[name], array)
            self.assertEqual(read[name].dtype, array.dtype)
