"""We read what TensorFlow and safetensors write."""
import os

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file

import bundle
import tensors
from command import Case, cairn, cairn_json

RNG = np.random.default_rng(20)


class ReadsTensorFlow(Case):
    def assert_reads(self, values):
        prefix = tensors.save(self.path("p"), values)
        self.assert_cairn_reads(prefix, tensors.described_all(values), "tensorflow")
        self.assert_verifies(prefix)

    def test_every_dtype(self):
        self.assert_reads(tensors.every_dtype(RNG))

    def test_every_shape(self):
        self.assert_reads(tensors.every_shape(RNG))

    def test_strings(self):
        self.assert_reads(tensors.every_string())

    def test_an_index_of_several_blocks(self):
        self.assert_reads({f"{'n' * 4000}{i:04}": tf.constant(i) for i in range(100)})

    def test_values_as_numpy_reads_them(self):
        values = {"x": tensors.make("float32", (4, 3), RNG), "y": tensors.make("int64", (), RNG)}
        prefix = tensors.save(self.path("p"), values)
        for name, value in values.items():
            array = np.load(self.write(cairn("cat", prefix, name, "--npy"), "x.npy"))
            self.assertEqual((array.dtype, array.shape, array.tobytes()),
                             (value.numpy().dtype, tuple(value.shape), value.numpy().tobytes()))

    def test_several_shards(self):
        values = tensors.every_shape(RNG)
        parts = [tensors.save(self.path(f"part{i}"), dict(list(values.items())[i::3])) for i in range(3)]
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=self.path("p"))
        self.assertTrue(os.path.exists(self.path("p.data-00002-of-00003")))
        self.assert_cairn_reads(self.path("p"), tensors.described_all(values), "tensorflow")

    def test_partitioned_variables(self):
        for axis in (0, 1):
            with self.subTest(axis=axis):
                whole = tensors.make("int32", (4, 6), RNG)
                prefix = tensors.save(*partitioned(self.path(f"axis{axis}"), whole, axis))
                self.assert_cairn_reads(prefix, {"v": tensors.described(whole)}, "tensorflow")

    def test_partitioned_variables_of_every_dtype_whole_and_by_slices(self):
        """TensorFlow itself cannot put together, or slice, half, uint16/32/64, float8 and strings."""
        plain = [dtype for dtype in tensors.DTYPES if dtype[0] != "q" and dtype not in tensors.LOW_BITS]
        for dtype in [*plain, "string"]:
            whole = tensors.make(dtype, (4, 6), RNG)
            prefix = tensors.save(*partitioned(self.path(dtype), whole, int(RNG.integers(0, 2))))
            self.assert_cairn_reads(prefix, {"v": tensors.described(whole)}, "tensorflow")
            part = cairn("cat", prefix, "v", "--raw", "--slice", "1:3,2:5")
            expected = tensors.described(tf.constant(whole.numpy()[1:3, 2:5])).raw
            self.assertEqual(part, expected, dtype)
            self.assert_verifies(prefix)

    def test_prefixes_and_names_are_taken_literally(self):
        """TensorFlow writes all of these; those with glob characters it cannot restore."""
        for name in ("*", "a?[b]", "with space ", "new\nline", "back\\slash", '"q"', "été", "%d", "{a,b}"):
            values = {name: tf.constant([1, 2]), name + "/" + name: tf.constant(3.0), "x" * 70_000: tf.constant(True)}
            os.mkdir(self.path(name))
            prefix = tensors.save(os.path.join(self.path(name), name), values)
            self.assert_cairn_reads(prefix, tensors.described_all(values), "tensorflow")
            self.assert_verifies(prefix)

    def test_a_manager_in_a_directory_with_brackets(self):
        """TensorFlow finds no latest checkpoint there."""
        checkpoint = tf.train.Checkpoint(v=tf.Variable([1.0, 2.0]))
        manager = tf.train.CheckpointManager(checkpoint, self.path("run[1]"), max_to_keep=2)
        manager.save()
        self.assertIsNone(tf.train.latest_checkpoint(self.path("run[1]")))
        self.assertEqual(cairn("latest", self.path("run[1]")).decode(), self.path("run[1]/ckpt-1") + "\n")
        cairn("cat", self.path("run[1]"), "v/.ATTRIBUTES/VARIABLE_VALUE")

    def test_big_endian(self):
        values = {name: tensors.make(name, (3,), RNG)
                  for name in ("float32", "float64", "int16", "int32", "int64", "complex64", "uint8")}
        stored = {}
        for name, value in values.items():
            array = value.numpy()
            stored[name] = (value.dtype.as_datatype_enum, array.shape, array.byteswap().tobytes())
        bundle.write_big_endian(self.path("p"), stored)
        restored = tensors.restore(self.path("p"), {name: name for name in values})
        self.assertEqual(restored, tensors.described_all(values), "TensorFlow itself")
        self.assert_cairn_reads(self.path("p"), restored, "tensorflow")

    def test_a_tf2_manager_directory(self):
        variable = tf.Variable([1.0, 2.0])
        manager = tf.train.CheckpointManager(tf.train.Checkpoint(v=variable), self.path("run"), max_to_keep=2)
        for step in range(3):
            variable.assign_add([1.0, 1.0])
            manager.save(checkpoint_number=step)
        listed = cairn_json("ls", self.path("run"))
        self.assertEqual((listed["format"], listed["step"]), ("tensorflow", 2))
        raw = cairn("cat", self.path("run"), "v/.ATTRIBUTES/VARIABLE_VALUE", "--raw")
        self.assertEqual(raw, variable.numpy().tobytes())


def partitioned(prefix, whole, axis):
    """Arguments of tensors.save that store `whole` in two pieces along `axis`."""
    prefix_shape = " ".join(map(str, whole.shape))
    half = whole.shape[axis] // 2
    specs = [f"{prefix_shape} " + ":".join("-" if d != axis else f"{start},{half}" for d in range(len(whole.shape)))
             for start in (0, half)]
    pieces = [tf.constant(piece, whole.dtype) for piece in np.split(whole.numpy(), 2, axis)]
    return prefix, Repeated("v", pieces), specs


class Repeated:
    """One name for several tensors, as SaveV2 wants the pieces of a partitioned variable."""

    def __init__(self, name, pieces):
        self.name, self.pieces = name, pieces

    def __iter__(self):
        return iter([self.name] * len(self.pieces))

    def values(self):
        return self.pieces


class ReadsSafetensors(Case):
    def test_every_dtype_of_a_file_that_safetensors_wrote(self):
        values = {dtype: tensors.make(dtype, (5, 3), RNG) for dtype in tensors.SAFETENSORS}
        values |= {"scalar": tensors.make("float64", (), RNG), "empty": tensors.make("int8", (0, 2), RNG)}
        path = self.path("m.safetensors")
        save_file({name: np.asarray(value.numpy()) for name, value in values.items()}, path, {"format": "np"})
        self.assert_cairn_reads(path, tensors.described_all(values), "safetensors")
        self.assert_verifies(path)
