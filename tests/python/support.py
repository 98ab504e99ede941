"""What the cases share: a scratch folder, recorded checkpoints, memory of this process, a checkpoint of every dtype."""
import os
import re
import tempfile
import unittest

import ml_dtypes
import numpy as np

import cairn_store

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden")

PLAIN = [np.bool_, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, np.float16,
         np.float32, np.float64, np.complex64, np.complex128, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2,
         ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e4m3b11fnuz, ml_dtypes.float8_e5m2fnuz,
         ml_dtypes.float8_e8m0fnu]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def saved(self, tensors, name="m-1", **options):
        cairn_store.save(self.path(name), tensors, **options)
        return self.path(name)

    def assertSame(self, array, other):
        """The same dtype, shape and bits."""
        self.assertEqual((array.dtype, array.shape), (other.dtype, other.shape))
        self.assertEqual(array.tobytes(), other.tobytes())


def every_dtype():
    return {np.dtype(kind).name: np.arange(1, 7).reshape(2, 3).astype(kind) for kind in PLAIN}


def status_bytes(field):
    """RssAnon, RssFile, … of this process."""
    with open("/proc/self/status") as file:
        return int(re.search(rf"^{field}:\s+(\d+) kB$", file.read(), re.M).group(1)) * 1024


def mapped_file(address):
    """The name of the file that is mapped at this address; "" if it is memory of the process alone."""
    with open("/proc/self/maps") as file:
        for line in file:
            first, last = (int(part, 16) for part in line.split()[0].split("-"))
            if first <= address < last:
                return os.path.basename(line.split(None, 5)[5].strip()) if len(line.split(None, 5)) > 5 else ""
    raise AssertionError(f"nothing is mapped at {address:#x}")


def address(array):
    return array.__array_interface__["data"][0]
