"""cairn_store.safetensors beside safetensors itself: the same bytes, values, order and errors."""
import os
import stat
import unittest

import ml_dtypes
import numpy as np

import cairn_store
import cairn_store.safetensors as mine
import cairn_store.safetensors.numpy as mine_numpy
from support import Case, address, every_dtype, mapped_file, status_bytes

try:
    import safetensors
    import safetensors.numpy as theirs_numpy
except ImportError:
    safetensors = None


def held():
    """Arrays of each dtype that safetensors has, and names and shapes that try the header."""
    names = {"complex128", "float8_e4m3b11fnuz"}
    arrays = {name: array for name, array in every_dtype().items() if name not in names}
    return {**arrays, "é\"\\\n": np.arange(3, dtype=">i8"), "scalar": np.array(True), "none": np.empty((0, 3), np.int16)}


class Files(Case):
    def test_load_file_is_the_mapped_file_and_may_be_written(self):
        path = self.path("m.safetensors")
        mine_numpy.save_file({"w": np.zeros(1 << 20)}, path)
        array = mine_numpy.load_file(path)["w"]
        self.assertEqual(mapped_file(address(array)), "m.safetensors")
        array[5] = 1
        self.assertEqual(mine_numpy.load_file(path)["w"][5], 0)

    def test_load_file_takes_no_memory(self):
        size = 64 << 20
        path = self.path("m.safetensors")
        mine_numpy.save_file({"a": np.ones(size // 2, np.uint8), "b": np.ones(size // 2, np.uint8)}, path)
        before = status_bytes("RssAnon")
        loaded = mine_numpy.load_file(path)
        self.assertEqual(sum(int(array.sum()) for array in loaded.values()), size)
        self.assertLess(status_bytes("RssAnon") - before, size // 16)

    def test_files_are_plain_and_aligned(self):
        for count in range(40):
            path = self.path("m.safetensors")
            mine_numpy.save_file({"w" * (count + 1): np.arange(3)}, path, {"k": "v"})
            with open(path, "rb") as file:
                data = file.read()
            header = int.from_bytes(data[:8], "little")
            self.assertEqual((8 + header) % 64, 0)
            self.assertEqual(data[8:8 + header].rstrip(b" ").decode(),
                             '{"__metadata__":{"k":"v"},"%s":{"dtype":"I64","shape":[3],"data_offsets":[0,24]}}'
                             % ("w" * (count + 1)))
        self.assertEqual(os.listdir(self.folder), ["m.safetensors"])

    def test_a_file_is_replaced_as_a_whole(self):
        path = self.path("m.safetensors")
        old = os.umask(0o022)
        try:
            mine_numpy.save_file({"w": np.zeros(3)}, path)
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o644)
        kept = mine_numpy.load_file(path)["w"]
        mine_numpy.save_file({"w": np.ones(3)}, path)
        self.assertEqual((kept.tolist(), mine_numpy.load_file(path)["w"].tolist()), ([0, 0, 0], [1, 1, 1]))
        os.symlink("m.safetensors", self.path("link.safetensors"))
        mine_numpy.save_file({"w": np.full(3, 2)}, self.path("link.safetensors"))
        self.assertTrue(os.path.islink(self.path("link.safetensors")))
        self.assertEqual(mine_numpy.load_file(path)["w"].tolist(), [2, 2, 2])

    def test_a_file_that_cannot_be_written_leaves_nothing(self):
        os.mkdir(self.path("m.safetensors"))
        with self.assertRaises(OSError):
            mine_numpy.save_file({"w": np.zeros(3)}, self.path("m.safetensors"))
        self.assertEqual(os.listdir(self.folder), ["m.safetensors"])

    def test_values_of_arrays_that_are_not_contiguous(self):
        given = np.arange(12).reshape(3, 4)
        self.assertEqual(mine_numpy.load(mine_numpy.save({"w": given.T}))["w"].tolist(), given.T.tolist())

    def test_checksums_of_an_imported_file_are_compared(self):
        path = self.path("m.safetensors")
        mine_numpy.save_file({"w": np.zeros(1000), "v": np.zeros(1000)}, path)
        cairn_store.import_index(path)
        times = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(-3, 2)
            file.write(b"\1")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        with self.assertRaises(mine.SafetensorError) as caught:
            mine_numpy.load_file(path)
        self.assertEqual(caught.exception.code, "Corrupt")

    def test_reading_with_pread(self):
        path = self.path("m.safetensors")
        mine_numpy.save_file(held(), path)
        for name, array in mine_numpy.load_file(path).items():
            self.assertEqual(array.tobytes(), held()[name].astype(array.dtype).tobytes())
            self.assertEqual(array.dtype, held()[name].dtype.newbyteorder("="))
        for name, array in mine_numpy.load_file(path, backend="pread").items():
            self.assertEqual(array.tolist(), held()[name].tolist())
            self.assertNotEqual(mapped_file(address(array)), "m.safetensors")

    def test_what_it_refuses(self):
        with self.assertRaises(FileNotFoundError) as caught:
            mine.safe_open("notafile", "np")
        self.assertEqual(str(caught.exception), "No such file or directory: notafile")
        with self.assertRaises(mine.SafetensorError):
            mine.safe_open(__file__, "np")
        path = self.path("m.safetensors")
        mine_numpy.save_file({"w": np.zeros((2, 3))}, path)
        with mine.safe_open(path, "np") as opened:
            with self.assertRaisesRegex(mine.SafetensorError, "^File does not contain tensor zz$"):
                opened.get_tensor("zz")
        for call in (opened.keys, opened.metadata, lambda: opened.get_tensor("w"), lambda: opened.get_slice("w")):
            with self.assertRaisesRegex(mine.SafetensorError, "^File is closed$"):
                call()
        for words in (("nonsense",), ("np", "cuda"), ("mlx",)):
            with self.assertRaises(mine.SafetensorError):
                mine.safe_open(path, *words)
        with self.assertRaises(mine.SafetensorError):
            mine_numpy.save({"w": np.zeros(3, np.complex128)})
        entry = b'"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}'
        text = b"{" + entry + b"," + entry + b"}"  # safetensors takes the last; a header that says two things is damage
        with self.assertRaises(mine.SafetensorError):
            mine_numpy.load(len(text).to_bytes(8, "little") + text + b"1234")


HEADERS = [
    b"", b"\0" * 7, b"\0" * 8, (10).to_bytes(8, "little"), b"\xff" * 8, b"{}", b"[]", b"{", b"\xff",
    b'{"w":1}', b'{"w":{}}', b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}', b'{"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"F32","shape":[true],"data_offsets":[0,4]}}', b'{"w":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}',
    b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
    b'{"w":{"dtype":"F32","shape":[1e0],"data_offsets":[0,4]}}', b'{"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
    b'{"w":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}}',
    b'{"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"v":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}',
    b'{"__metadata__":{"a":"b"},"w":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}',
    b"[" * 100_000,
]


@unittest.skipIf(safetensors is None, "skipped: safetensors is not installed")
class Beside(Case):
    def test_saved_bytes_are_the_same(self):
        for name, array in held().items():
            with self.subTest(name):
                self.assertEqual(mine_numpy.save({name: array}), theirs_numpy.save({name: array}))
        self.assertEqual(mine_numpy.save(held()), theirs_numpy.save(held()))
        self.assertEqual(mine_numpy.save({}), theirs_numpy.save({}))
        self.assertEqual(mine_numpy.save(held(), {"a": "ü"}), theirs_numpy.save(held(), {"a": "ü"}))

    def test_each_reads_what_the_other_wrote(self):
        ours, other = self.path("ours.safetensors"), self.path("theirs.safetensors")
        # safetensors 0.8 writes float8 with numpy, and cannot read it: it looks for these types in numpy itself.
        given = {name: array for name, array in held().items() if not name.startswith("float8")}
        mine_numpy.save_file(given, ours, {"k": "v"})
        theirs_numpy.save_file(given, other, {"k": "v"})
        for path in (ours, other):
            read, wanted = mine_numpy.load_file(path), theirs_numpy.load_file(path)
            self.assertEqual(list(read), list(wanted))
            for name, array in wanted.items():
                self.assertSame(read[name], array)
                self.assertTrue(read[name].flags.writeable)
            with mine.safe_open(path, "np") as left, safetensors.safe_open(path, "np") as right:
                self.assertEqual(left.keys(), right.keys())
                self.assertEqual(left.offset_keys(), right.offset_keys())
                self.assertEqual(left.metadata(), right.metadata())
                self.assertEqual(list(left.get_tensors()), list(right.get_tensors()))
                for name in wanted:
                    self.assertEqual(left.get_slice(name).get_dtype(), right.get_slice(name).get_dtype())
                    self.assertEqual(left.get_slice(name).get_shape(), right.get_slice(name).get_shape())

    def test_bytes_are_read_and_refused_alike(self):
        for text in HEADERS:
            with self.subTest(text[:60]):
                data = text if len(text) <= 8 and not text.startswith(b"{") else (
                    len(text).to_bytes(8, "little") + text + b"\1\2\3\4")
                try:
                    wanted = theirs_numpy.load(data)
                except safetensors.SafetensorError:
                    with self.assertRaises(mine.SafetensorError):
                        mine_numpy.load(data)
                    continue
                read = mine_numpy.load(data)
                self.assertEqual(list(read), list(wanted))
                for name, array in wanted.items():
                    self.assertSame(read[name], array)

    def test_slices_are_answered_alike(self):
        path = self.path("m.safetensors")
        theirs_numpy.save_file({"w": np.arange(60).reshape(3, 4, 5)}, path)
        items = [0, 2, -1, 3, -4, slice(None), slice(1, 2), slice(0, 9), slice(5, None), slice(None, None, 2),
                 slice(None, None, 0), ..., [], [1], None, "x", slice(3, 3)]
        indices = [*items, (), *[(a, b) for a in items for b in items], (0, 0, 0, 0), (..., 0, 0, 0), (0, 0, 0, ...)]
        with mine.safe_open(path, "np") as left, safetensors.safe_open(path, "np") as right:
            # safetensors 0.8 ends here with a SystemError or a panic.
            self.assertEqual(left.get_slice("w")[2:1].shape, (0, 4, 5))
            for index in indices:
                with self.subTest(index):
                    try:
                        wanted = right.get_slice("w")[index]
                    except (safetensors.SafetensorError, TypeError, ValueError, OverflowError) as error:
                        with self.assertRaises(mine.SafetensorError) as caught:
                            left.get_slice("w")[index]
                        if isinstance(error, safetensors.SafetensorError):
                            self.assertEqual(str(caught.exception), str(error))
                        continue
                    self.assertSame(left.get_slice("w")[index], wanted)
