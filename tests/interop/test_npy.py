"""We read what numpy.save writes, where it lies."""
import numpy as np
from safetensors.numpy import load_file

from command import Case, cairn, cairn_json

RNG = np.random.default_rng(21)
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16")
SHAPES = ((), (0,), (7,), (2, 3), (3, 1, 4), (2, 0, 3), (2, 3, 4, 5))


def filled(dtype, shape):
    size = int(np.prod(shape))
    if dtype == "b1":
        return (RNG.integers(0, 2, size) == 1).reshape(shape)
    return RNG.integers(0, 100, size).astype(dtype).reshape(shape)


class ReadsNumpy(Case):
    def assert_reads(self, array):
        path = self.path("w.npy")
        np.save(path, array)
        (entry,) = cairn_json("ls", path)["tensors"]
        self.assertEqual((entry["name"], entry["shape"]), ("w", list(array.shape)))
        native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
        self.assertEqual(cairn("cat", path, "w", "--raw"), native.tobytes())
        return path, native.reshape(array.shape)

    def test_every_dtype_order_and_shape(self):
        for dtype in DTYPES:
            for shape in SHAPES:
                for order in "CF":
                    for end in "<>":
                        with self.subTest(dtype=dtype, shape=shape, order=order, end=end):
                            array = np.asarray(filled(dtype, shape), order=order)
                            self.assert_reads(array.astype(array.dtype.newbyteorder(end), order="K"))

    def test_what_is_converted_is_read_by_safetensors(self):
        for order in "CF":
            with self.subTest(order=order):
                path, native = self.assert_reads(np.asarray(filled("f4", (3, 4, 5)), order=order))
                cairn("convert", path, self.path(order + ".safetensors"), "--to", "safetensors")
                np.testing.assert_array_equal(load_file(self.path(order + ".safetensors"))["w"], native)

    def test_slices_of_columns(self):
        array = np.asarray(filled("i4", (5, 6)), order="F")
        path = self.path("w.npy")
        np.save(path, array)
        self.assertEqual(cairn("cat", path, "w", "--slice", "1:4,2:5", "--raw"), array[1:4, 2:5].tobytes())

    def test_what_has_no_dtype_is_opaque(self):
        for array, name in ((np.array([b"ab", b"c"]), "S2"), (np.array(["ab"]), "U2"),
                            (np.array(["2026-01-01"], "M8[D]"), "M8[D]")):
            with self.subTest(name):
                path = self.path("w.npy")
                np.save(path, array)
                (entry,) = cairn_json("ls", path)["tensors"]
                self.assertEqual(entry["dtype"], name)
                self.assertEqual(cairn("cat", path, "w", "--raw"), array.tobytes())
