"""Opening through TensorFlow: what open.cc asks of Cairn. PATH is a prefix."""
import numpy
import tensorflow as tf

from peer import serve


def list_all(path, _):
    reader = tf.train.load_checkpoint(path)
    return reader, reader.get_variable_to_shape_map()


def one(path, tensor):
    reader = tf.train.load_checkpoint(path)
    return reader, reader.get_tensor(tensor)


serve({"tensorflow": tf.__version__, "numpy": numpy.__version__},
      {"open": lambda path, _: tf.compat.v1.train.NewCheckpointReader(path), "list": list_all, "one": one})
