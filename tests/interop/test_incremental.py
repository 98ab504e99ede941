"""TensorFlow reads incremental saves, and its own deletion of the older ones leaves them whole."""
import os

import numpy as np
import tensorflow as tf

from command import Case, cairn, cairn_json

NAMES = [f"layer{i}/kernel" for i in range(8)]


class Incremental(Case):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(5)
        self.values = {}

    def given(self, names):
        words = []
        for name in names:
            self.values[name] = self.rng.standard_normal(1 << 18).astype(np.float32)
            file = self.path(name.replace("/", "_") + ".npy")
            np.save(file, self.values[name])
            words.append(f"{name}={file}")
        return words

    def assert_tensorflow_reads(self, prefix):
        reader = tf.train.load_checkpoint(prefix)
        for name, value in self.values.items():
            np.testing.assert_array_equal(reader.get_tensor(name), value)
        self.assertEqual(reader.get_tensor("said"), b"hello")

    def test_tensorflow_removes_the_older_ones_in_any_order(self):
        prefix = self.path("saved", "m")
        cairn("save", prefix, "--step", "0", "said:string=hello", *self.given(NAMES))
        for step in range(1, 6):
            done = cairn_json("save", prefix, "--step", str(step), "--from", self.path("saved"), "--incremental",
                              "--max-to-keep", "0", *self.given([NAMES[step]]))
            self.assertGreater(done["shared_bytes"], done["dead_bytes"])
            self.assert_tensorflow_reads(f"{prefix}-{step}")
        for step in (4, 0, 2, 1, 3):
            tf.compat.v1.train.remove_checkpoint(f"{prefix}-{step}")
            self.assert_tensorflow_reads(f"{prefix}-5")
            cairn("verify", f"{prefix}-5")
        self.assertFalse([name for name in os.listdir(self.path("saved")) if name.startswith("m-4.data")])
