"""One converted shard is read by TensorFlow, by safetensors and by us."""
import os
import struct

import numpy as np
import safetensors

import tensors
from command import Case, cairn_json


class Converts(Case):
    def assert_three_readers_agree(self, values):
        wanted = tensors.described_all(values)
        source = tensors.save(self.path("source", "p"), values)
        target = self.path("target", "q")
        cairn_json("convert", source, target, "--to", "cairn")

        self.assert_verifies(target)
        self.assert_cairn_reads(target, wanted, "cairn")
        restored = tensors.restore(target, {name: tensor.dtype for name, tensor in wanted.items()})
        self.assertEqual(restored, wanted, "TensorFlow reads P.index")

        (shard,) = [n for n in os.listdir(os.path.dirname(target)) if ".data-00000-of-" in n]
        os.link(self.path("target", shard), self.path("x.safetensors"))
        with open(self.path("x.safetensors"), "rb") as file:
            data = file.read()
        self.assertEqual(struct.unpack_from("<Q", data)[0] % 4096, 4096 - 8, "the payload starts on a page")
        listed = {name: (record["dtype"], record["shape"], bytes(record["data"]))
                  for name, record in safetensors.deserialize(data)}
        self.assertEqual(listed, {name: (tensors.SAFETENSORS[t.dtype], t.shape, t.raw)
                                  for name, t in wanted.items() if t.dtype in tensors.SAFETENSORS})
        with safetensors.safe_open(self.path("x.safetensors"), framework="np") as opened:
            for name in opened.keys():
                if wanted[name].dtype in ("float32", "int64", "uint8", "float16"):
                    self.assertEqual(opened.get_tensor(name).tobytes(), wanted[name].raw)

    def test_random_tensors(self):
        for _ in range(3):
            seed = int.from_bytes(os.urandom(4), "little")
            with self.subTest(seed=seed):
                print(f"interop: convert: seed {seed}")
                self.folder = self.path(f"seed{seed}")
                self.assert_three_readers_agree(tensors.random_set(np.random.default_rng(seed)))

    def test_every_dtype(self):
        self.assert_three_readers_agree(tensors.every_dtype(np.random.default_rng(22)))

    def test_every_shape(self):
        self.assert_three_readers_agree(tensors.every_shape(np.random.default_rng(23)))
