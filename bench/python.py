"""What do Python's users wait for, beside safetensors and TensorFlow? Open and first tensor, names, all tensors, a pass
over all, save; in time and in anonymous memory.

usage: python.py EXTENSION [FOLDER]     the built _cairn.abi3.so; a folder for the files (2 GB), which are removed

Needs numpy, ml_dtypes, nanobind-backend and safetensors; TensorFlow if it is there. Each figure is the median of rounds in
which every contender takes its turn, in one process for each contender, alive during the whole run; memory is measured
in a process of its own. The page cache is warm. What takes less than 20 ms is repeated for 20 ms, and the mean counts, as
everywhere in bench/; "open, once" is a single call, after the other contenders had the processor and its caches.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = {"open": 31, "open, 3 MB": 31, "open, once": 301, "names": 11, "load": 11, "pass": 7, "save": 5}
MEASURED_S = 0.02
FIRST = "model.h0.attn.c_attn.b"  # the first name of the model, 9 KB
CONTENDERS = ["safetensors", "cairn", "cairn-indexed", "tensorflow"]


def make_files(folder):
    """The model and a file of 100,000 tensors, each as a stock file, with a FILE.cairn, and as TensorFlow's."""
    import numpy as np

    import cairn_store
    from cairn_store.safetensors.numpy import save_file
    from formats import gpt2

    model = gpt2()
    many = {f"layer.{number // 100}.block.{number % 100}.weight": np.zeros(4, np.float32) for number in range(100_000)}
    for name, tensors in (("model", model), ("many", many)):
        for place in ("stock", "indexed"):
            os.makedirs(os.path.join(folder, place), exist_ok=True)
            save_file(tensors, os.path.join(folder, place, name + ".safetensors"))
        cairn_store.import_index(os.path.join(folder, "indexed", name + ".safetensors"))
        cairn_store.convert(os.path.join(folder, "stock", name + ".safetensors"),
                            os.path.join(folder, "tensorflow", name), "tensorflow")


def calls_of_safetensors(package, load_file, save_file, place, folder):
    """The questions, to whoever has safetensors' names."""
    model, many = (os.path.join(folder, place, name) for name in ("model.safetensors", "many.safetensors"))

    def first(name):
        with package.safe_open(model, "np") as opened:
            return opened.get_tensor(name)

    def names():
        with package.safe_open(many, "np") as opened:
            return len(opened.keys())

    loaded = {}

    def save():
        if not loaded:
            loaded.update(load_file(model))
        save_file(loaded, os.path.join(folder, f"saved-{place}-{package.__name__}.safetensors"))

    return {"open": lambda: first(FIRST), "open, 3 MB": lambda: first("model.wpe"), "open, once": lambda: first(FIRST),
            "names": names, "load": lambda: load_file(model), "pass": lambda: read_all(load_file(model)), "save": save}


def calls_of_tensorflow(folder):
    import tensorflow as tf
    model, many = (os.path.join(folder, "tensorflow", name) for name in ("model", "many"))

    def load():
        reader = tf.train.load_checkpoint(model)
        return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

    def first(name):
        return tf.train.load_checkpoint(model).get_tensor(name)

    return {"open": lambda: first(FIRST), "open, 3 MB": lambda: first("model.wpe"), "open, once": lambda: first(FIRST),
            "names": lambda: len(tf.train.list_variables(many)), "load": load, "pass": lambda: read_all(load())}


def read_all(arrays):
    """Reads every byte of every array once."""
    return sum(int(array.reshape(-1).view("u8").max()) for array in arrays.values())


def calls_of(contender, folder):
    if contender == "tensorflow":
        return calls_of_tensorflow(folder)
    if contender == "safetensors":
        import safetensors as package
        import safetensors.numpy as functions
    else:
        import cairn_store.safetensors as package
        import cairn_store.safetensors.numpy as functions
    place = "indexed" if contender == "cairn-indexed" else "stock"
    return calls_of_safetensors(package, functions.load_file, functions.save_file, place, folder)


def anonymous_bytes():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("RssAnon"))


def answer(contender, folder):
    """Answers questions from stdin, one in each line, with seconds and the growth of anonymous memory."""
    calls = calls_of(contender, folder)
    print(json.dumps(sorted(calls)), flush=True)
    for line in sys.stdin:
        question = line.strip()
        before = anonymous_bytes()
        spent = count = 0
        while count == 0 or (spent < MEASURED_S and not question.endswith("once")):
            kept = None  # what was loaded before is dropped, which is not timed
            start = time.perf_counter()
            kept = calls[question]()
            spent += time.perf_counter() - start
            count += 1
        print(json.dumps([spent / count, anonymous_bytes() - before]), flush=True)
        del kept


class Peer:
    def __init__(self, contender, folder):
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--answer", contender, folder],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL if contender == "tensorflow" else None)
        line = self.process.stdout.readline()
        self.questions = json.loads(line) if line else []

    def ask(self, question):
        print(question, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def memory_of(contender, folder):
    """The anonymous memory that load takes in a new process."""
    peer = Peer(contender, folder)
    grown = peer.ask("load")[1] if peer.questions else None
    peer.end()
    return grown


def measure(folder):
    peers = {contender: Peer(contender, folder) for contender in CONTENDERS}
    found = {}
    for question, rounds in ROUNDS.items():
        able = {name: peer for name, peer in peers.items() if question in peer.questions}
        taken = {name: [] for name in able}
        for _ in range(rounds + 1):
            for name, peer in able.items():
                taken[name].append(peer.ask(question)[0])
        found[question] = {name: statistics.median(times[1:]) for name, times in taken.items()}  # the first one warms
    for peer in peers.values():
        peer.end()
    found["memory"] = {name: memory_of(name, folder) for name, peer in peers.items() if peer.questions}
    return found


def told(found):
    lines = [f"{'':14}" + "".join(f"{name:>16}" for name in CONTENDERS)]
    for question, figures in found.items():
        cells = []
        for name in CONTENDERS:
            value = figures.get(name)
            if value is None:
                cells.append("-")
            elif question == "memory":
                cells.append(f"{value / 1e6:.1f} MB")
            else:
                cells.append(f"{value * 1e6:.0f} us" if value < 1e-2 else f"{value * 1e3:.0f} ms")
        lines.append(f"{question:14}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)


def main():
    if sys.argv[1:2] == ["--answer"]:
        return answer(*sys.argv[2:4])
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.path.insert(0, os.path.join(HERE, "../tests/python"))
    from run import stage
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        stage(folder, sys.argv[1])
        make_files(folder)
        print(told(measure(folder)))


if __name__ == "__main__":
    main()
