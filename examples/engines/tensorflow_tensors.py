"""TensorFlow, with the weights of a Cairn checkpoint.

`tf.experimental.dlpack.from_dlpack` makes a tensor over the memory of a capsule, and a `tf.Variable` of that tensor shares it
too, until it is assigned; an assignment takes memory of its own. Two things about it are not obvious:

- TensorFlow takes capsules without a version only, and such a capsule cannot say that its memory is read-only. So the
  checkpoint is opened with access="private": copy-on-write, nothing is copied as long as nobody writes.
- TensorFlow may end the process when it uses memory that does not begin at a multiple of 64 bytes. `tensors` copies such a
  tensor. In every file that Cairn writes tensors are aligned; `cairn convert` aligns those of another file once.

`tf.constant` and `tf.convert_to_tensor` of an array copy always.
"""
from __future__ import annotations

from typing import Any, Iterable

import numpy as np
import tensorflow as tf

import cairn_store
import minilm

ALIGNMENT = 64


def tensors(checkpoint: cairn_store.Checkpoint, names: Iterable[str] | None = None) -> dict[str, tf.Tensor]:
    """The tensors over the mapped file, which they keep; copied if they are not aligned. Raises BufferError unless the
    checkpoint was opened with access="private"."""
    made = {}
    for name in checkpoint if names is None else names:
        tensor = checkpoint[name]
        if tensor.numpy().ctypes.data % ALIGNMENT:
            made[name] = tf.constant(tensor.numpy())
        else:
            made[name] = tf.experimental.dlpack.from_dlpack(tensor.__dlpack__())
    return made


class _Functions:
    """TensorFlow's functions by numpy's names, as far as minilm.embed uses them."""

    amax, exp, matmul, mean, reshape, sqrt, sum, take, transpose = map(staticmethod, (
        tf.reduce_max, tf.exp, tf.matmul, tf.reduce_mean, tf.reshape, tf.sqrt, tf.reduce_sum, tf.gather, tf.transpose))

    @staticmethod
    def swapaxes(x: Any, one: int, other: int) -> Any:
        order = list(range(len(x.shape)))
        order[one], order[other] = other, one
        return tf.transpose(x, order)


def embedder(checkpoint: cairn_store.Checkpoint) -> minilm.Embedder:
    weights = {name: tf.Variable(value) for name, value in tensors(checkpoint, minilm.shapes()).items()}

    @tf.function
    def embed(ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        return minilm.embed(_Functions, tf.math.erf, weights, ids, mask)

    return lambda ids, mask: embed(tf.constant(ids), tf.constant(mask.astype(np.float32))).numpy()


if __name__ == "__main__":
    minilm.main(embedder, access="private")
