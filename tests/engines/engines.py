"""What the cases share: the model, converted once, and what its vectors are."""
import gc
import importlib.util
import math
import os
import re
import unittest

import numpy as np

import cairn_store
import minilm
from support import Case as PythonCase, address, mapped_file, status_bytes  # noqa: F401

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MADE = os.path.join(ROOT, "build/engines")
MIB = 1 << 20
# The engines add up in different orders, in float32. The vectors have length 1; the largest difference seen is 1.5e-7.
CLOSE = 2e-6


def needs(package):
    """Skips the module where this engine is not installed."""
    if importlib.util.find_spec(package) is None:
        raise unittest.SkipTest(f"{package} is not installed in .venv-engines")


def mapped_bytes(name):
    """How much of the address space is this file."""
    with open("/proc/self/maps") as file:
        places = re.findall(rf"^(\w+)-(\w+) .*/{re.escape(name)}$", file.read(), re.M)
    return sum(int(last, 16) - int(first, 16) for first, last in places)


class Case(PythonCase):
    @classmethod
    def setUpClass(cls):
        os.makedirs(MADE, exist_ok=True)
        cls.aligned = minilm.aligned(os.path.join(MADE, "minilm"))
        cls.published = os.path.join(minilm.folder(), "model.safetensors")
        cls.ids, cls.mask = minilm.tokens(minilm.SENTENCES)
        cls.shard = cairn_store.open(cls.aligned).shards[0][0]

    def assert_close(self, vectors):
        """To what numpy computes."""
        difference = np.abs(vectors - reference()).max()
        self.assertEqual(vectors.dtype, np.float32)
        self.assertLess(difference, CLOSE)

    def assert_lets_go(self):
        """Nothing of the shard stays mapped once the engine is gone."""
        gc.collect()
        self.assertEqual(mapped_bytes(self.shard), 0)


_reference = []


def reference():
    if not _reference:
        from safetensors.numpy import load_file
        ids, mask = minilm.tokens(minilm.SENTENCES)
        erf = np.vectorize(math.erf, otypes=[np.float32])
        weights = load_file(os.path.join(minilm.folder(), "model.safetensors"))
        _reference.append(minilm.embed(np, erf, weights, ids, mask.astype(np.float32)))
    return _reference[0]
