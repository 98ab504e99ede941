"""TensorFlow reads what was merged and renamed: the values of the sources, and what its own merge gives."""
import os
import shutil

import numpy as np
import tensorflow as tf

import bundle
import tensors
from command import Case, Refused, cairn, cairn_json

PARTS = ("part-00000-of-00003", "part-00001-of-00003", "part-00002-of-00003")


def dtypes_of(values):
    return {name: value.dtype for name, value in values.items()}


class Merges(Case):
    def setUp(self):
        super().setUp()
        self.rng = np.random.default_rng(7)

    def alone(self, prefix):
        """TensorFlow's view and ours by P.index: without P.cairn."""
        os.remove(prefix + ".cairn")
        return prefix

    def test_tensorflow_reads_the_values_of_all_sources(self):
        sets = [tensors.every_dtype(self.rng), tensors.every_string(),
                {f"random/{name}": value for name, value in tensors.random_set(self.rng).items()}]
        sources = [tensors.save(self.path(f"s{i}"), values) for i, values in enumerate(sets)]
        cairn("convert", sources[2], self.path("converted"), "--to", "cairn")
        prefix = self.path("out", "m")
        cairn("merge", sources[0], sources[1], self.path("converted"), "--output", prefix)
        self.assert_verifies(prefix)
        values = {name: value for each in sets for name, value in each.items()}
        expected = tensors.described_all(values)
        self.assertEqual(tensors.restore(prefix, dtypes_of(expected)), expected)
        self.assert_cairn_reads(prefix, expected, "cairn")
        self.assert_cairn_reads(self.alone(prefix), expected, "tensorflow")

    def parts(self, folder, sets, slices=None):
        """Parts as TensorFlow's sharded save leaves them before it merges."""
        return [tensors.save(self.path(folder, part), values, slices and slices[i])
                for i, (part, values) in enumerate(zip(PARTS, sets))]

    def test_parts_become_the_very_index_that_tensorflows_own_merge_writes(self):
        sets = [tensors.every_shape(self.rng), tensors.every_dtype(self.rng), {"last": tf.constant([1.0, 2.0])}]
        prefix, theirs = self.path("m"), self.path("theirs")
        cairn("merge", *self.parts("m_temp", sets), "--output", prefix)
        parts = self.parts("theirs_temp", sets)
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=theirs)
        with open(prefix + ".index", "rb") as ours, open(theirs + ".index", "rb") as file:
            self.assertEqual(ours.read(), file.read())
        expected = tensors.described_all({name: value for each in sets for name, value in each.items()})
        self.assertEqual(tensors.restore(prefix, dtypes_of(expected)), tensors.restore(theirs, dtypes_of(expected)))
        self.assertTrue(os.path.exists(self.path("m_temp", PARTS[0] + ".index")), "the parts stay")

    def test_slices_in_several_parts_are_one_variable_for_both(self):
        whole = np.arange(24, dtype=np.float32).reshape(6, 4)
        sets = [{"v": tf.constant(whole[rows])} for rows in (slice(0, 1), slice(1, 4), slice(4, 6))]
        slices = [[f"6 4 {start},{count}:0,4"] for start, count in ((0, 1), (1, 3), (4, 2))]
        prefix, theirs = self.path("m"), self.path("theirs")
        cairn("merge", *self.parts("m_temp", sets, slices), "--output", prefix)
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=self.parts("theirs_temp", sets, slices),
                                      destination_prefix=theirs)
        expected = {"v": tensors.described(tf.constant(whole))}
        for path in (prefix, theirs):
            self.assertEqual(tensors.restore(path, {"v": "float32"}), expected)
        self.assert_cairn_reads(self.alone(prefix), expected, "tensorflow")
        self.assert_cairn_reads(theirs, expected, "tensorflow")

    def test_an_empty_part_which_tensorflows_merge_stumbles_over(self):
        sets = [{}, {"a": tf.constant([1, 2])}, {"b": tf.constant([3])}]

        def parts(folder):
            return [tensors.save(self.path(folder, part), values) for part, values in zip(PARTS, sets) if values] + [
                self.empty(self.path(folder, PARTS[0]))]

        prefix, theirs = self.path("m"), self.path("theirs")
        cairn("merge", *parts("m_temp"), "--output", prefix)
        expected = tensors.described_all({"a": sets[1]["a"], "b": sets[2]["b"]})
        self.assertEqual(tensors.restore(prefix, dtypes_of(expected)), expected)
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts("theirs_temp"), destination_prefix=theirs)
        with self.assertRaises(tf.errors.NotFoundError):
            tensors.restore(theirs, dtypes_of(expected))

    def empty(self, prefix):
        """A part of a device that had nothing to save: a header alone."""
        header = bundle.field(1, 1) + bundle.field(3, bundle.field(1, 1))
        self.write(bundle.table([(b"", header)]), prefix + ".index")
        self.write(b"", prefix + ".data-00000-of-00001")
        return prefix

    def test_a_corrupt_block_for_which_tensorflows_merge_drops_tensors(self):
        many = {f"a tensor with a name of some length, number {i}": tf.constant(i) for i in range(20000)}
        part = tensors.save(self.path("m_temp", PARTS[0]), many)
        with open(part + ".index", "r+b") as file:
            file.seek(270000)
            byte = file.read(1)[0]
            file.seek(270000)
            file.write(bytes([byte ^ 1]))
        shutil.copytree(self.path("m_temp"), self.path("theirs_temp"))
        with self.assertRaises(Refused):
            cairn("merge", part, "--output", self.path("m"))
        self.assertEqual(sorted(os.listdir(self.path("m_temp"))), sorted(os.listdir(self.path("theirs_temp"))))
        theirs = self.path("theirs")
        tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[self.path("theirs_temp", PARTS[0])],
                                      destination_prefix=theirs)
        self.assertLess(len(tf.train.list_variables(theirs)), len(many))

    def test_an_object_based_checkpoint_merged_with_another_is_restored_by_tensorflow(self):
        variable = tf.Variable([1.0, 2.0])
        saved = tf.train.Checkpoint(w=variable).write(self.path("objects"))
        other = tensors.save(self.path("other"), {"x": tf.constant(5)})
        cairn("merge", saved, other, "--output", self.path("m"))
        variable.assign([0.0, 0.0])
        tf.train.Checkpoint(w=variable).read(self.path("m")).assert_consumed()
        self.assertEqual(variable.numpy().tolist(), [1.0, 2.0])
        self.assertEqual(tensors.restore(self.path("m"), {"x": "int32"})["x"].raw, b"\5\0\0\0")


class Renames(Case):
    def test_tensorflow_reads_the_new_names(self):
        values = tensors.every_dtype(np.random.default_rng(8))
        prefix = tensors.save(self.path("m"), values)
        shutil.copy(prefix + ".index", self.path("before"))
        shown = cairn_json("rename", prefix, "--regex", "^v/(.*)=$1/kernel", "--replace")
        self.assertEqual(len(shown["renamed"]), len(values))
        expected = {name[2:] + "/kernel": value for name, value in tensors.described_all(values).items()}
        self.assertEqual(tensors.restore(prefix, dtypes_of(expected)), expected)
        cairn("rename", prefix, "--regex", "^(.*)/kernel=v/$1", "--replace")
        with open(prefix + ".index", "rb") as file, open(self.path("before"), "rb") as before:
            self.assertEqual(file.read(), before.read())

    def test_a_name_that_an_object_graph_refers_to_is_not_renamed(self):
        saved = tf.train.Checkpoint(w=tf.Variable(1.0)).write(self.path("objects"))
        with self.assertRaises(Refused):
            cairn("rename", saved, "--regex", "^w=v", "--replace")
