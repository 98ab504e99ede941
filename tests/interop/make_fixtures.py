"""Writes the checkpoints of tests/golden/tensorflow with TensorFlow, one folder per case.

Beside each checkpoint P stands P.expected.json: what TensorFlow itself reads back from it.

usage: make_fixtures.py OUT          (needs tensorflow 2.x, numpy and ml_dtypes)
"""

import base64
import contextlib
import hashlib
import json
import os
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import ml_dtypes
import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
rng = np.random.default_rng(7)

DTYPES = """float32 float64 int32 uint8 int16 int8 complex64 int64 bool qint8 quint8 qint32 bfloat16
qint16 quint16 uint16 complex128 float16 uint32 uint64 float8_e5m2 float8_e4m3fn float8_e4m3fnuz
float8_e4m3b11fnuz float8_e5m2fnuz int4 uint4 int2 uint2 float4_e2m1fn""".split()

V1_DTYPES = "float64 int64 uint8 int16 int8 bool complex64".split()


# ---- Helpers


@contextlib.contextmanager
def graph_session(**config):
    """A TensorFlow 1 session over a graph of its own."""
    with tf1.Graph().as_default():
        with tf1.Session(config=tf1.ConfigProto(**config)) as session:
            yield session


def variable(name, value=None, **arguments):
    if value is not None:
        arguments["initializer"] = tf1.constant(value)
    return tf1.get_variable(name, use_resource=False, **arguments)


def save_tensors(prefix, tensors):
    """Saves a dict: the payload comes in its order, the index is sorted in any case."""
    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tensors[name] for name in names],
    )


def in_name_order(tensors):
    """As the Saver orders its variables."""
    return dict(sorted(tensors.items()))


def can_be_saved(tensor):
    with tempfile.TemporaryDirectory() as scratch:
        try:
            save_tensors(os.path.join(scratch, "probe"), {"x": tensor})
        except tf.errors.OpError as error:
            print("not storable:", tensor.dtype.name, error.message[:100])
            return False
    return True


def tensor_of(dtype_name):
    """Three rows of five small numbers, as this dtype."""
    dtype = tf.dtypes.as_dtype(dtype_name)
    numbers = rng.integers(0, 2 if dtype == tf.bool else 3, size=(3, 5))
    if dtype.is_quantized:
        return tf.bitcast(tf.constant(numbers, tf.dtypes.as_dtype(dtype_name[1:])), dtype)
    if dtype_name.startswith("float8") or dtype_name in ("int2", "uint2", "float4_e2m1fn"):
        return tf.constant(numbers.astype(getattr(ml_dtypes, dtype_name)))
    return tf.cast(tf.constant(numbers, tf.int32), dtype)


def expectation(value, dtype, shape):
    array = np.asarray(value)
    expected = {"dtype": dtype.name, "shape": list(shape)}
    if dtype == tf.string:
        strings = [bytes(item) for item in array.ravel().tolist()]
        expected["strings_b64"] = [base64.b64encode(item).decode() for item in strings]
        return expected
    data = array.tobytes()
    expected["nbytes"] = len(data)
    expected["sha256"] = hashlib.sha256(data).hexdigest()
    if len(data) <= 64:
        expected["hex"] = data.hex()
    return expected


def write_json(path, value):
    with open(path, "w") as out:
        json.dump(value, out, indent=1, sort_keys=True)


def write_expectations(prefix):
    reader = tf.train.load_checkpoint(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    tensors = {}
    for name, shape in sorted(reader.get_variable_to_shape_map().items()):
        (value,) = tf.raw_ops.RestoreV2(
            prefix=prefix, tensor_names=[name], shape_and_slices=[""], dtypes=[dtypes[name]]
        )
        tensors[name] = expectation(value.numpy(), dtypes[name], shape)
    path = prefix.replace("/", "_") + ".expected.json"
    write_json(path, {"prefix": prefix, "tensors": tensors})


# ---- The cases. Each runs in a folder of its name and returns the prefixes to be read back.


def saver_walk():
    """A TensorFlow 1 user: save, save with a step, keep five, ask for the latest."""
    with graph_session() as session:
        v1 = variable("v1", 10)
        variable("v2", 11)
        session.run(tf1.global_variables_initializer())
        os.makedirs("saved")
        tf1.train.Saver().save(session, "saved/train1")
        os.rename("saved/checkpoint", "saved/checkpoint.after_train1")
        saver = tf1.train.Saver()
        for step in range(10):
            session.run(tf1.assign_add(v1, 1))
            saver.save(session, "saved/train2", global_step=step, write_meta_graph=step in (0, 9))
    state = tf.train.get_checkpoint_state("saved")
    write_json(
        "state.expected.json",
        {
            "model_checkpoint_path": state.model_checkpoint_path,
            "all": list(state.all_model_checkpoint_paths),
            "latest": tf.train.latest_checkpoint("saved"),
        },
    )
    return ["saved/train1", "saved/train2-9"]


def dtypes():
    """Every dtype that a bundle can hold."""
    tensors = {"v/" + name: tensor_of(name) for name in DTYPES}
    storable = {name: tensor for name, tensor in tensors.items() if can_be_saved(tensor)}
    save_tensors("all", storable)
    return ["all"]


def shapes():
    """Scalars, empty tensors, high ranks, odd sizes, and names that are not plain."""
    tensors = {
        "scalar": np.float32(3.25),
        "empty": np.zeros((0, 4), np.float32),
        "empty_tail": np.zeros((3, 0), np.int64),
        "one": np.ones((1,), np.int8),
        "rank8": rng.standard_normal((1, 2, 1, 3, 1, 2, 1, 2)),
        "odd": rng.integers(0, 255, 4099).astype(np.uint8),
        "after_odd": rng.standard_normal(7).astype(np.float32),
        "name with spaces/and:colon": np.int32(1),
        "유니코드/변수": np.arange(6, dtype=np.int16),
        "z" * 500: np.int32(2),
    }
    save_tensors("all", in_name_order(tensors))
    return ["all"]


def strings():
    many = [b"a", b"", b"\x00\xff\n", "모델".encode(), b"x" * 300]
    tensors = {
        "scalar": tf.constant(b"hello"),
        "empty": tf.constant(b""),
        "none": tf.constant([], tf.string),
        "many": tf.constant(many),
        "grid": tf.constant([[b"r0c0", b"r0c1"], [b"r1c0", b"y" * 20000]]),
        "num": tf.constant(1.5),
    }
    save_tensors("all", in_name_order(tensors))
    return ["all"]


def partitioned():
    with graph_session() as session:
        for name, shape, parts, axis in (("emb", (11, 6), 3, 0), ("cols", (4, 10), 2, 1)):
            variable(
                name,
                shape=shape,
                initializer=tf1.random_normal_initializer(seed=3 + axis),
                partitioner=tf1.fixed_size_partitioner(parts, axis=axis),
            )
        variable("plain", shape=(5,), initializer=tf1.ones_initializer())
        session.run(tf1.global_variables_initializer())
        tf1.train.Saver().save(session, "./part", write_meta_graph=False)
    return ["part"]


def sharded():
    """Several shards, as TensorFlow writes them from several devices."""
    with graph_session(device_count={"CPU": 3}) as session:
        for i in range(7):
            with tf1.device(f"/cpu:{i % 3}"):
                variable(f"w{i}", rng.standard_normal((i + 1, 3)).astype(np.float32))
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(sharded=True)
        saver.save(session, "./shard", global_step=42, write_meta_graph=False)
    return ["shard-42"]


def v1():
    with graph_session() as session:
        variable("a", rng.standard_normal((3, 4)).astype(np.float32))
        variable("b", [1, 2, 3])
        variable(
            "p",
            shape=(6, 2),
            initializer=tf1.random_normal_initializer(seed=5),
            partitioner=tf1.fixed_size_partitioner(2),
        )
        for name in V1_DTYPES:
            variable("t_" + name, np.arange(5).astype(name))
        variable("big", np.zeros(200000, np.float32))
        session.run(tf1.global_variables_initializer())
        saver = tf1.train.Saver(write_version=tf1.train.SaverDef.V1)
        saver.save(session, "./old.ckpt", global_step=3, write_meta_graph=False)
    return ["old.ckpt-3"]


def tf2_manager():
    """An object-based checkpoint of TensorFlow 2, under a CheckpointManager."""
    net = tf.Module()
    net.dense = tf.Module()
    net.dense.kernel = tf.Variable(rng.standard_normal((4, 3)).astype(np.float32))
    net.dense.bias = tf.Variable(tf.zeros([3]))
    net.layers = [tf.Variable([1, 2]), tf.Variable([3.0])]
    checkpoint = tf.train.Checkpoint(step=tf.Variable(0, dtype=tf.int64), net=net)
    manager = tf.train.CheckpointManager(
        checkpoint, "tf_ckpts", max_to_keep=3, step_counter=checkpoint.step
    )
    for _ in range(6):
        checkpoint.step.assign_add(1)
        manager.save()
    return ["tf_ckpts/ckpt-6"]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = os.path.abspath(sys.argv[1])
    for case in (saver_walk, dtypes, shapes, strings, partitioned, sharded, v1, tf2_manager):
        folder = os.path.join(out, case.__name__)
        os.makedirs(folder)
        os.chdir(folder)
        for prefix in case():
            write_expectations(prefix)


if __name__ == "__main__":
    main()
