"""What readers make of one wrong bit: every bit of every file of small checkpoints, Cairn beside TensorFlow and safetensors.

usage: flips.py READ_DRIVER [--every N]      in the environment of the interoperability suite; the table goes to stdout

An answer is refused (some step failed, or `verify` found it), the same, or wrong: other values, names, dtypes or shapes
than were saved, without a word. A process that ends has died.
"""
import argparse
import os
import shutil
import sys
import tempfile

import numpy as np
import safetensors.numpy

from differential import ours
from differential.theirs import Refusal, TensorFlow

BATCH = 400
OUTCOMES = ("refused", "same", "wrong", "died")
VALUES = {"w": np.arange(48, dtype="float32").reshape(6, 8), "b": np.arange(5, dtype="int64"), "s": np.array(7, "uint8")}


class Subject:
    """A checkpoint: its files, and the path that is given to readers."""

    def __init__(self, name, folder, given):
        self.name, self.given = name, given
        self.files = {}
        for file in sorted(os.listdir(folder)):
            with open(os.path.join(folder, file), "rb") as stream:
                self.files[file] = stream.read()

    def write(self, folder, changed, data):
        os.makedirs(folder)
        for name, bytes_ in self.files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data if name == changed else bytes_)
        return os.path.join(folder, self.given)


# --- readers: each takes paths, and says of each what is in it, or None where it refuses, or "died" --------------------

class Cairn:
    name = "Cairn"

    def __init__(self, driver):
        self.driver = driver

    def read(self, paths):
        seen = []
        while len(seen) < len(paths):
            try:
                seen += map(self.content, ours.ask(self.driver, [(path, []) for path in paths[len(seen):]]))
            except ours.Crash as crash:
                seen += [*map(self.content, crash.answers), "died"]
        return seen

    @staticmethod
    def content(answer):
        values = [value for _, _, value in answer.tensors.values()]
        if answer.refused or answer.full or any(isinstance(value, ours.Refusal) for value in values):
            return None
        return {name: (dtype, list(shape), value) for name, (dtype, shape, value) in answer.tensors.items()}


class Tensorflow:
    name = "TensorFlow"

    def __init__(self):
        self.process = TensorFlow()

    def read(self, paths):
        listings = self.process.ask([("list", path) for path in paths])
        questions = [("restore", path, name.decode(), "", dtype) for path, listing in zip(paths, listings)
                     if isinstance(listing, dict) for name, (dtype, _) in listing.items()]
        answers = iter(self.process.ask(questions))
        return [self.content(listing, answers) for listing in listings]

    @staticmethod
    def content(listing, answers):
        if isinstance(listing, Refusal):
            return "died" if listing.silent else None
        values = {name: next(answers) for name in listing}
        refusals = [value for value in values.values() if isinstance(value, Refusal)]
        if refusals:
            return "died" if any(refusal.silent for refusal in refusals) else None
        return {name: (dtype, list(shape), data) for name, (dtype, shape, data) in values.items()}


class Safetensors:
    name = "safetensors"

    @staticmethod
    def read(paths):
        return [Safetensors.one(path) for path in paths]

    @staticmethod
    def one(path):
        try:
            tensors = safetensors.numpy.load_file(path)
        except Exception:  # whatever it is, it is a refusal
            return None
        return {name: (str(value.dtype), list(value.shape), value.tobytes()) for name, value in tensors.items()}


def judge(seen, whole):
    if seen is None:
        return "refused"
    if seen == "died":
        return "died"
    return "same" if seen == whole else "wrong"


def flip(reader, subject, file, every, scratch):
    """How often each outcome came, over every `every`-th bit of the file."""
    whole, = reader.read([subject.write(os.path.join(scratch, "whole"), None, None)])
    if whole is None or whole == "died" or len(whole) != len(VALUES):
        raise SystemExit(f"flips: {reader.name} does not read {subject.name} as it is")
    data, counts = subject.files[file], dict.fromkeys(OUTCOMES, 0)
    bits = range(0, 8 * len(data), every)
    for begin in range(0, len(bits), BATCH):
        paths = []
        for bit in bits[begin:begin + BATCH]:
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << bit % 8
            paths.append(subject.write(os.path.join(scratch, str(bit)), file, bytes(changed)))
        for seen in reader.read(paths):
            counts[judge(seen, whole)] += 1
        for path in paths:
            shutil.rmtree(os.path.dirname(path))
    shutil.rmtree(os.path.join(scratch, "whole"))
    return counts


def subjects(folder, cairn):
    """TensorFlow's bundle, a safetensors file, and the bundle as Cairn converts it."""
    import tensorflow as tf
    places = {name: os.path.join(folder, name) for name in ("bundle", "safetensors", "cairn")}
    for place in places.values():
        os.makedirs(place)
    names = sorted(VALUES)
    tf.raw_ops.SaveV2(prefix=os.path.join(places["bundle"], "m"), tensor_names=names, shape_and_slices=[""] * len(names),
                      tensors=[tf.constant(VALUES[name]) for name in names])
    safetensors.numpy.save_file(VALUES, os.path.join(places["safetensors"], "m.safetensors"))
    cairn("convert", os.path.join(places["bundle"], "m"), os.path.join(places["cairn"], "m"), "--to", "cairn")
    os.remove(os.path.join(places["cairn"], "m.index"))
    return {name: Subject(name, place, "m.safetensors" if name == "safetensors" else "m") for name, place in places.items()}


def measure(driver, cairn, every):
    """(reader, checkpoint, file, counts) of each."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        made = subjects(folder, cairn)
        ours_, theirs = Cairn(driver), Tensorflow()
        try:
            for reader, name in ((ours_, "cairn"), (ours_, "bundle"), (theirs, "bundle"), (ours_, "safetensors"),
                                 (Safetensors, "safetensors")):
                for file in made[name].files:
                    yield reader.name, name, file, flip(reader, made[name], file, every, os.path.join(folder, "flipped"))
        finally:
            theirs.process.close()


def main():
    import command
    arguments = argparse.ArgumentParser()
    arguments.add_argument("driver")
    arguments.add_argument("--every", type=int, default=1, help="bits; 1: all")
    options = arguments.parse_args()
    command.CAIRN = os.path.join(os.path.dirname(options.driver), "../../tools/cairn")
    print("| reader | checkpoint | file | flips | " + " | ".join(OUTCOMES) + " |\n| --- | --- | --- |"
          + " ---: |" * (1 + len(OUTCOMES)))
    for reader, checkpoint, file, counts in measure(options.driver, command.cairn, options.every):
        cells = [reader, checkpoint, f"`{file}`", f"{sum(counts.values()):,}", *(f"{counts[outcome]:,}" for outcome in OUTCOMES)]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
