"""We read what numpy.save, numpy.savez and numpy.savez_compressed write, where it lies."""
import io
import secrets

import numpy as np
from safetensors.numpy import load_file

from command import Case, cairn, cairn_json

SEED = secrets.randbits(32)
print(f"test_npy: seed {SEED}")
RNG = np.random.default_rng(SEED)
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


class Unseekable(io.RawIOBase):
    """A pipe: what writes into it cannot go back to a header."""

    def __init__(self, path):
        self.file = open(path, "wb")

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)

    def close(self):
        self.file.close()
        super().close()


class ReadsNumpyArchives(Case):
    def arrays(self, count):
        """So many of random dtype, shape and order, under names that archives may have."""
        arrays = {}
        for i in range(count):
            shape = SHAPES[RNG.integers(len(SHAPES))]
            array = np.asarray(filled(DTYPES[RNG.integers(len(DTYPES))], shape), order="CF"[RNG.integers(2)])
            name = ("w{}", "model/layer.{}/kernel", "{} é", "c{}.npy")[RNG.integers(4)].format(i)
            arrays[name] = array.astype(array.dtype.newbyteorder("<>"[RNG.integers(2)]), order="K")
        return arrays

    def assert_reads(self, path, arrays):
        listed = cairn_json("ls", path)
        self.assertEqual((listed["format"], listed["warnings"]), ("npz", []))
        self.assertEqual({e["name"]: e["shape"] for e in listed["tensors"]},
                         {name: list(array.shape) for name, array in arrays.items()})
        for name, array in arrays.items():
            with self.subTest(name, dtype=array.dtype, seed=SEED):
                native = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
                self.assertEqual(cairn("cat", path, name, "--raw"), native.tobytes())

    def test_every_dtype_and_order_stored_and_compressed(self):
        for save in (np.savez, np.savez_compressed):
            arrays = {f"{dtype}{end}{order}": np.asarray(filled(dtype, (3, 4)), order=order).astype(
                np.dtype(dtype).newbyteorder(end), order="K") for dtype in DTYPES for end in "<>" for order in "CF"}
            path = self.path("all.npz")
            save(path, **arrays)
            self.assert_reads(path, arrays)

    def test_random_archives(self):
        for i in range(6):
            save = (np.savez, np.savez_compressed)[i % 2]
            arrays = self.arrays(int(RNG.integers(0, 12)))
            path = self.path("m.npz")
            if i < 4:
                save(path, **arrays)
            else:
                with Unseekable(path) as pipe:
                    save(pipe, **arrays)
            self.assert_reads(path, arrays)

    def test_an_archive_behind_other_bytes(self):
        arrays = self.arrays(3)
        for stored in (True, False):
            archive = io.BytesIO()
            np.savez(archive, **arrays)
            path = self.path("behind.npz")
            with open(path, "wb") as file:
                file.write(b"in front of it")
                file.write(archive.getvalue()) if stored else np.savez(file, **arrays)
            self.assert_reads(path, arrays)

    def test_objects_are_left_out_by_name(self):
        path = self.path("m.npz")
        np.savez_compressed(path, a=np.arange(3), o=np.array([{}], object), s=np.zeros(2, [("x", "i4")]))
        listed = cairn_json("ls", path)
        self.assertEqual([e["name"] for e in listed["tensors"]], ["a"])
        self.assertEqual(len(listed["warnings"]), 2)
        for name, warning in zip(("o.npy", "s.npy"), sorted(listed["warnings"])):
            self.assertIn(name, warning)

    def test_what_is_converted_is_read_by_safetensors(self):
        arrays = {"w": filled("f4", (3, 4)), "v": np.asfortranarray(filled("i2", (5, 6)))}
        for save in (np.savez, np.savez_compressed):
            path = self.path("m.npz")
            save(path, **arrays)
            cairn("convert", path, self.path("m.safetensors"), "--to", "safetensors", "--replace")
            read = load_file(self.path("m.safetensors"))
            for name, array in arrays.items():
                np.testing.assert_array_equal(read[name], array)
