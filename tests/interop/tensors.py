"""Tensors as TensorFlow makes, saves and restores them, and their bytes."""
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import tensorflow as tf

DTYPES = ("float32 float64 int32 uint8 int16 int8 complex64 int64 bool qint8 quint8 qint32 bfloat16 qint16 quint16 "
          "uint16 complex128 float16 uint32 uint64 float8_e5m2 float8_e4m3fn float8_e4m3fnuz float8_e4m3b11fnuz "
          "float8_e5m2fnuz int4 uint4 int2 uint2 float4_e2m1fn").split()
# Only these low bits of a stored byte mean something.
LOW_BITS = {"int4": 0x0F, "uint4": 0x0F, "float4_e2m1fn": 0x0F, "int2": 0x03, "uint2": 0x03}
SAFETENSORS = {"float32": "F32", "float64": "F64", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "int16": "I16",
               "int32": "I32", "int64": "I64", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64",
               "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}


@dataclass
class Tensor:
    dtype: str
    shape: list
    raw: bytes  # row-major, little-endian; strings one after another

    def masked(self, data):
        if self.dtype not in LOW_BITS:
            return data
        return (np.frombuffer(data, np.uint8) & LOW_BITS[self.dtype]).tobytes()


def described(value):
    """The Tensor that a TensorFlow tensor is."""
    # Strings as objects: numpy's own lose the NUL bytes at their ends.
    array = np.asarray(value.numpy(), object if value.dtype == tf.string else None)
    raw = b"".join(array.ravel().tolist()) if value.dtype == tf.string else array.tobytes()
    return Tensor(value.dtype.name, list(value.shape), raw)


def make(dtype, shape, rng):
    """A random tensor. Its bits are random wherever numpy can say so; NaN and −0 among the floats are wanted."""
    dtype_name, dtype = dtype, tf.dtypes.as_dtype(dtype)
    if dtype_name == "string":
        words = [rng.bytes(int(n)) for n in rng.integers(0, 200, int(np.prod(shape)))]
        return tf.reshape(tf.constant(words, tf.string), shape)
    if dtype_name == "bool":
        return tf.constant(rng.integers(0, 2, shape).astype(bool))
    if dtype_name.startswith("q"):
        return tf.bitcast(make(dtype_name[1:], shape, rng), dtype)
    if dtype_name in LOW_BITS:
        return tf.constant(rng.integers(0, 2, shape).astype(getattr(ml_dtypes, dtype_name)))
    numpy_dtype = np.dtype(dtype.as_numpy_dtype)
    data = rng.bytes(int(np.prod(shape)) * numpy_dtype.itemsize)
    return tf.constant(np.frombuffer(data, numpy_dtype).reshape(shape))


def save(prefix, values, slices=None):
    """Writes name → tensor as TensorFlow does; `slices` are TensorFlow's specifications, one for each."""
    names = list(values)
    tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=slices or [""] * len(names),
                      tensors=list(values.values()))
    return prefix


def restore(prefix, dtypes):
    """name → Tensor as TensorFlow reads them; `dtypes`: name → dtype."""
    values = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=list(dtypes), shape_and_slices=[""] * len(dtypes),
                                  dtypes=[tf.dtypes.as_dtype(d) for d in dtypes.values()])
    return {name: described(value) for name, value in zip(dtypes, values)}


def described_all(values):
    return {name: described(value) for name, value in values.items()}


def every_dtype(rng):
    return {f"v/{dtype}": make(dtype, (3, 5), rng) for dtype in DTYPES}


def every_shape(rng):
    return {"scalar": make("float32", (), rng), "empty": make("float32", (0, 4), rng),
            "empty tail": make("int64", (3, 0), rng), "one": make("int8", (1,), rng),
            "rank 8": make("float64", (1, 2, 1, 3, 1, 2, 1, 2), rng), "odd": make("uint8", (4099,), rng),
            "after odd": make("float32", (7,), rng), "변수/имя:0": make("int16", (6,), rng), "z" * 500: make("int32", (), rng)}


def every_string():
    return {"scalar": tf.constant(b"hello"), "empty": tf.constant(b""), "none": tf.constant([], tf.string),
            "many": tf.constant([b"a", b"", b"\x00\xff\n", "모델".encode(), b"x" * 300]),
            "grid": tf.constant([[b"r0c0", b"r0c1"], [b"r1c0", b"y" * 20000]]), "number": tf.constant(1.5)}


def random_set(rng):
    """Some dozen tensors of random dtypes, shapes and names."""
    values = {}
    for i in range(int(rng.integers(5, 40))):
        shape = tuple(int(n) for n in rng.integers(0, 12, int(rng.integers(0, 5))))
        dtype = str(rng.choice([*DTYPES, "string"]))
        values[f"layer_{int(rng.integers(0, 1000))}/{i}"] = make(dtype, shape, rng)
    return values
