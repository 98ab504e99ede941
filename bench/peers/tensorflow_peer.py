"""TensorFlow. A path is a prefix; TensorFlow checks each tensor that it reads against its checksum.

open     NewCheckpointReader
list     open, then names and shapes
one      open, then get_tensor, into a numpy array
touch    as restore: TensorFlow has no mapped tensors, its reading is the touching
copy     open, then get_tensor for each: numpy arrays, which TensorFlow allocates itself
restore  tf.raw_ops.RestoreV2 of all tensors at once, into tf.Tensors, on TensorFlow's threads; names and dtypes are
         known before, as they are to who has the model
save     tf.raw_ops.SaveV2 of tf.Tensors under a new prefix
prepare  restores and saves once: with 100,000 tensors an op's first call takes seconds, for what TensorFlow then keeps

What it keeps after RestoreV2 and SaveV2 makes opening 100,000 tensors three times slower: these have their own process.
"""
import functools
import os
import tempfile

from peer import serve  # before TensorFlow, which talks

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy
import tensorflow as tf

new_reader = tf.compat.v1.train.NewCheckpointReader


def open_(request):
    return lambda: new_reader(request.path)


def list_(request):
    def ask():
        reader = new_reader(request.path)
        return reader, reader.get_variable_to_shape_map()
    return ask


def one(request):
    def ask():
        reader = new_reader(request.path)
        return reader, reader.get_tensor(request.tensor)
    return ask


@functools.lru_cache(maxsize=8)  # so that a cold question does not begin by reading the index
def wanted(path):
    """Names, slices and dtypes, as RestoreV2 takes them."""
    dtypes = new_reader(path).get_variable_to_dtype_map()
    names = sorted(dtypes)
    return tf.constant(names), tf.constant([""] * len(names)), [dtypes[name] for name in names]


def copy(request):
    names = [name.decode() for name in wanted(request.path)[0].numpy()]

    def ask():
        reader = new_reader(request.path)
        return reader, [reader.get_tensor(name) for name in names]
    return ask


def restore(request):
    names, slices, dtypes = wanted(request.path)
    return lambda: tf.raw_ops.RestoreV2(prefix=request.path, tensor_names=names, shape_and_slices=slices, dtypes=dtypes)


def save(request):
    names, slices, _ = wanted(request.path)
    tensors = restore(request)()
    return lambda directory: tf.raw_ops.SaveV2(prefix=f"{directory}/saved", tensor_names=names,
                                               shape_and_slices=slices, tensors=tensors)


def prepare(request):
    with tempfile.TemporaryDirectory(dir=request.out) as directory:
        save(request)(directory)
    return request.path


serve({"tensorflow": tf.__version__, "numpy": numpy.__version__},
      {"open": open_, "list": list_, "one": one, "touch": restore, "copy": copy, "restore": restore},
      {"save": save, "save_sync": save}, prepare,
      apart=("touch", "restore", "save", "save_sync", "prepare"))
