"""JAX: arrays over the mapped file where it is aligned, and the same vectors as from arrays of its own."""
import gc
import unittest

import ml_dtypes
import numpy as np

from engines import Case, mapped_file, needs

needs("jax")
import jax
import jax.numpy as jnp
from jax.scipy.special import erf

import cairn_store
import jax_arrays
import minilm


def place(array):
    return array.unsafe_buffer_pointer()


class MiniLM(Case):
    def test_vectors_are_those_of_jaxs_own_arrays_to_the_last_bit(self):
        from safetensors.flax import load_file
        weights = {name: array for name, array in load_file(self.published).items() if name in minilm.shapes()}
        own = jax.jit(lambda *given: minilm.embed(jnp, erf, *given))(weights, self.ids, self.mask.astype(np.float32))
        vectors = jax_arrays.embedder(cairn_store.open(self.aligned))(self.ids, self.mask)
        self.assertSame(vectors, np.asarray(own))
        self.assert_close(vectors)

    def test_every_weight_is_the_mapped_file(self):
        opened = cairn_store.open(self.aligned)
        for name, array in jax_arrays.arrays(opened, minilm.shapes()).items():
            self.assertEqual(place(array), opened[name].numpy().ctypes.data, name)
            self.assertEqual(mapped_file(place(array)), self.shard, name)

    def test_the_published_file_is_not_aligned_and_jax_would_copy_it(self):
        opened = cairn_store.open(self.published)
        with self.assertRaisesRegex(ValueError, "^embeddings.LayerNorm.bias: begins 24 bytes after a multiple of 64"):
            jax_arrays.arrays(opened, ["embeddings.LayerNorm.bias"])
        array = opened["embeddings.LayerNorm.bias"].numpy()
        self.assertNotEqual(place(jax.device_put(array)), array.ctypes.data)


class Arrays(Case):
    def test_asarray_and_array_without_copy_copy(self):
        array = cairn_store.open(self.saved({"w": np.arange(64, dtype=np.float32)}))["w"].numpy()
        self.assertEqual(place(jax.device_put(array)), array.ctypes.data)
        for made in (jnp.asarray(array), jnp.array(array, copy=False)):
            self.assertNotEqual(place(made), array.ctypes.data)

    def test_dlpack_shares_a_private_checkpoint_and_is_refused_a_shared_one(self):
        path = self.saved({"w": np.arange(64, dtype=np.float32)})
        private = cairn_store.open(path, access="private")["w"]
        self.assertEqual(place(jax.dlpack.from_dlpack(private)), private.numpy().ctypes.data)
        with self.assertRaisesRegex(BufferError, '^w: is read-only.*access="private"'):
            jax.dlpack.from_dlpack(cairn_store.open(path)["w"])

    def test_an_array_keeps_the_mapping(self):
        path = self.saved({"w": np.arange(1 << 16, dtype=np.float32)})
        shard = cairn_store.open(path).shards[0][0]
        array = jax_arrays.arrays(cairn_store.open(path))["w"]
        gc.collect()
        self.assertEqual(mapped_file(place(array)), shard)
        self.assertEqual(float(array[-1]), (1 << 16) - 1)

    def test_every_dtype_that_jax_keeps_is_shared(self):
        kinds = (np.float32, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, np.int8, np.uint8,
                 np.int32, np.bool_)
        given = {np.dtype(kind).name: np.arange(2, 66).astype(kind) for kind in kinds}
        opened = cairn_store.open(self.saved(given))
        for name, array in jax_arrays.arrays(opened).items():
            with self.subTest(name):
                self.assertEqual(place(array), opened[name].numpy().ctypes.data)
                self.assertSame(np.asarray(array), given[name])

    def test_a_donated_array_leaves_the_file_alone(self):
        given = np.arange(1024, dtype=np.float32)
        path = self.saved({"w": given})
        array = jax_arrays.arrays(cairn_store.open(path))["w"]
        doubled = jax.jit(lambda x: x * 2, donate_argnums=0)(array)
        self.assertEqual(np.asarray(doubled).tolist(), (given * 2).tolist())
        self.assertSame(cairn_store.open(path)["w"].numpy(), given)


if __name__ == "__main__":
    unittest.main()
