"""The wrong calls of the fuzz run: arguments of wrong types, sizes and values, and the exceptions that may answer them."""
import math
import os

import numpy as np

import cairn_store
import cairn_store.safetensors as safetensors
import cairn_store.safetensors.numpy as safetensors_numpy
import cairn_store.tensorflow as tensorflow

# Cairn's own, and those by which Python answers an argument of another type or value. No RuntimeError, no SystemError.
ANSWERS = (cairn_store.CairnError, TypeError, ValueError, LookupError, AttributeError, OverflowError, BufferError, OSError)


class Raised(TypeError):
    """What the arguments below raise themselves."""


class Raises:
    """An argument whose every use raises."""

    def _raise(self, *_, **__):
        raise Raised("an argument that raises")

    __index__ = __int__ = __float__ = __bool__ = __len__ = __iter__ = __getitem__ = __fspath__ = _raise
    __array__ = __dlpack__ = __call__ = __str__ = __eq__ = __contains__ = items = keys = _raise
    __hash__ = object.__hash__


class PathOfNumber:
    def __fspath__(self):
        return 5


class Text(str):
    pass


def _junk(player):
    """Something that fits nowhere or in few places."""
    choose = player.random
    kinds = [
        lambda: choose.choice([None, True, -1, 0, 1, 5, 255, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 2**200, -2**31, -2**63,
                               -2**63 - 1]),
        lambda: choose.choice([1.5, -0.0, math.nan, math.inf, -math.inf, 1e300, -1e300, 1e15, 2j]),
        lambda: choose.choice(["", "x", ".", "a/b", "x\0y", "\ud800", "\udcff", "ü" * 3, "x" * 5000, "a\nb", Text("x")]),
        lambda: choose.choice([b"", b"x", b"\xff\xfe", b"\0", b"x" * 5000, bytearray(b"xyz"), memoryview(b"abc")]),
        lambda: choose.choice([[], [None], [5], [[]], ["x", 5], (), (None,), (1, 2, 3), {}, {"a": 1}, {5: "x"}, {"a": None},
                               {"x"}, {"w": ("float32", (3,))}, {"w": ("float32", (2**70, -1))}, {"\ud800": "\ud800"},
                               {"w": np.zeros(2)}, {"a": math.nan}, [("a", "b")], range(3)]),
        lambda: choose.choice([slice(None), slice(0, 2**70), slice("a", None), slice(None, None, 0), ..., (..., ...),
                               (0,) * 70, (slice(None), 2**100), -2**63]),
        lambda: choose.choice([np.zeros(0), np.zeros((2, 3), np.float32)[:, ::2], np.zeros(3, "M8[s]"), np.zeros(2, ">f8"),
                               np.array([1, "x"], object), np.zeros(2, [("a", "i4")]), np.float32(2), np.array("text"),
                               np.zeros((0, 5), np.uint8), np.zeros(4, np.uint8)]),
        lambda: choose.choice([object(), Raises(), PathOfNumber(), repr, int, len, cairn_store, lambda: 1, (x for x in "ab"),
                               NotImplemented, cairn_store.newest(1), cairn_store.Retention(()),
                               cairn_store.Retention(("best", "x")), cairn_store.Retention(("hours", "x")),
                               cairn_store.Retention((5, 5))]),
        lambda: choose.choice([player.shared.opened, player.shared.opened["w"], player.shared.opened["w"].numpy()]),
    ]
    return choose.choice(kinds)()


def _closed(player):
    place = player.places.setdefault("closed", player.path(".safetensors"))
    if not os.path.exists(place):
        safetensors_numpy.save_file({"w": np.arange(3)}, place)
    with safetensors.safe_open(place, "np") as opened:
        return opened


def _file(player):
    place = player.places.setdefault("file", player.path(".safetensors"))
    if not os.path.exists(place):
        safetensors_numpy.save_file({"w": np.arange(6).reshape(2, 3), "v": np.zeros(2)}, place, {"k": "v"})
    return place


def _saver(player):
    if "saver" not in player.places:
        player.places["saver"] = cairn_store.Saver(player.path())
    return player.places["saver"]


def _spec(player):
    kept = player.places.setdefault("kept", np.arange(8.0))
    words = {"dtype": "float64", "shape": [8]}
    for place in words:
        if player.random.randrange(2):
            words[place] = _junk(player)
    return safetensors.TensorSpec(**words, data_ptr=kept.ctypes.data, data_len=player.random.choice([0, 8, 64]))


def _save_words(player):
    return {"step": 5, "metadata": {"a": "b"}, "safetensors_metadata": {"a": "b"}, "tensorflow_index": True, "replace": True,
            "lock_wait": 1.0, "threads": 1, "progress": None}


def _kept_words(player):
    return {"step": 5, "metrics": {"loss": 1.0}, "metadata": {"a": "b"}, "safetensors_metadata": {"a": "b"},
            "pinned": False, "replace": True}


_TENSORS = {"w": np.arange(3)}
_OPEN = {"access": "shared", "verify": "lazy", "follow_links": False, "expected": None, "threads": 1, "progress": None}
_RESTORE = {"method": "read", "verify": "full", "follow_links": False, "expected": None, "threads": 1, "progress": None}
_CONVERT = {"tensors": ["w"], "casts": None, "max_shard_bytes": 0, "allow_lossy": True, "replace": True,
            "follow_links": False, "threads": 1, "progress": None}
_INDEX = {"output": None, "allow_lossy": True, "replace": True, "follow_links": False, "threads": 1, "progress": None}

# Each gives a function, and right arguments of it. Left out on purpose: addresses (data_ptr), and long waits.
_RIGHT = [
    lambda p: (cairn_store.open, [p.shared.path], dict(_OPEN)),
    lambda p: (cairn_store.restore, [p.shared.path], dict(_RESTORE)),
    lambda p: (cairn_store.save, [p.path(), dict(_TENSORS)], _save_words(p)),
    lambda p: (lambda item: cairn_store.save(p.path(), {"w": item}), [5], {}),
    lambda p: (lambda name: cairn_store.save(p.path(), {name: 5}), ["w"], {}),
    lambda p: (cairn_store.convert, [p.shared.path, p.path(), "cairn"], dict(_CONVERT)),
    lambda p: (cairn_store.convert, [_file(p), p.path(".npz"), "npz"], dict(_CONVERT)),
    lambda p: (cairn_store.import_index, [_file(p)], {**_INDEX, "output": p.path(), "sums": True}),
    lambda p: (cairn_store.export_index, [p.shared.path, "tensorflow"], {**_INDEX, "output": p.path(), "link": "auto"}),
    lambda p: (cairn_store.latest_checkpoint, [p.folder, "checkpoint"], {}),
    lambda p: (cairn_store.Saver, [p.path(), [cairn_store.newest(2)]],
               {"latest_filename": "checkpoint", "tensorflow_index": True, "lock_wait": 1.0}),
    lambda p: (lambda count: cairn_store.Saver(p.path(), [cairn_store.newest(count)]), [1], {}),
    lambda p: (lambda steps: cairn_store.Saver(p.path(), [cairn_store.every_steps(steps)]), [1], {}),
    lambda p: (lambda hours: cairn_store.Saver(p.path(), [cairn_store.every_hours(hours)]), [1], {}),
    lambda p: (lambda *best: cairn_store.Saver(p.path(), [cairn_store.best_by(*best, highest=True)]), ["loss", 1], {}),
    lambda p: (lambda *rule: cairn_store.Saver(p.path(), [cairn_store.tensorflow_saver(*rule)]), [1, 0], {}),
    lambda p: (lambda *rule: cairn_store.Saver(p.path(), [cairn_store.tensorflow_manager(*rule)]), [1, 0], {}),
    lambda p: (_saver(p).save, ["m", dict(_TENSORS)], {**_kept_words(p), "threads": 1, "progress": None}),
    lambda p: (_saver(p).save_async, ["m", dict(_TENSORS)], _kept_words(p)),
    lambda p: (_saver(p).pin, [p.folder, True], {}),
    lambda p: (_saver(p).prune, [True], {}),
    lambda p: (cairn_store.Watcher, [p.folder],
               {"timeout": 0, "only_latest": False, "cursor": "", "latest_filename": "checkpoint", "poll": 1.0}),
    lambda p: (p.shared.opened.__getitem__, ["w"], {}),
    lambda p: (p.shared.opened.__contains__, ["w"], {}),
    lambda p: (p.shared.opened.get, ["w", None], {}),
    lambda p: (p.shared.opened.verify, [], {"threads": 1, "progress": None}),
    lambda p: (p.shared.opened.prefetch, [["w"]], {"threads": 1, "progress": None}),
    lambda p: (p.shared.opened["w"].__getitem__, [0], {}),
    lambda p: (p.shared.opened["s"].__getitem__, [0], {}),
    lambda p: (p.shared.opened["w"].read, [...], {"out": np.empty((4, 3), np.float32)}),
    lambda p: (p.shared.opened["s"].read, [...], {"out": np.empty(2, object)}),
    lambda p: (p.shared.opened["w"].__array__, [np.float32], {"copy": None}),
    lambda p: (p.shared.opened["w"].__dlpack__, [], {"stream": None, "max_version": (1, 0), "dl_device": (1, 0), "copy": None}),
    lambda p: (tensorflow.load_checkpoint, [p.shared.path], {}),
    lambda p: (tensorflow.list_variables, [p.shared.path], {}),
    lambda p: (tensorflow.load_variable, [p.shared.path, "w"], {}),
    lambda p: (tensorflow.load_checkpoint(p.shared.path).get_tensor, ["w"], {}),
    lambda p: (tensorflow.load_checkpoint(p.shared.path).has_tensor, ["w"], {}),
    lambda p: (tensorflow.latest_checkpoint, [p.folder, None], {}),
    lambda p: (tensorflow.get_checkpoint_state, [p.folder, None], {}),
    lambda p: (tensorflow.CheckpointManager, [dict(_TENSORS), p.path(), 2, None, "ckpt"], {}),
    lambda p: (lambda *args: tensorflow.CheckpointManager(args[0], p.path(), 2).save(args[1]), [dict(_TENSORS), 5], {}),
    lambda p: (lambda folder: next(tensorflow.checkpoints_iterator(folder, timeout=0), None), [p.folder], {}),
    lambda p: (safetensors.safe_open, [_file(p), "np", "cpu"], {"backend": "mmap"}),
    lambda p: (safetensors.safe_open(_file(p), "np").get_tensor, ["w"], {}),
    lambda p: (safetensors.safe_open(_file(p), "np").get_slice, ["w"], {}),
    lambda p: (safetensors.safe_open(_file(p), "np").get_slice("w").__getitem__, [0], {}),
    lambda p: (_closed(p).get_tensor, ["w"], {}),
    lambda p: (lambda _: _closed(p).keys(), [0], {}),
    lambda p: (lambda _: _closed(p).metadata(), [0], {}),
    lambda p: (safetensors_numpy.save, [dict(_TENSORS), {"a": "b"}], {}),
    lambda p: (safetensors_numpy.save_file, [dict(_TENSORS), p.path(".safetensors"), {"a": "b"}], {}),
    lambda p: (safetensors_numpy.load, [safetensors_numpy.save(_TENSORS)], {}),
    lambda p: (safetensors_numpy.load_file, [_file(p)], {"backend": "mmap"}),
    lambda p: (safetensors.deserialize, [safetensors_numpy.save(_TENSORS)], {}),
    lambda p: (lambda metadata: safetensors.serialize({"w": _spec(p)}, metadata), [None], {}),
    lambda p: (lambda name: safetensors.serialize({name: _spec(p)}, None), ["w"], {}),
    lambda p: (lambda metadata: safetensors.serialize_file({"w": _spec(p)}, p.path(".safetensors"), metadata), [None], {}),
    lambda p: (_extension().Opened, [], {"x": 1}),
    lambda p: (_extension().Handle.array, [5], {}),
    lambda p: (_extension().Saver.save, [5, 5, 5, 5, 5, 5], {}),
    lambda p: (_extension().Opened.__new__(_extension().Opened).find, ["w"], {}),
    lambda p: (_extension().Handle.__new__(_extension().Handle).dlpack, [True, True], {}),
    lambda p: (_extension().Watcher.__new__(_extension().Watcher).next, [0.0], {}),
    lambda p: (cairn_store.Checkpoint, [5], {}),
]


def _extension():
    return cairn_store._cairn


def wrong(player):
    """One call with one or two arguments that are replaced."""
    function, args, words = player.random.choice(_RIGHT)(player)
    places = [*range(len(args)), *words]
    for place in player.random.sample(places, min(len(places), player.random.choice([1, 1, 1, 2]))):
        (words if isinstance(place, str) else args)[place] = _junk(player)
    shown = ", ".join([*map(_shown, args), *(f"{key}={_shown(value)}" for key, value in words.items())])
    player.note(getattr(function, "__qualname__", "?"), shown)
    try:
        function(*args, **words)
    except ANSWERS:
        pass


def _shown(value):
    try:
        return ascii(value)[:60]
    except Raised:
        return "Raises()"


def damaged(player):
    """A file with a few wrong bytes, or cut off: an exception of Cairn, or an answer."""
    source = _file(player)
    with open(source, "rb") as file:
        data = bytearray(file.read())
    for _ in range(player.random.randrange(1, 4)):
        data[player.random.randrange(len(data))] ^= 1 << player.random.randrange(8)
    if player.random.randrange(3) == 0:
        del data[player.random.randrange(len(data)):]
    place = player.path(".safetensors")
    with open(place, "wb") as file:
        file.write(data)
    for read in (lambda: cairn_store.open(place).numpy(), lambda: safetensors_numpy.load(bytes(data)),
                 lambda: safetensors.deserialize(bytes(data)), lambda: tensorflow.list_variables(place)):
        try:
            read()
        except (cairn_store.CairnError, ValueError):
            pass
    os.unlink(place)

