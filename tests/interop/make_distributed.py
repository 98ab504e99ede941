"""Writes distributed checkpoints as torch.distributed.checkpoint writes them: tests/golden/pytorch/distributed, and
distributed_others with an object of an unknown class and chunks that do not lie in order.

PyTorch is too large for the environment of these tests, so its classes stand here by their names alone; Python's pickle
does the rest. The values of each tensor count up from 0 in row-major order.

usage: make_distributed.py OUT
"""
import collections
import copyreg
import enum
import io
import os
import pickle
import struct
import sys
import types
import zipfile

METADATA = "torch.distributed.checkpoint.metadata"
FILESYSTEM = "torch.distributed.checkpoint.filesystem"


def module(name):
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
    return sys.modules[name]


def put(name, where, value):
    setattr(module(where), name, value)
    value.__module__, value.__qualname__ = where, name
    return value


def record(name, where):
    return put(name, where, type(name, (), {"__init__": lambda self, **state: self.__dict__.update(state)}))


class Size(tuple):
    def __reduce__(self):
        return Size, (tuple(self),)


class Named:
    """What pickles as a global of torch."""

    def __init__(self, name):
        self.name, self.__module__ = name, "torch"
        setattr(module("torch"), name, self)

    def __reduce__(self):
        return self.name


class Properties:
    def __init__(self, dtype):
        self.dtype = dtype

    def __getstate__(self):
        return self.dtype, STRIDED, False, Encoding.TORCH_CONTIGUOUS_FORMAT, False


class Layout:
    pass


class Encoding(enum.Enum):
    TORCH_CONTIGUOUS_FORMAT = 0

    def __reduce_ex__(self, protocol):
        return Encoding, (self.value,)


put("Size", "torch", Size)
put("TensorProperties", METADATA, Properties)
put("_MEM_FORMAT_ENCODING", METADATA, Encoding)
STRIDED = Layout()
get_layout = put("_get_layout", "torch.serialization", lambda name: STRIDED)
copyreg.pickle(Layout, lambda layout: (get_layout, ("torch.strided",)))
rebuild = {version: put(f"_rebuild_tensor_v{version}", "torch._utils", lambda *arguments: None) for version in (2, 3)}
Metadata, TensorMetadata, BytesMetadata, Chunk, Index, StorageMeta = (record(name, METADATA) for name in (
    "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "MetadataIndex", "StorageMeta"))
StorageInfo = record("_StorageInfo", FILESYSTEM)
# dtype: its storage, and what packs an element; "" and "e": made by version 3.
DTYPES = {"float32": ("FloatStorage", "<f"), "float64": ("DoubleStorage", "<d"), "int32": ("IntStorage", "<i"),
          "float16": ("HalfStorage", "<e"), "bfloat16": ("BFloat16Storage", None), "uint16": ("UntypedStorage", "<H")}
NAMED = {name: Named(name) for name in (*DTYPES, *(storage for storage, _ in DTYPES.values()))}


class Opaque:
    """A class that no reader knows."""

    def __init__(self):
        self.rate = 0.5


put("TrainConfig", "acme.config", Opaque)


def pack(dtype, values):
    if dtype == "bfloat16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return b"".join(struct.pack(DTYPES[dtype][1], value) for value in values)


class Storage:
    def __init__(self, dtype, data):
        self.dtype, self.data = dtype, data


class Pickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, 2)
        self.storages = []

    def persistent_id(self, value):
        if not isinstance(value, Storage):
            return None
        self.storages.append(value)
        storage, _ = DTYPES[value.dtype]
        count = len(value.data) // (1 if storage == "UntypedStorage" else len(pack(value.dtype, [0])))
        return "storage", NAMED[storage], str(len(self.storages) - 1), "cpu", count


class Tensor:
    def __init__(self, dtype, values, shape, strides):
        self.dtype, self.data, self.shape, self.strides = dtype, pack(dtype, values), shape, strides

    def __reduce__(self):
        arguments = Storage(self.dtype, self.data), 0, self.shape, self.strides, False, collections.OrderedDict()
        if self.dtype == "uint16":
            return rebuild[3], (*arguments, NAMED[self.dtype])
        return rebuild[2], arguments


def saved(value):
    """What torch.save writes: an archive whose records begin at multiples of 64."""
    text = io.BytesIO()
    pickler = Pickler(text)
    pickler.dump(value)
    records = {"data.pkl": text.getvalue(), ".format_version": b"1", ".storage_alignment": b"64", "byteorder": b"little",
               **{f"data/{i}": storage.data for i, storage in enumerate(pickler.storages)}, "version": b"3\n"}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in records.items():
            info = zipfile.ZipInfo("archive/" + name)
            head = file.tell() + 30 + len(info.filename) + 4
            padding = -head % 64
            info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            archive.writestr(info, data)
    return file.getvalue()


class Writer:
    def __init__(self):
        self.files = collections.defaultdict(bytes)
        self.entries, self.places = {}, {}

    def put(self, rank, index, data):
        name = f"__{rank}_0.distcp"
        self.places[index] = StorageInfo(relative_path=name, offset=len(self.files[name]), length=len(data))
        self.files[name] += data

    def tensor(self, name, dtype, shape, chunks, transposed=False):
        """`chunks`: rank, offsets and sizes of each."""
        entry = TensorMetadata(properties=Properties(NAMED[dtype]), size=Size(shape), chunks=[])
        self.entries[name] = entry
        for number, (rank, offsets, sizes) in enumerate(chunks):
            strides = [1] * len(sizes)
            for d in reversed(range(len(sizes) - 1)):
                strides[d] = strides[d + 1] * sizes[d + 1]
            positions = [()]
            for size in sizes:
                positions = [(*position, i) for position in positions for i in range(size)]
            if transposed:
                strides = [1, sizes[0]]
                positions.sort(key=lambda position: position[::-1])
            values = []
            for position in positions:
                value = 0
                for d, at in enumerate(position):
                    value = value * shape[d] + offsets[d] + at
                values.append(value)
            entry.chunks.append(Chunk(offsets=Size(offsets), sizes=Size(sizes)))
            self.put(rank, Index(fqn=name, index=number, offset=Size(offsets)),
                     saved(Tensor(dtype, values, tuple(sizes), tuple(strides))))

    def value(self, name, value):
        self.entries[name] = BytesMetadata()
        self.put(0, Index(fqn=name, index=None), saved(value))

    def finish(self, folder):
        metadata = Metadata(
            state_dict_metadata=self.entries, planner_data={name: tuple(name.split(".")) for name in self.entries},
            storage_data=self.places, storage_meta=StorageMeta(checkpoint_id="/checkpoints/step-7", save_id="0", load_id=None, modules=[]),
            version="1.0.0")
        os.makedirs(folder, exist_ok=True)
        for name, data in {**self.files, ".metadata": pickle.dumps(metadata, 4)}.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)


def main():
    writer = Writer()
    writer.value("step", 7)
    writer.value("optimizer.param_groups.0.betas", (0.9, 0.999))
    writer.tensor("rows", "float32", (5, 4), [(0, (0, 0), (3, 4)), (1, (3, 0), (2, 4)), (1, (5, 0), (0, 4))])
    writer.tensor("grid", "int32", (4, 6), [(r, (2 * r, 3 * c), (2, 3)) for r in (0, 1) for c in (0, 1)])
    writer.tensor("one", "bfloat16", (5,), [(1, (0,), (5,))])
    writer.tensor("scalar", "float64", (), [(0, (), ())])
    writer.tensor("empty", "float32", (0, 3), [(0, (0, 0), (0, 3))])
    writer.tensor("version_3", "uint16", (3, 2), [(0, (0, 0), (2, 2)), (1, (2, 0), (1, 2))])
    writer.tensor("transposed", "float32", (3, 4), [(0, (0, 0), (3, 4))], transposed=True)
    writer.finish(os.path.join(sys.argv[1], "distributed"))
    writer = Writer()
    writer.value("config", Opaque())
    writer.tensor("columns", "float16", (4, 4), [(0, (0, 0), (4, 2)), (1, (0, 2), (4, 2))], transposed=True)
    writer.finish(os.path.join(sys.argv[1], "distributed_others"))


if __name__ == "__main__":
    main()
