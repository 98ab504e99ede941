"""TensorStore's OCDBT, as Orbax uses it: one database with a zarr array for each tensor. A path is its directory.

Each array is one chunk, without compression, since noise does not compress; each question has a context, and so caches,
of its own. All arrays are opened and read at the same time, on TensorStore's threads. OCDBT has checksums over its tree
but none over the arrays.

open     opening the database, then looking for a key that is not there: opening alone reads nothing
list     open, then the names; shapes would cost a read for each tensor, and are left out
one      opening one array and reading it, into a numpy array
touch    as restore: TensorStore has no mapped tensors, its reading is the touching
copy     reading all arrays into numpy arrays of the caller's, allocated and touched before
restore  reading all arrays into new numpy arrays; names are known before, as they are to who has the model
save     writing all arrays in one transaction, with file_io_sync off; save_sync: with it on, which is the default
prepare  save_sync of what the safetensors file holds

Reading many small arrays takes 0.4 ms for each: above MANY_ARRAYS they are not read, nor saved.
"""
import functools
import importlib.metadata

from peer import Skip, prepared, serve

import numpy
import tensorstore as ts
from safetensors.numpy import load_file

MANY_ARRAYS = 10_000
SUFFIX = "/.zarray"


def database(path):
    return {"driver": "ocdbt", "base": f"file://{path}/"}


def spec(path, name):
    return {"driver": "zarr", "kvstore": {**database(path), "path": f"{name}/"}}


def open_database(path):
    return ts.KvStore.open(database(path), context=ts.Context()).result()


def names_in(store):
    keys = (key.decode() for key in store.list().result())
    return [key.removesuffix(SUFFIX) for key in keys if key.endswith(SUFFIX)]


@functools.lru_cache(maxsize=8)  # so that a cold question does not begin by reading the tree
def wanted(path):
    names = names_in(open_database(path))
    if len(names) > MANY_ARRAYS:
        raise Skip(f"{len(names)} arrays would take {len(names) * 0.0004:.0f} s")
    return names


def open_all(path, names):
    context = ts.Context()
    return [ts.open(spec(path, name), open=True, read=True, context=context) for name in names]


def read_all(path, names):
    arrays = [array.result().read() for array in open_all(path, names)]
    return [array.result() for array in arrays]


def write_all(path, arrays, sync):
    """Writes into a new database, in one transaction."""
    context, transaction = ts.Context({"file_io_sync": sync}), ts.Transaction()
    opened = [ts.open(spec(path, name), create=True, context=context, transaction=transaction, dtype=array.dtype,
                      shape=array.shape, chunk_layout=ts.ChunkLayout(chunk_shape=array.shape),
                      codec=ts.CodecSpec({"driver": "zarr", "compressor": None})) for name, array in arrays.items()]
    for write in [array.result().write(source) for array, source in zip(opened, arrays.values())]:
        write.copy.result()
    transaction.commit_sync()


def open_(request):
    def ask():
        store = open_database(request.path)
        return store, store.read(b"").result()
    return ask


def list_(request):
    def ask():
        store = open_database(request.path)
        return store, names_in(store)
    return ask


def one(request):
    return lambda: read_all(request.path, [request.tensor])


def copy(request):
    names = wanted(request.path)
    into = [ts.array(numpy.ones_like(array), write=True) for array in read_all(request.path, names)]

    def ask():
        arrays = open_all(request.path, names)
        writes = [target.write(array.result()) for target, array in zip(into, arrays)]
        return arrays, [write.result() for write in writes]
    return ask


def restore(request):
    names = wanted(request.path)
    return lambda: read_all(request.path, names)


def save(request):
    names = wanted(request.path)
    arrays = dict(zip(names, read_all(request.path, names)))
    return lambda directory: write_all(directory, arrays, sync=request.question == "save_sync")


def prepare(request):
    return prepared(request, ".ocdbt", lambda path: write_all(path, load_file(request.path), sync=True))


serve({"tensorstore": importlib.metadata.version("tensorstore"), "numpy": numpy.__version__},
      {"open": open_, "list": list_, "one": one, "touch": restore, "copy": copy, "restore": restore},
      {"save": save, "save_sync": save}, prepare)
