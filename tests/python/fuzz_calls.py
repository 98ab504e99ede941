"""The right calls of the fuzz run, and what their values must be."""
import functools
import gc
import glob
import os
import pickle

import numpy as np

import cairn_store
import cairn_store.safetensors as safetensors
import cairn_store.safetensors.numpy as safetensors_numpy
import cairn_store.tensorflow as tensorflow
import fuzz_wrong
from support import GOLDEN, PLAIN

NAMES = ["w", "layer/0/kernel", "ü", "w\udcff", "a b", "x" * 300, "b", "c"]
SAFE = [np.dtype(kind) for kind in PLAIN if np.dtype(kind).name not in ("complex128", "float8_e4m3b11fnuz")]
FILES = ["gguf/types.gguf", "onnx/raw.onnx", "flat/dtypes.ptd", "tensorflow/v1/old.ckpt-3", "tensorflow/sharded/shard-42",
         "tensorflow/partitioned/part"]


class Enough(Exception):
    """What a progress callback raises."""


class Stored:
    """A checkpoint, and numpy's copies of what is in it."""

    def __init__(self, path, tensors, form="cairn"):
        self.path = path
        self.tensors = tensors
        self.form = form


def prepare(shared):
    """What all threads use."""
    os.mkdir(os.path.join(shared.folder, "all"))
    shared.path = os.path.join(shared.folder, "all/m-1")
    shared.tensors = {"w": np.arange(12, dtype=np.float32).reshape(4, 3), "s": np.array([b"a", b"b" * 300], object),
                      "large": np.arange(90_000, dtype=np.int16), "n": np.array(7)}
    cairn_store.save(shared.path, shared.tensors)
    shared.opened = cairn_store.open(shared.path)
    shared.writable = cairn_store.open(shared.path, access="private")
    shared.saver = cairn_store.Saver(os.path.join(shared.folder, "all/runs"), [cairn_store.newest(2)])
    shared.watcher = cairn_store.Watcher(os.path.join(shared.folder, "all/runs"), timeout=0)
    shared.contested = os.path.join(shared.folder, "all/contested")
    cairn_store.save(shared.contested, {"a": np.zeros(500), "b": np.zeros(500)})
    shared.golden = []
    for name in FILES:
        place = os.path.join(GOLDEN, name)
        opened = cairn_store.open(place)
        shared.golden.append(Stored(place, {one.name: one.numpy().copy() for one in opened.values()}, "golden"))


def expect(truth, *told):
    if not truth:
        raise AssertionError("a wrong answer: " + ", ".join(ascii(one)[:300] for one in told))


def same(array, wanted):
    """The same dtype, shape and bits."""
    expect(isinstance(array, np.ndarray) and (array.dtype, array.shape) == (wanted.dtype, wanted.shape), array, wanted)
    if wanted.dtype == object:
        expect(array.tolist() == wanted.tolist(), array, wanted)
    else:
        expect(array.tobytes() == wanted.tobytes(), array, wanted)


def _array(player, dtypes=None, strings=True):
    choose = player.random
    shape = tuple(choose.randrange(6) for _ in range(choose.randrange(4)))
    if choose.randrange(12) == 0:
        shape = (choose.choice([70_001, 20_000, 600_000]),)
    count = int(np.prod(shape, dtype=int))
    if strings and choose.randrange(10) == 0:
        made = np.empty(min(count, 50), object)
        made[:] = [choose.randbytes(choose.choice([0, 3, 400])) for _ in range(made.size)]
        return made
    dtype = choose.choice(dtypes or [np.dtype(kind) for kind in PLAIN])
    raw = np.frombuffer(choose.randbytes(count * dtype.itemsize), np.uint8)
    if dtype == np.bool_:
        raw = raw & 1
    return raw.view(dtype).reshape(shape).copy()


def _arrays(player):
    return {name: _array(player) for name in player.random.sample(NAMES, player.random.randrange(1, 5))}


def _safe_arrays(player):
    """Of dtypes and names that safetensors has."""
    names = player.random.sample([name for name in NAMES if name.isprintable()], player.random.randrange(1, 5))
    return {name: _array(player, dtypes=SAFE, strings=False) for name in names}


def _progress(player):
    """None, or a callback that watches, collects, calls Cairn or raises; and what it may raise."""
    def nested(done, total):
        expect(0 <= done <= total, done, total)
        same(player.shared.opened["w"].numpy(), player.shared.tensors["w"])

    def raising(done, total):
        raise Enough

    return player.random.choice([None, None, None, lambda *_: gc.collect(), nested, raising])


def _stored(player):
    """A checkpoint of this thread, or one of the recorded ones."""
    if not player.stored or player.random.randrange(6) == 0:
        return player.random.choice(player.shared.golden)
    return player.random.choice(player.stored)


def _opened(player, stored, **words):
    """Opens, and compares what the index says."""
    choose = player.random
    words = {"access": choose.choice(["shared", "private", "copy"]), "verify": choose.choice(["lazy", "full", "none"]),
             "threads": choose.randrange(4), **words}
    opened = cairn_store.open(stored.path, **words)
    expect(set(opened) == set(stored.tensors), list(opened), list(stored.tensors))
    return opened


def _check_checkpoint(stored, opened):
    expect(opened.names() == list(opened) and set(opened.names()) == set(stored.tensors), opened.names())
    for name in sorted(stored.tensors)[:3]:
        same(opened[name].numpy(), stored.tensors[name])


def _hold_checkpoint(player, stored, opened):
    player.hold(opened, functools.partial(_check_checkpoint, stored))


def _hold_array(player, array, wanted):
    player.hold(array, functools.partial(lambda wanted, held: same(held, wanted), wanted))


def _hold_tensor(player, tensor, wanted):
    player.hold(tensor, functools.partial(lambda wanted, held: same(held.numpy(), wanted), wanted))


def save(player):
    given = _arrays(player)
    place = player.path()
    if player.stored and player.random.randrange(4) == 0:
        replaced = player.stored.pop(player.random.randrange(len(player.stored)))
        place = replaced.path if replaced.form == "cairn" else place
    try:
        cairn_store.save(place, given, step=player.random.choice([None, 7]), metadata={"k": "v", "ü": ""},
                         tensorflow_index=player.random.randrange(2) == 0, threads=player.random.randrange(3),
                         progress=_progress(player))
    except Enough:
        return
    player.stored.append(Stored(place, given))
    _hold_checkpoint(player, player.stored[-1], _opened(player, player.stored[-1]))


def open_(player):
    stored = _stored(player)
    try:
        _hold_checkpoint(player, stored, _opened(player, stored, progress=_progress(player)))
    except Enough:
        pass


def expected(player):
    stored = _stored(player)
    opened = _opened(player, stored)
    wanted = {name: (opened[name].dtype, opened[name].shape) for name in opened}
    if all(dtype in ("float32", "int64", "bool") for dtype, _ in wanted.values()):
        cairn_store.open(stored.path, expected=wanted)
    try:
        cairn_store.open(stored.path, expected={"not there": ("float32", (3,))})
    except cairn_store.InvalidError:
        return
    raise AssertionError("other tensors than expected, and no InvalidError")


def restore(player):
    stored = _stored(player)
    try:
        done = cairn_store.restore(stored.path, method=player.random.choice([None, "map", "populate", "read"]),
                                   threads=player.random.randrange(4), progress=_progress(player))
    except Enough:
        return
    expect(done.method and done.reason and done.file_system, done)
    _hold_checkpoint(player, stored, done.checkpoint)


def ask(player):
    """What a checkpoint says of itself."""
    stored = _stored(player)
    opened = _opened(player, stored)
    with opened as entered:
        expect(entered is opened and len(opened) == len(stored.tensors), opened)
    expect({name: tensor.shape for name, tensor in opened.items()} == {one.name: one.shape for one in opened.tensors()})
    expect("not there" not in opened and opened.get("not there") is None and stored.path.startswith(opened.path), opened)
    expect(isinstance(opened.metadata, dict) and isinstance(opened.safetensors_metadata, dict) and opened.format)
    expect(all(size >= 0 for _, size in opened.shards) and isinstance(opened.warnings, list) and not opened.faulted)
    expect(opened.step is None or opened.step >= 0, opened.step)
    opened.resident_bytes()
    opened.prefetch(player.random.choice([None, [next(iter(opened))]]), threads=1)
    expect(repr(opened).startswith("<cairn_store.Checkpoint"))
    try:
        expect(bool(opened.verify(threads=player.random.randrange(3), progress=_progress(player))), "damage")
    except Enough:
        pass
    try:
        pickle.dumps(opened)
    except TypeError:
        pass
    else:
        raise AssertionError("pickled")
    for name, array in opened.numpy().items():
        same(array, stored.tensors[name])
        if player.random.randrange(4) == 0:
            _hold_array(player, array, stored.tensors[name])


def tensor(player):
    """What a tensor says of itself, and its array."""
    stored = _stored(player)
    opened = _opened(player, stored)
    name = player.random.choice(sorted(stored.tensors))
    wanted = stored.tensors[name]
    one = opened[name.encode("utf-8", "surrogateescape") if player.random.randrange(2) else name]
    expect(one.name == name and repr(one).startswith("<cairn_store.Tensor"), one)
    expect(one.ndim == len(one.shape) and one.size == int(np.prod(one.shape, dtype=int)), one)
    expect(one.writable in (True, False) and one.offset >= 0 and isinstance(one.shard, str), one)
    expect(one.crc32c is None or one.crc32c >= 0 and (one.content_hash is None or len(one.content_hash) == 16), one)
    if one.numpy_dtype is not None:
        expect((one.shape, one.strides, one.nbytes) == (wanted.shape, np.empty_like(wanted, order="C").strides, wanted.nbytes)
               or wanted.size == 0 or stored.form == "golden", one.strides, wanted.strides)
        expect(one.tobytes() == wanted.tobytes() or stored.form == "golden", one, wanted)
    if one.shape:
        expect(len(one) == one.shape[0], one)
    for make in (one.numpy, lambda: np.asarray(one), lambda: np.array(one, copy=True), one.unpack, one.dequantize, one.torch):
        if player.random.randrange(2):
            continue
        try:
            array = make()
        except (cairn_store.UnsupportedError, ImportError):
            continue
        if make not in (one.unpack, one.dequantize, one.torch):
            _hold_array(player, array, wanted)
            _hold_buffer(player, array, wanted)
    _hold_tensor(player, one, wanted)


def _hold_buffer(player, array, wanted):
    """Part of the array by the buffer protocol, which alone keeps the mapping."""
    if wanted.dtype.kind in "biuf" and wanted.dtype.isbuiltin == 1 and wanted.ndim:
        player.hold(memoryview(array)[1:], functools.partial(
            lambda bits, held: expect(held.tobytes() == bits, held), wanted[1:].tobytes()))


def _index(player, shape):
    def item(size):
        kind = player.random.randrange(4)
        if kind == 0 and size:
            return player.random.randrange(-size, size)
        if kind == 1:
            return slice(None)
        ends = [player.random.choice([None, player.random.randrange(-size - 2, size + 3)]) for _ in range(2)]
        return slice(*ends, player.random.randrange(1, 4))

    index = tuple(item(size) for size in shape[:player.random.randrange(len(shape) + 1)])
    return index if player.random.randrange(3) else (*index, ...)


def slices(player):
    stored = _stored(player)
    name = player.random.choice(sorted(stored.tensors))
    one = _opened(player, stored)[name]
    wanted = stored.tensors[name]
    if one.shape != wanted.shape:
        return  # packed elements and blocks
    for _ in range(4):
        index = _index(player, wanted.shape)
        part = np.asarray(wanted[index], wanted.dtype)
        same(np.asarray(one[index], part.dtype), part)  # numpy gives the element itself where no dimension is left
        out = np.empty(part.shape, part.dtype)
        expect(one.read(index, out) is out, index)
        same(out, part)


def dlpack(player):
    choose = player.random
    stored = _stored(player)
    name = choose.choice(sorted(stored.tensors))
    opened = _opened(player, stored)
    wanted = stored.tensors[name]
    expect(opened[name].__dlpack_device__() == (1, 0))
    try:
        array = np.from_dlpack(opened[name], copy=choose.choice([None, True, False]))
    except (BufferError, RuntimeError) as refused:  # RuntimeError: numpy's, for what it cannot take
        expect(not isinstance(refused, RuntimeError) or wanted.dtype.isbuiltin != 1, refused)
    else:
        if stored.form != "golden" or array.dtype == wanted.dtype:
            _hold_array(player, array, wanted)
    for version, copy in (((1, 0), None), (None, None), ((0, 8), True), ((5, 0), True)):
        try:
            capsule = opened[name].__dlpack__(max_version=version, copy=copy)
        except BufferError:
            continue
        player.hold(capsule, lambda held: expect("dltensor" in repr(held), held))


def write(player):
    """Arrays of a private checkpoint may be written, and the file does not change."""
    stored = _stored(player)
    opened = cairn_store.open(stored.path, access="private")
    name = player.random.choice(sorted(stored.tensors))
    array = opened[name].numpy()
    wanted = stored.tensors[name]
    if wanted.dtype == object or not array.flags.writeable or not array.size:
        return
    raw = array.reshape(-1).view(np.uint8)
    raw[:] = 1
    del opened
    expect(bool((raw == 1).all()), name)
    same(_opened(player, stored, access="shared")[name].numpy(), wanted)
    player.hold(raw, lambda held: expect(bool((held == 1).all()), held))


def convert(player):
    stored = _stored(player)
    form = player.random.choice(["cairn", "tensorflow", "safetensors", "npz"])
    place = player.path({"safetensors": ".safetensors", "npz": ".npz"}.get(form, ""))
    if form == "safetensors" and player.random.randrange(3) == 0:
        place = player.path()
    try:
        done = cairn_store.convert(stored.path, place, form, allow_lossy=True, threads=player.random.randrange(3),
                                   max_shard_bytes=500 if not place.endswith(".safetensors") and form == "safetensors" else 0,
                                   progress=_progress(player))
    except (cairn_store.UnsupportedError, cairn_store.InvalidError, Enough):
        return
    opened = cairn_store.open(done.path)
    expect(set(opened) | set(done.tensors_left_out) == set(stored.tensors), done, list(opened))
    for name, array in opened.numpy().items():
        if stored.tensors[name].dtype == object:
            same(array, stored.tensors[name])
        else:
            expect(array.tobytes() == stored.tensors[name].tobytes(), form, name, array, stored.tensors[name])


def indexes(player):
    """Import and export: another index beside the same bytes."""
    given = _safe_arrays(player)
    place = player.path(".safetensors")
    safetensors_numpy.save_file(given, place)
    made = Stored(place, given, "safetensors")
    before = _opened(player, made)
    told = cairn_store.import_index(place, sums=player.random.randrange(2) == 0, threads=1)
    expect(told.payload_bytes_copied == 0 and os.path.exists(place + ".cairn"), told)
    _hold_checkpoint(player, made, before)
    _hold_checkpoint(player, made, _opened(player, made))
    player.stored.append(made)
    if player.stored and (stored := _stored(player)).form == "cairn":
        try:
            told = cairn_store.export_index(stored.path, "safetensors", output=player.path(), allow_lossy=True)
        except (cairn_store.UnsupportedError, cairn_store.ExistsError, cairn_store.InvalidError):
            return
        exported = cairn_store.open(told.path)
        for name, array in exported.numpy().items():
            same(array, stored.tensors[name])


def saver(player):
    """A directory over time, with TensorFlow's names over the same directory."""
    if "runs" not in player.places:
        folder = player.path()
        player.places["runs"] = (cairn_store.Saver(folder, [cairn_store.newest(2)]), cairn_store.Watcher(folder, timeout=0),
                                 tensorflow.CheckpointManager(lambda: {"w": np.arange(3)}, player.path(), 2))
    saving, watcher, manager = player.places["runs"]
    given = _arrays(player)
    words = {"step": player.files, "metrics": {"loss": player.random.random()}, "metadata": {"a": "b"}}
    if player.random.randrange(2):
        pending = saving.save_async("m", given, **words)
        for array in given.values():
            if array.dtype != object and array.size and player.random.randrange(2):
                kept = array.copy()
                array.reshape(-1).view(np.uint8)[:] = 1  # the save has copied it
                given = {**given, **{name: kept for name, one in given.items() if one is array}}
        if player.random.randrange(4) == 0:
            return  # nobody waits
        done = pending.wait()
        expect(pending.done() and pending.wait() == done, done)
    else:
        done = saving.save("m", given, **words)
    _hold_checkpoint(player, Stored(done.path, given), cairn_store.open(done.path))
    expect(saving.checkpoints() == done.kept and len(done.kept) <= 2, done)
    folder = os.path.dirname(done.path)
    expect(cairn_store.latest_checkpoint(folder) == tensorflow.latest_checkpoint(folder) == done.path, done)
    expect(tensorflow.get_checkpoint_state(folder).all_model_checkpoint_paths == done.kept, done)
    expect(next(tensorflow.checkpoints_iterator(folder, timeout=0)) == done.path, done)
    expect(watcher.wait(0) in (None, *done.kept) and isinstance(watcher.cursor, str), done.kept)
    saving.pin(done.path)
    expect(all(isinstance(one.why, str) for one in saving.prune(dry_run=player.random.randrange(2) == 0)))
    saving.pin(done.path, False)
    same(tensorflow.load_variable(manager.save(), "w"), np.arange(3))
    expect(len(manager.checkpoints) <= 2 and manager.latest_checkpoint == manager.checkpoints[-1], manager.checkpoints)


def together(player):
    """One prefix that every thread saves, one Saver and one Watcher that all of them call."""
    shared = player.shared
    cairn_store.save(shared.contested, {name: np.full(500, float(player.calls)) for name in "ab"})
    opened = cairn_store.open(shared.contested)
    a, b = opened["a"].numpy(), opened["b"].numpy()
    expect(a.tobytes() == b.tobytes() and bool((a == a[0]).all()), a, b)
    try:
        shared.saver.save("m", {"w": np.arange(5)}, step=player.random.randrange(100))
        shared.saver.checkpoints()
        shared.watcher.wait(0)
        expect(isinstance(shared.watcher.cursor, str))
        shared.saver.save_async("n", {"w": np.arange(5)}).wait()
        shared.saver.prune()
    except cairn_store.BusyError:
        pass
    for name, wanted in shared.tensors.items():
        same(player.random.choice([shared.opened, shared.writable])[name].numpy(), wanted)


def readers(player):
    """TensorFlow's reader."""
    stored = _stored(player)
    reader = tensorflow.load_checkpoint(stored.path)
    expect(set(reader.get_variable_to_shape_map()) == set(reader.get_variable_to_dtype_map()) == set(stored.tensors))
    expect(reader.debug_string().count("\n") >= len(stored.tensors))
    for name in player.random.sample(sorted(stored.tensors), 1):
        expect(reader.has_tensor(name), name)
        value = reader.get_tensor(name)
        wanted = stored.tensors[name]
        same(np.asarray(value, wanted.dtype).reshape(wanted.shape), wanted)


def files(player):
    """The names of safetensors."""
    choose = player.random
    given = _safe_arrays(player)
    place = player.path(".safetensors")
    safetensors_numpy.save_file(given, place, {"k": "v"})
    data = safetensors_numpy.save(given, choose.choice([None, {"k": "v"}]))
    for name, array in safetensors_numpy.load(data).items():
        _hold_array(player, array, given[name])
    expect({name: bytes(one["data"]) for name, one in safetensors.deserialize(data)}
           == {name: array.tobytes() for name, array in given.items()})
    backend = choose.choice(["mmap", "pread"])
    with safetensors.safe_open(place, "np", backend=backend) as opened:
        expect(set(opened.keys()) == set(opened.offset_keys()) == set(given) and opened.metadata() == {"k": "v"})
        for name, wanted in given.items():
            part = opened.get_slice(name)
            expect(part.get_shape() == list(wanted.shape) and part.get_dtype(), part)
            if wanted.ndim:
                same(part[:1] if wanted.shape[0] else part[...], wanted[:1])
            _hold_array(player, opened.get_tensor(name), wanted)
    for name, array in safetensors_numpy.load_file(place, backend=backend).items():
        _hold_array(player, array, given[name])
    with open(place, "rb") as file:
        expect(set(safetensors._safe_open_handle(file, "np").get_tensors()) == set(given))
    player.stored.append(Stored(place, given, "safetensors"))


def unlink(player):
    """Removes the files of a checkpoint; what is held of it stays."""
    if len(player.stored) < 4:
        return
    stored = player.stored.pop(player.random.randrange(len(player.stored)))
    one = _opened(player, stored)
    for place in glob.glob(glob.escape(stored.path) + "*"):
        if not place.removeprefix(stored.path)[:1].isdigit():
            os.unlink(place)
    _hold_checkpoint(player, stored, one)


CALLS = [(save, 6), (open_, 8), (expected, 2), (restore, 3), (ask, 4), (tensor, 12), (slices, 8), (dlpack, 8), (write, 3),
         (convert, 3), (indexes, 3), (saver, 2), (together, 2), (readers, 3), (files, 4), (unlink, 2),
         (fuzz_wrong.damaged, 3)]
