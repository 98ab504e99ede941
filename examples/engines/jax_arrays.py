"""JAX, with the weights of a Cairn checkpoint.

`jax.device_put` of an array that begins at a multiple of 64 bytes makes a JAX array over the same memory, read-only or not; of
any other array it makes a copy. Neither says so. So the tensors must be aligned: in every file that Cairn writes they are;
`cairn convert` aligns those of another file once.

`jnp.asarray` copies always, and so does `jnp.array(copy=False)`. The dtypes are numpy's and those of ml_dtypes. 64-bit types
become 32-bit ones, in a copy, unless jax_enable_x64 is set.
"""
from __future__ import annotations

from typing import Iterable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

import cairn_store
import minilm

ALIGNMENT = 64


def arrays(checkpoint: cairn_store.Checkpoint, names: Iterable[str] | None = None) -> dict[str, jax.Array]:
    """The tensors as JAX arrays over the mapped file, which they keep. Raises ValueError for one that JAX would copy."""
    made = {}
    for name in checkpoint if names is None else names:
        array = checkpoint[name].numpy()
        if array.ctypes.data % ALIGNMENT:
            raise ValueError(f"{name}: begins {array.ctypes.data % ALIGNMENT} bytes after a multiple of {ALIGNMENT}, so JAX would "
                             f"copy it; 'cairn convert' writes an aligned file")
        made[name] = jax.device_put(array)
    return made


def embedder(checkpoint: cairn_store.Checkpoint) -> minilm.Embedder:
    weights = arrays(checkpoint, minilm.shapes())

    @jax.jit
    def embed(weights: dict[str, jax.Array], ids: jax.Array, mask: jax.Array) -> jax.Array:
        return minilm.embed(jnp, erf, weights, ids, mask)

    return lambda ids, mask: np.asarray(embed(weights, ids, mask.astype(np.float32)))


if __name__ == "__main__":
    minilm.main(embedder)
