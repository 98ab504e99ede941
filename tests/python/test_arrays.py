"""Arrays and DLPack: no copies, dtypes, slices, packed types, copy-on-write."""
import os
import unittest

import ml_dtypes
import numpy as np

import cairn_store
from support import GOLDEN, PLAIN, Case, address, every_dtype, mapped_file, status_bytes


class ZeroCopy(Case):
    def test_an_array_is_the_mapped_file(self):
        opened = cairn_store.open(self.saved({"w": np.arange(1000, dtype=np.float32)}))
        first, again = opened["w"].numpy(), opened["w"].numpy()
        self.assertEqual(address(first), address(again))
        self.assertEqual(mapped_file(address(first)), opened["w"].shard)
        self.assertFalse(first.flags.writeable)
        self.assertFalse(first.flags.owndata)

    def test_reading_all_takes_no_anonymous_memory(self):
        size = 64 << 20
        path = self.saved({"w": np.ones(size // 4, np.float32)})
        for access in ("shared", "private"):
            with self.subTest(access=access):
                before = status_bytes("RssAnon")
                array = cairn_store.open(path, access=access, verify="none")["w"].numpy()
                self.assertEqual(float(array.sum(dtype=np.float64)), size / 4)
                self.assertLess(status_bytes("RssAnon") - before, size // 16)

    def test_a_private_array_takes_memory_for_the_pages_that_are_written(self):
        path = self.saved({"w": np.zeros(16 << 20, np.uint8)})
        array = cairn_store.open(path, access="private")["w"].numpy()
        before = status_bytes("RssAnon")
        array[:1 << 20] = 1
        self.assertLess(abs(status_bytes("RssAnon") - before - (1 << 20)), 256 << 10)
        self.assertEqual(int(cairn_store.open(path)["w"].numpy().sum()), 0)

    def test_dlpack_is_the_mapped_file_too(self):
        tensor = cairn_store.open(self.saved({"w": np.arange(12.0).reshape(3, 4)}))["w"]
        array = np.from_dlpack(tensor)
        self.assertEqual(address(array), address(tensor.numpy()))
        self.assertSame(array, np.arange(12.0).reshape(3, 4))
        self.assertFalse(array.flags.writeable)


class DTypes(Case):
    def test_every_dtype_comes_back(self):
        given = every_dtype()
        for access in ("shared", "private", "copy"):
            opened = cairn_store.open(self.saved(given, replace=True), access=access)
            self.assertEqual(set(opened), set(given))
            for name, array in given.items():
                with self.subTest(access=access, dtype=name):
                    tensor = opened[name]
                    self.assertSame(tensor.numpy(), array)
                    self.assertEqual(tensor.shape, array.shape)
                    self.assertEqual(tensor.strides, array.strides)
                    self.assertEqual(tensor.nbytes, array.nbytes)
                    self.assertEqual(tensor.numpy().flags.writeable, access == "private")
                    self.assertSame(tensor[:, 1:], array[:, 1:])
                    self.assertSame(np.frombuffer(tensor.tobytes(), array.dtype).reshape(2, 3), array)

    def test_scalars_and_empty_tensors(self):
        given = {"scalar": np.array(2.5), "none": np.empty((3, 0, 2), np.int16)}
        opened = cairn_store.open(self.saved(given))
        for name, array in given.items():
            self.assertSame(opened[name].numpy(), array)
            self.assertSame(opened[name][...], array)
            self.assertSame(np.from_dlpack(opened[name]), array)
        self.assertEqual(opened["scalar"].strides, ())

    def test_strings(self):
        given = np.array([[b"", b"a\0b"], ["zwölf".encode(), b"x" * 5000]], object)
        tensor = cairn_store.open(self.saved({"s": given}))["s"]
        self.assertEqual(tensor.numpy().tolist(), given.tolist())
        self.assertEqual(tensor[1].tolist(), given[1].tolist())
        self.assertEqual(tensor[::1, 0].tolist(), given[:, 0].tolist())
        self.assertIsNone(tensor.strides)
        scalar = cairn_store.open(self.saved({"s": np.array(b"one", object)}, "n-1"))["s"]
        self.assertEqual(scalar.numpy()[()], b"one")

    def test_packed_types_are_bytes_and_unpack(self):
        opened = cairn_store.open(os.path.join(GOLDEN, "onnx/raw.onnx"))
        for name, kind, bits in (("INT4", ml_dtypes.int4, 4), ("UINT4", ml_dtypes.uint4, 4),
                                 ("INT2", ml_dtypes.int2, 2), ("UINT2", ml_dtypes.uint2, 2),
                                 ("FLOAT4E2M1", ml_dtypes.float4_e2m1fn, 4)):
            with self.subTest(name):
                tensor = opened[name]
                packed = tensor.numpy()
                self.assertEqual((packed.dtype, packed.size), (np.uint8, -(-15 * bits // 8)))
                values = tensor.unpack()
                self.assertEqual((values.dtype, values.shape), (np.dtype(kind), (3, 5)))
                codes = [(int(packed[at * bits // 8]) >> at * bits % 8) & (1 << bits) - 1 for at in range(15)]
                raw = values.view(np.uint8).reshape(-1) & (1 << bits) - 1
                self.assertEqual(raw.tolist(), codes)
                if name.startswith("INT"):
                    signed = [code - (1 << bits) if code >> (bits - 1) else code for code in codes]
                    self.assertEqual(values.astype(int).reshape(-1).tolist(), signed)
        with self.assertRaises(cairn_store.UnsupportedError):
            opened["FLOAT"].unpack()

    def test_blocks_are_bytes_and_dequantize(self):
        opened = cairn_store.open(os.path.join(GOLDEN, "gguf/types.gguf"))
        tensor = opened["Q4_0"]
        self.assertEqual((tensor.numpy().dtype, tensor.numpy().shape, tensor.shape), (np.uint8, (36,), (2, 32)))
        values = tensor.dequantize()
        self.assertEqual((values.dtype, values.shape), (np.float32, (2, 32)))
        block = tensor.numpy()[:18]
        scale = np.float32(block[:2].view(np.float16)[0])
        low = (block[2:] & 15).astype(np.float32) - 8
        np.testing.assert_array_equal(values[0, :16], scale * low)
        self.assertIsNone(tensor.strides)

    def test_what_is_not_aligned_is_still_no_copy(self):
        # As in files that TensorFlow wrote: a file of safetensors whose second tensor begins at an odd byte.
        header = (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
                  b'"b":{"dtype":"F32","shape":[2],"data_offsets":[1,9]}}')
        header += b" " * (-len(header) % 8)
        path = self.path("odd.safetensors")
        with open(path, "wb") as file:
            file.write(len(header).to_bytes(8, "little") + header + b"\7" + np.float32([1.5, -2]).tobytes())
        tensor = cairn_store.open(path)["b"]
        array = tensor.numpy()
        self.assertEqual(array.tolist(), [1.5, -2])
        self.assertFalse(array.flags.aligned)
        self.assertEqual(mapped_file(address(array)), "odd.safetensors")
        with self.assertRaisesRegex(BufferError, "not aligned"):
            np.from_dlpack(tensor)
        self.assertEqual(np.from_dlpack(tensor, copy=True).tolist(), [1.5, -2])


class Slices(Case):
    def test_slices_are_numpys(self):
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"seed {seed}")
        random = np.random.default_rng(seed)
        given = random.integers(0, 1000, (5, 7, 4)).astype(np.int32)
        tensor = cairn_store.open(self.saved({"w": given}))["w"]

        def item(size):
            kind = random.integers(4)
            if kind == 0:
                return int(random.integers(-size, size))
            if kind == 1:
                return slice(None)
            ends = [None if random.integers(4) == 0 else int(random.integers(-size - 2, size + 3)) for _ in range(2)]
            return slice(*ends, int(random.integers(1, 4)))

        for _ in range(500):
            index = tuple(item(size) for size in given.shape[:random.integers(0, 4)])
            if random.integers(3) == 0:
                index = (..., *[item(size) for size in given.shape[3 - len(index):]])
            with self.subTest(index=index):
                self.assertSame(tensor[index], np.asarray(given[index]))

    def test_a_slice_reads_its_bytes_only(self):
        path = self.saved({"w": np.zeros((1 << 10, 8 << 10), np.float32)})  # 32 MiB
        tensor = cairn_store.open(path)["w"]
        with open("/proc/self/io") as file:
            before = int(file.readline().split()[1])
        self.assertEqual(tensor[500].shape, (8 << 10,))
        with open("/proc/self/io") as file:
            read = int(file.readline().split()[1]) - before
        self.assertLess(read, 4 << 20)

    def test_reading_into_an_array(self):
        given = np.arange(24, dtype=np.int16).reshape(4, 6)
        tensor = cairn_store.open(self.saved({"w": given}))["w"]
        out = np.empty((2, 6), np.int16)
        self.assertIs(tensor.read(slice(1, 3), out), out)
        self.assertSame(out, given[1:3])
        out = np.empty((2, 3), np.int16)
        tensor.read((slice(None, None, 2), slice(None, None, 2)), out)
        self.assertSame(out, given[::2, ::2])
        for bad in (np.empty((2, 6), np.int32), np.empty((6, 2), np.int16), np.empty((2, 12), np.int16)[:, ::2]):
            with self.assertRaises(ValueError):
                tensor.read(slice(1, 3), bad)

    def test_indices_that_do_not_fit(self):
        tensor = cairn_store.open(self.saved({"w": np.zeros((2, 3))}))["w"]
        for bad in (2, -3, (0, 3), (0, 0, 0), (..., ...), slice(None, None, -1)):
            with self.subTest(bad), self.assertRaises(IndexError):
                tensor[bad]
        for bad in ([0], None, 1.5, "a"):
            with self.subTest(bad), self.assertRaises(TypeError):
                tensor[bad]


class DLPack(Case):
    def test_versions_and_the_read_only_flag(self):
        path = self.saved({"w": np.zeros(3)})
        tensor = cairn_store.open(path)["w"]
        self.assertEqual(tensor.__dlpack_device__(), (1, 0))
        self.assertIn("dltensor_versioned", repr(tensor.__dlpack__(max_version=(1, 0))))
        for version in (None, (0, 8)):
            with self.assertRaisesRegex(BufferError, "read-only"):
                tensor.__dlpack__(max_version=version)
        self.assertIn('"dltensor"', repr(tensor.__dlpack__(copy=True)))
        writable = cairn_store.open(path, access="private")["w"]
        self.assertIn('"dltensor"', repr(writable.__dlpack__()))
        array = np.from_dlpack(writable)
        array[0] = 5
        self.assertEqual(writable.numpy()[0], 5)

    def test_what_it_refuses(self):
        opened = cairn_store.open(self.saved({"s": np.array([b"x"], object), "w": np.zeros(3)}))
        with self.assertRaises(BufferError):
            opened["s"].__dlpack__(max_version=(1, 0))
        with self.assertRaises(BufferError):
            opened["w"].__dlpack__(max_version=(1, 0), dl_device=(2, 0))
        with self.assertRaises(BufferError):
            opened["w"].__dlpack__(max_version=(1, 0), stream=1)

    def test_every_dtype_that_numpy_takes(self):
        given = every_dtype()
        opened = cairn_store.open(self.saved(given))
        for kind in PLAIN:
            name = np.dtype(kind).name
            with self.subTest(name):
                if np.dtype(kind).type.__module__ == "numpy":
                    self.assertSame(np.from_dlpack(opened[name]), given[name])
                else:
                    self.assertIn("dltensor_versioned", repr(opened[name].__dlpack__(max_version=(1, 0))))

    def test_array_protocol(self):
        tensor = cairn_store.open(self.saved({"w": np.arange(3, dtype=np.float32)}))["w"]
        self.assertEqual(address(np.asarray(tensor)), address(tensor.numpy()))
        self.assertEqual(np.asarray(tensor, np.float64).dtype, np.float64)
        self.assertNotEqual(address(np.array(tensor, copy=True)), address(tensor.numpy()))
        with self.assertRaises(ValueError):
            tensor.__array__(np.float64, copy=False)


if __name__ == "__main__":
    unittest.main()
