"""TensorFlow: tensors over the mapped file by DLPack where it is aligned, and the same vectors as from tensors of its own."""
import gc
import unittest

import numpy as np

from engines import Case, MIB, mapped_file, needs, status_bytes

needs("tensorflow")
import tensorflow as tf

import cairn_store
import minilm
import tensorflow_tensors


def place(tensor):
    """Where the elements are."""
    return np.frombuffer(memoryview(tensor).cast("B"), np.uint8).ctypes.data


class MiniLM(Case):
    def test_vectors_are_those_of_tensorflows_own_tensors_to_the_last_bit(self):
        from safetensors.tensorflow import load_file
        weights = {name: value for name, value in load_file(self.published).items() if name in minilm.shapes()}

        @tf.function
        def own(ids, mask):
            return minilm.embed(tensorflow_tensors._Functions, tf.math.erf, weights, ids, mask)

        expected = own(tf.constant(self.ids), tf.constant(self.mask.astype(np.float32))).numpy()
        for path in (self.aligned, self.published):  # shared, copied
            with self.subTest(path):
                vectors = tensorflow_tensors.embedder(cairn_store.open(path, access="private"))(self.ids, self.mask)
                self.assertSame(vectors, expected)
                self.assert_close(vectors)

    def test_every_weight_and_variable_is_the_mapped_file(self):
        opened = cairn_store.open(self.aligned, access="private")
        before = status_bytes("RssAnon")
        shared = tensorflow_tensors.tensors(opened, minilm.shapes())
        variables = {name: tf.Variable(value) for name, value in shared.items()}
        self.assertLess(status_bytes("RssAnon") - before, 8 * MIB)
        for name, variable in variables.items():
            self.assertEqual(mapped_file(place(shared[name])), self.shard, name)
            self.assertEqual(place(variable.value()), opened[name].numpy().ctypes.data, name)


class Tensors(Case):
    def test_a_shared_checkpoint_is_refused_with_what_to_do(self):
        opened = cairn_store.open(self.saved({"w": np.zeros(64, np.float32)}))
        with self.assertRaisesRegex(BufferError, '^w: is read-only.*access="private"'):
            tensorflow_tensors.tensors(opened)

    def test_what_is_not_aligned_is_copied(self):
        opened = cairn_store.open(self.published, access="private")
        name = "embeddings.LayerNorm.bias"
        self.assertEqual(opened[name].numpy().ctypes.data % 64, 24)
        tensor = tensorflow_tensors.tensors(opened, [name])[name]
        self.assertNotEqual(mapped_file(place(tensor)), "model.safetensors")
        self.assertSame(tensor.numpy(), opened[name].numpy())

    def test_a_variable_that_is_assigned_leaves_the_file_alone(self):
        given = np.arange(64, dtype=np.float32)
        path = self.saved({"w": given})
        variable = tf.Variable(tensorflow_tensors.tensors(cairn_store.open(path, access="private"))["w"])
        variable.assign_add(tf.ones(64))
        self.assertEqual(variable.numpy().tolist(), (given + 1).tolist())
        self.assertSame(cairn_store.open(path)["w"].numpy(), given)

    def test_a_tensor_keeps_the_mapping(self):
        path = self.saved({"w": np.arange(1 << 16, dtype=np.float32)})
        shard = cairn_store.open(path).shards[0][0]
        tensor = tensorflow_tensors.tensors(cairn_store.open(path, access="private"))["w"]
        gc.collect()
        self.assertEqual(mapped_file(place(tensor)), shard)
        self.assertEqual(float(tensor[-1]), (1 << 16) - 1)


if __name__ == "__main__":
    unittest.main()
