"""Makes inputs for the fuzz targets out of what TensorFlow and safetensors write; run.py --minimize keeps what matters.

usage: seeds.py BUILD      with a Python that has safetensors, numpy and h5py, and TensorFlow for its object graphs
"""
import os
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(HERE), "golden")
SMALL = 16_000
NAMES = ("m.cairn", "m.index", "m.data-00000-of-00001", "m.data-00000-of-00002", "m.data-00001-of-00002", "checkpoint",
         "x.safetensors", "v1", "m.meta")  # those of directory_fuzz.cc, in its order


def golden_files():
    for folder, _, names in os.walk(GOLDEN):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.getsize(path) <= SMALL:
                with open(path, "rb") as file:
                    yield path, file.read()


class Seeds:
    def __init__(self, build):
        self.root = os.path.join(build, "fuzz")
        self.count = 0

    def add(self, target, data):
        os.makedirs(os.path.join(self.root, target), exist_ok=True)
        with open(os.path.join(self.root, target, f"seed-{self.count}"), "wb") as file:
            file.write(data)
        self.count += 1


def pack(files):
    """Files by their names, as directory_fuzz.cc takes them."""
    return b"".join(bytes([NAMES.index(name)]) + struct.pack("<H", len(data)) + data for name, data in files.items())


def add_golden(seeds):
    checkpoints = {}
    for path, data in golden_files():
        name = os.path.basename(path)
        if name.endswith(".cairn"):
            seeds.add("index", data)
            seeds.add("directory", pack({"m.cairn": data}))
        elif name == "checkpoint":
            seeds.add("state", data)
            seeds.add("directory", pack({"checkpoint": data}))
        elif name.endswith(".safetensors"):
            seeds.add("safetensors", data)
            seeds.add("directory", pack({"x.safetensors": data}))
        elif name.endswith(".gguf"):
            seeds.add("gguf", data)
        elif name.endswith(".onnx"):
            seeds.add("onnx", data)
        elif name.endswith((".ptd", ".tflite")):
            seeds.add("flat", data)
        elif name.endswith(".h5"):
            seeds.add("hdf5", data)
        elif data[-8:] == bytes.fromhex("57fb808b247547db"):  # a table
            for target in ("table", "bundle", "v1"):
                seeds.add(target, data)
            if not name.endswith(".index"):
                seeds.add("directory", pack({"v1": data}))
        base, dot, member = path.rpartition(".")
        if dot and f"m.{member}" in NAMES:
            checkpoints.setdefault(base, {})[f"m.{member}"] = data
    for files in checkpoints.values():
        if any(name in files for name in ("m.index", "m.cairn")) and sum(map(len, files.values())) <= SMALL:
            seeds.add("directory", pack({name: files[name] for name in NAMES if name in files}))


def add_safetensors(seeds):
    import numpy
    from safetensors.numpy import save
    several = {"a": numpy.arange(6, dtype="float32").reshape(2, 3), "b/c": numpy.zeros((0, 4), "int64"),
               "": numpy.array(7, "uint8"), "ü": numpy.array([True, False])}
    for tensors, metadata in (({}, None), (several, None), (several, {"format": "pt", "k": "\n\"\\ü"})):
        data = save(tensors, metadata)
        seeds.add("safetensors", data)
        seeds.add("directory", pack({"x.safetensors": data}))


def add_numpy(seeds):
    import io
    import numpy
    arrays = (numpy.zeros((2, 3), "<f4"), numpy.asfortranarray(numpy.ones((2, 3), ">i2")), numpy.array(3.5),
              numpy.zeros((0, 4), "u1"), numpy.array([b"ab"]), numpy.array(["x"]), numpy.zeros(2, "V2"),
              numpy.array(["2026-01-01"], "M8[D]"), numpy.zeros(2, [("a", "<i4")]))
    for array in arrays:
        for version in ((1, 0), (2, 0)):
            file = io.BytesIO()
            numpy.lib.format.write_array(file, array, version=version)
            seeds.add("npy", file.getvalue())
    for save in (numpy.savez, numpy.savez_compressed):
        for some in (arrays[:1], arrays[:3], arrays):
            file = io.BytesIO()
            save(file, *some)
            seeds.add("npz", file.getvalue())
            seeds.add("npz", b"prefix" + file.getvalue())


def add_torch(seeds):
    import collections
    import pickle
    import zipfile
    value = {"a": [1, 2.5, None], 1: (b"xy", "ü"), "set": {3}, "od": collections.OrderedDict(x=1), "big": 2**70}
    for protocol in range(6):
        seeds.add("pickle", pickle.dumps(value, protocol))
    import numpy
    for protocol in range(2, 6):
        arrays = {"c": numpy.arange(6, dtype="<f4").reshape(2, 3), "f": numpy.asfortranarray(numpy.ones((2, 3), ">i2")),
                  "n": numpy.float32(1.5), "o": numpy.array([None])}
        for target in ("pickle", "torch"):
            seeds.add(target, pickle.dumps(arrays, protocol))
    folder = os.path.join(GOLDEN, "pytorch")
    for name in sorted(os.listdir(folder)):
        if not zipfile.is_zipfile(os.path.join(folder, name)):
            continue
        with zipfile.ZipFile(os.path.join(folder, name)) as archive:
            for member in archive.namelist():
                if member.endswith("/data.pkl") and archive.getinfo(member).file_size < 2_000:
                    for target in ("pickle", "torch"):
                        seeds.add(target, archive.read(member))
    for name in ("distributed", "distributed_others"):
        files = {}
        for member in (".metadata", "__0_0.distcp", "__1_0.distcp"):
            with open(os.path.join(folder, name, member), "rb") as file:
                files[member] = file.read()
        for member in ("__0_0.distcp", "__1_0.distcp"):
            seeds.add("distributed", struct.pack("<I", len(files[".metadata"])) + files[".metadata"] + files[member])
    meta = ('{"dtype": 7, "sizes": [{"as_int": 4}, {"as_int": 3}], "strides": [{"as_int": 3}, {"as_int": 1}], '
            '"storage_offset": {"as_int": 0}, "layout": 7}')
    seeds.add("exported", ('{"config": {"w": {"path_name": "weight_0", "use_pickle": false, "tensor_meta": %s}}}' % meta).encode())


def add_hdf5(seeds):
    import io
    import h5py
    import numpy
    data = numpy.arange(16, dtype="int8").reshape(4, 4)
    ways = [{"chunks": (4, 4)}]
    for room in (None, (8, 8), (None, 4), (None, None)):
        for more in ({}, {"compression": 1}, {"fletcher32": True, "shuffle": True}):
            ways.append({"chunks": (2, 2), "maxshape": room, **more})
    for libver in ("earliest", "latest"):
        for how in ways:
            file = io.BytesIO()
            with h5py.File(file, "w", libver=libver) as hdf5:
                hdf5.create_dataset("a", data=data, **how)
            seeds.add("hdf5", file.getvalue())
        file = io.BytesIO()
        with h5py.File(file, "w", libver=libver) as hdf5:
            for i in range(12):
                hdf5[f"g/{i}"] = i
                hdf5.attrs[f"k{i}"] = (["x", "yy"], [1.5, 2], True, numpy.bytes_(b"z"))[i % 4]
            hdf5["tied"] = hdf5["g/0"]
            hdf5["soft"] = h5py.SoftLink("/g/0")
            hdf5["type"] = numpy.dtype("<i8")
            hdf5.create_dataset("typed", data=[1], dtype=hdf5["type"])
            hdf5["complex"] = numpy.zeros(1, "c8")
            hdf5["opaque"] = numpy.frombuffer(b"ab", "V2")
        seeds.add("hdf5", file.getvalue())


def varints(numbers):
    out = bytearray()
    for number in numbers:
        while number >= 128:
            out.append(number & 127 | 128)
            number >>= 7
        out.append(number)
    return bytes(out)


def add_by_hand(seeds):
    for count, payload in ((1, b"\x01abcdx"), (2, b"\x03\x00abcdxyz"), (63, varints(range(63)) + b"abcd" + b"x" * 1953)):
        for what in range(4):
            seeds.add("strings", bytes([count << 2 | what]) + payload)
    for name in (b"a", b"layer/w", b"\x00\xff"):
        seeds.add("slice_key", name + b"\\\x00" + bytes(range(64)))
        seeds.add("round_trip", bytes(range(200)) + name)
    body = "cairn journal 1\ncatalog\tcheckpoint\nadding\t17\tm-3\nfile\t12\t-5\t99\t8\tm-3.index\nremoving\tm-1\nleaving\tm-0\n"
    seeds.add("journal", body.encode() + b"sum\t" + b"0" * 32 + b"\n")


def add_object_graphs(seeds):
    import tensorflow as tf
    indexes = [path for path, _ in golden_files() if path.endswith(".index") and "hostile" not in path]
    for index in sorted(indexes):
        reader = tf.train.load_checkpoint(index.removesuffix(".index"))
        if not reader.has_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"):
            continue
        graph = reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
        if len(graph) <= SMALL:
            seeds.add("object_graph", graph + b"\0model/layers/0/kernel")
            seeds.add("object_graph", graph + b"\0w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE")
    seeds.add("object_graph", b"\0a/b")


def main():
    seeds = Seeds(os.path.abspath(sys.argv[1]))
    for adder in (add_golden, add_safetensors, add_numpy, add_hdf5, add_torch, add_by_hand, add_object_graphs):
        adder(seeds)
    print(f"{seeds.count} seeds")


if __name__ == "__main__":
    main()
