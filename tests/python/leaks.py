"""Each operation of cairn_store many times: nothing may grow.

usage: leaks.py EXTENSION [--calls=N] [--lsan | --lsan-control]

After some calls that fill caches, garbage is collected and everything is counted: Python's blocks, the bytes of the C++
heap, RssAnon, descriptors, mappings, and the references of objects that all calls share. It is counted again after N calls. A
leak grows in every round; a cache that fills grows by less and less. So what has grown in one round is
measured once more, twelve times at most.

`--lsan`: a build under the address sanitizer. LeakSanitizer then looks for memory that nobody points to, while Python still
runs, so that all that Python holds is reachable. It must first find what `--lsan-control` loses on purpose.
"""
import argparse
import ctypes
import gc
import os
import subprocess
import sys
import tempfile

import numpy as np

import run

ROUNDS = 12
RSS_NOISE_BYTES = 128 << 10
CONTROL_BYTES = 12_345


class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                                                     "uordblks", "fordblks", "keepcost")]


def heap_bytes():
    """What malloc has given out. 0 where the C library cannot tell."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return 0
    mallinfo2.restype = Mallinfo2
    info = mallinfo2()
    return info.uordblks + info.hblkhd


def shared_objects():
    """Objects of which each call takes references: those of arguments, and the types of what is made."""
    import cairn_store
    extension = cairn_store._cairn
    return {"None": None, "progress": progress, "name": NAME, "array": GIVEN[NAME], "tensors": GIVEN, "expected": EXPECTED,
            "Opened": extension.Opened, "Handle": extension.Handle, "Saver": extension.Saver, "Watcher": extension.Watcher,
            "PendingSave": extension.PendingSave, "Checkpoint": cairn_store.Checkpoint, "Tensor": cairn_store.Tensor,
            "ndarray": np.ndarray, "float32": np.dtype(np.float32)}


NAME = "layer/0/kernel of a long name"
GIVEN = {NAME: np.arange(2000, dtype=np.float32).reshape(50, 40), "s": np.array([b"a", b"b" * 100], object)}
EXPECTED = {NAME: ("float32", (50, 40)), "s": ("string", (2,))}


def progress(done, total):
    return done, total


def fails(call, kinds):
    """The operation is its exception."""
    def failing():
        try:
            call()
        except kinds:
            return
        raise AssertionError("no exception")
    return failing


def operations(folder):
    """Every operation of the package: name and call. None leaves anything behind but the same files."""
    import cairn_store
    import cairn_store.safetensors as safetensors
    import cairn_store.safetensors.numpy as safetensors_numpy
    import cairn_store.tensorflow as tensorflow

    def path(name):
        return os.path.join(folder, name)

    kept = path("kept-1")
    cairn_store.save(kept, GIVEN, metadata={"a": "b"}, safetensors_metadata={"c": "d"})
    plain = {NAME: GIVEN[NAME]}
    file = path("kept.safetensors")
    safetensors_numpy.save_file(plain, file, {"k": "v"})
    safetensors_numpy.save_file(plain, path("import.safetensors"))
    data = safetensors_numpy.save(plain)
    with open(path("damaged.safetensors"), "wb") as damaged:
        damaged.write(data[:50])
    opened = cairn_store.open(kept)
    private = cairn_store.open(kept, access="private")
    tensor = opened[NAME]
    strings = opened["s"]
    saver = cairn_store.Saver(path("runs"), [cairn_store.newest(2)])
    saver.save("m", GIVEN, step=1)
    manager = tensorflow.CheckpointManager(GIVEN, path("ckpts"), 2)
    manager.save()
    out = np.empty((50, 40), np.float32)
    steps = iter(range(2, 1 << 60))
    error = cairn_store.CairnError

    def stop(done, total):
        raise RuntimeError("enough")

    def cycle():
        made = cairn_store.open(kept)
        ring = [made, made[NAME].numpy()]
        ring.append(ring)

    def saved_and_forgotten():
        cairn_store.Saver(path("forgotten")).save_async("m", GIVEN, step=1)

    def closed():
        with safetensors.safe_open(file, "np") as reader:
            reader.get_tensor(NAME)
        fails(reader.keys, error)()

    return {
        "open": lambda: cairn_store.open(kept, expected=EXPECTED, progress=progress),
        "open, private": lambda: cairn_store.open(kept, access="private")[NAME].numpy(),
        "open, copy": lambda: cairn_store.open(kept, access="copy", verify="full", threads=2)[NAME].numpy(),
        "open, not there": fails(lambda: cairn_store.open(path("none")), error),
        "open, damaged": fails(lambda: cairn_store.open(path("damaged.safetensors")), error),
        "open, other tensors": fails(lambda: cairn_store.open(kept, expected={"a": ("float32", (3,))}), error),
        "open, wrong words": fails(lambda: cairn_store.open(kept, access="mine"), ValueError),
        "open, wrong number": fails(lambda: cairn_store.open(kept, threads="x"), TypeError),
        "open, wrong type": fails(lambda: cairn_store.open(5), TypeError),
        "restore": lambda: cairn_store.restore(kept, method="read", threads=2, progress=progress),
        "restore, mapped": lambda: cairn_store.restore(kept, method="populate"),
        "restore, stopped": fails(lambda: cairn_store.restore(kept, method="read", progress=stop), RuntimeError),
        "names": lambda: (list(opened), opened.names(), len(opened), NAME in opened, opened.get("z")),
        "lookup": lambda: opened[NAME],
        "lookup, not there": fails(lambda: opened["not there"], KeyError),
        "lookup, wrong type": fails(lambda: opened[5], TypeError),
        "items": lambda: (list(opened.items()), list(opened.tensors()), opened.numpy()),
        "attributes": lambda: [getattr(opened, name) for name in dir(opened) if name[0] != "_"],
        "attributes of a tensor": lambda: [getattr(tensor, name) for name in dir(tensor) if name[0] != "_"],
        "repr": lambda: (repr(opened), repr(tensor)),
        "verify": lambda: opened.verify(threads=2, progress=progress),
        "verify, stopped": fails(lambda: opened.verify(progress=stop), RuntimeError),
        "prefetch": lambda: (opened.prefetch([NAME], threads=2), opened.resident_bytes()),
        "numpy": tensor.numpy,
        "numpy, writable": lambda: private[NAME].numpy().__setitem__(0, 1),
        "numpy, strings": strings.numpy,
        "array": lambda: (np.asarray(tensor), np.array(tensor, copy=True), memoryview(tensor.numpy())[1:]),
        "slice": lambda: (tensor[3], tensor[1:9:3, 5], strings[1], tensor[3, 4]),
        "slice, wrong": fails(lambda: tensor[99], IndexError),
        "read": lambda: (tensor.read(out=out), tensor.tobytes()),
        "read, wrong": fails(lambda: tensor.read(out=GIVEN["s"]), ValueError),
        "unpack, wrong": fails(tensor.unpack, error),
        "dequantize, wrong": fails(tensor.dequantize, error),
        "dlpack": lambda: (np.from_dlpack(tensor), np.from_dlpack(tensor, copy=True)),
        "dlpack, not taken": lambda: (tensor.__dlpack__(max_version=(1, 0)), private[NAME].__dlpack__()),
        "dlpack, refused": fails(tensor.__dlpack__, BufferError),
        "cycle": cycle,
        "save": lambda: cairn_store.save(path("m-1"), GIVEN, metadata={"a": "b"}, progress=progress),
        "save a tensor": lambda: cairn_store.save(path("n-1"), opened),
        "save, stopped": fails(lambda: cairn_store.save(path("o-1"), GIVEN, progress=stop), RuntimeError),
        "save, exists": fails(lambda: cairn_store.save(kept, GIVEN, replace=False), error),
        "save, wrong type": fails(lambda: cairn_store.save(path("o-1"), {"a": np.zeros(2, "M8[s]")}), TypeError),
        "convert": lambda: cairn_store.convert(kept, path("c.npz"), "npz", replace=True, allow_lossy=True, progress=progress),
        "convert, wrong": fails(lambda: cairn_store.convert(kept, path("c"), "gguf"), ValueError),
        "import": lambda: cairn_store.import_index(path("import.safetensors"), replace=True),
        "export": lambda: cairn_store.export_index(kept, "safetensors", output=path("e"), replace=True, allow_lossy=True),
        "Saver": lambda: cairn_store.Saver(path("runs"), [cairn_store.newest(2), cairn_store.best_by("x", 1)]).checkpoints(),
        "Saver, wrong": fails(lambda: cairn_store.Saver(path("runs"), [cairn_store.newest("x")]), TypeError),
        "Saver.save": lambda: saver.save("m", GIVEN, step=next(steps), metrics={"loss": 1.5}, progress=progress),
        "Saver.save_async": lambda: saver.save_async("m", GIVEN, step=next(steps)).wait(),
        "Saver, forgotten": saved_and_forgotten,
        "Saver.pin and prune": lambda: (saver.pin(saver.checkpoints()[-1], False), saver.prune(True), saver.prune()),
        "Saver.pin, not there": fails(lambda: saver.pin(path("none")), error),
        "latest": lambda: cairn_store.latest_checkpoint(path("runs")),
        "Watcher": lambda: (watcher := cairn_store.Watcher(path("runs"), timeout=0), list(watcher), watcher.cursor),
        "Watcher, wrong": fails(lambda: cairn_store.Watcher(path("runs"), cursor="junk"), error),
        "tensorflow": lambda: (tensorflow.list_variables(kept), tensorflow.load_variable(kept, NAME),
                               tensorflow.load_checkpoint(kept).debug_string(), tensorflow.latest_checkpoint(path("runs"))),
        "tensorflow, state": lambda: (tensorflow.get_checkpoint_state(path("runs")),
                                      next(tensorflow.checkpoints_iterator(path("runs"), timeout=0))),
        "tensorflow, manager": lambda: (manager.save(), manager.checkpoints, manager.latest_checkpoint),
        "safetensors, files": lambda: (safetensors_numpy.save_file(plain, path("f.safetensors"), {"k": "v"}),
                                       safetensors_numpy.load_file(file), safetensors_numpy.load_file(file, backend="pread")),
        "safetensors, bytes": lambda: (safetensors_numpy.load(data), safetensors_numpy.save(plain),
                                       safetensors.deserialize(data)),
        "safetensors, damaged": fails(lambda: safetensors_numpy.load_file(path("damaged.safetensors")), error),
        "safe_open": closed,
        "safe_open, slice": lambda: safetensors.safe_open(file, "np").get_slice(NAME)[1:3, :5],
    }


def counted():
    """Everything that may not grow."""
    gc.collect()
    with open("/proc/self/status") as file:
        rss = next(int(line.split()[1]) << 10 for line in file if line.startswith("RssAnon"))
    with open("/proc/self/maps") as file:
        maps = sum(1 for _ in file)
    counts = {f"references of {name}": sys.getrefcount(one) for name, one in shared_objects().items()}
    return {**counts, "blocks of Python": sys.getallocatedblocks(), "bytes of the heap": heap_bytes(), "RssAnon": rss,
            "mappings": maps, "descriptors": len(os.listdir("/proc/self/fd"))}


def grown(before, after, calls):
    """What grew by as much as a leak in each second call would be."""
    limits = {"bytes of the heap": 16 * calls, "RssAnon": RSS_NOISE_BYTES + 8 * calls}
    return {name: after[name] - before[name] for name in before
            if after[name] - before[name] >= limits.get(name, max(1, calls // 2))}


def leaks_of(call, calls):
    """What grows each time: {} if nothing does."""
    for _ in range(max(30, calls // 10)):
        call()
    left = None
    for _ in range(ROUNDS):
        before = counted()
        for _ in range(calls):
            call()
        found = grown(before, counted(), calls)
        left = found if left is None else {name: found[name] for name in left if name in found}
        if not left:
            return {}
    return left


def measure(calls):
    """Each operation `calls` times; {operation: what grows}."""
    with tempfile.TemporaryDirectory(dir=run.memory_folder()) as folder:
        found = {name: leaks_of(call, calls) for name, call in operations(folder).items()}
    return len(found), {name: what for name, what in found.items() if what}


def repeat(calls):
    """Each operation `calls` times, without counting."""
    with tempfile.TemporaryDirectory(dir=run.memory_folder()) as folder:
        for call in operations(folder).values():
            for _ in range(calls):
                call()


def lost_memory():
    """Whether LeakSanitizer finds memory that nobody points to. It does not see what only the local variables of a running
    function hold (Python has them in memory that it maps itself): so none of the callers holds anything of its own."""
    gc.collect()
    return bool(ctypes.CDLL(None).__lsan_do_recoverable_leak_check())


def end_with(lost):
    """Says what was found, and ends without Python's own end, where it forgets what it still holds."""
    print("LeakSanitizer found lost memory" if lost else "LeakSanitizer found nothing", flush=True)
    os._exit(1 if lost else 0)


def main():
    run.into_venv()
    parser = argparse.ArgumentParser()
    parser.add_argument("extension")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--lsan", action="store_true")
    parser.add_argument("--lsan-control", action="store_true")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run.stage(folder, words.extension)
        if words.lsan:
            own = [sys.executable, *sys.argv[:2], "--lsan-control", "--calls=1"]
            if subprocess.run(own, capture_output=True).returncode != 1:
                print("LeakSanitizer does not find what is lost on purpose", flush=True)
                os._exit(1)
        if words.lsan or words.lsan_control:
            repeat(words.calls)
            if words.lsan_control:
                ctypes.CDLL(None).malloc(CONTROL_BYTES)
            end_with(lost_memory())
        count, found = measure(words.calls)
    for name, what in found.items():
        print(f"{name}: grows in {words.calls} calls: {what}")
    print(f"{count} operations, {words.calls} calls of each, {len(found)} leaks")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
