"""How long until a file of another format can be used: Cairn beside the library that the format belongs to.

usage: formats.py BUILD [--rounds N]

Makes a model of each format with the library itself, below a temporary folder: GPT-2's 148 float32 arrays (498 MB), and
the 291 tensors of a small Llama as GGUF. Then each round asks everybody once, in a shuffled order: the library opens the
file in this process, Cairn in one of its own that stays; each figure is the mean over 20 ms. A library opens as its users
do, and reads no array: numpy.load(p).files, gguf.GGUFReader, torch.load(mmap=True), safe_open over all shards with their keys.
Files are in the page cache. `recorded`: after `cairn import`. A library that is not installed is left out, in a line.
"""
import argparse
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy

MEASURED_NS = 20_000_000


def gpt2_shapes():
    width = 768
    yield "model.wte", (50257, width)
    yield "model.wpe", (1024, width)
    for layer in range(12):
        for part, shape in (("ln_1", (width,)), ("attn.c_attn", (width, 3 * width)), ("attn.c_proj", (width, width)),
                            ("ln_2", (width,)), ("mlp.c_fc", (width, 4 * width)), ("mlp.c_proj", (4 * width, width))):
            yield f"model.h{layer}.{part}.w", shape
            yield f"model.h{layer}.{part}.b", shape[-1:]
    yield "model.ln_f.w", (width,)
    yield "model.ln_f.b", (width,)


def gpt2():
    noise = numpy.random.default_rng(5)
    return {name: noise.random(shape, numpy.float32) for name, shape in gpt2_shapes()}


def make_npz(folder):
    path = os.path.join(folder, "gpt2.npz")
    numpy.savez(path, **gpt2())

    def files():
        with numpy.load(path) as file:
            return file.files
    return path, "numpy.load(p).files", files


def make_torch(folder):
    import torch
    path = os.path.join(folder, "gpt2.pt")
    torch.save({name: torch.from_numpy(array) for name, array in gpt2().items()}, path)
    return path, "torch.load(p, mmap=True)", lambda: torch.load(path, mmap=True, weights_only=True)


def make_shards(folder):
    from safetensors import safe_open
    from safetensors.numpy import save_file
    model = os.path.join(folder, "model")
    os.mkdir(model)
    arrays = list(gpt2().items())
    names = [f"model-{i + 1:05}-of-00004.safetensors" for i in range(4)]
    weight_map = {}
    for i, name in enumerate(names):
        part = dict(arrays[i::4])
        save_file(part, os.path.join(model, name))
        weight_map |= dict.fromkeys(part, name)
    path = os.path.join(model, "model.safetensors.index.json")
    with open(path, "w", encoding="utf-8") as out:
        json.dump({"metadata": {}, "weight_map": weight_map}, out)

    def opened():
        with open(path, encoding="utf-8") as file:
            shards = sorted(set(json.load(file)["weight_map"].values()))
        files = [safe_open(os.path.join(model, shard), framework="np") for shard in shards]
        return files, [file.keys() for file in files]
    return path, "safe_open of 4 shards, keys", opened


def make_gguf(folder):
    import gguf
    path = os.path.join(folder, "llama.gguf")
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 32)
    noise = numpy.random.default_rng(5)
    for layer in range(32):
        for part in ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", noise.random((64, 64), numpy.float32))
    for name in ("token_embd", "output_norm", "output"):
        writer.add_tensor(f"{name}.weight", noise.random((64, 64), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path, "gguf.GGUFReader(p)", lambda: gguf.GGUFReader(path)


def make_hdf5(folder):
    import h5py
    path = os.path.join(folder, "gpt2.h5")
    with h5py.File(path, "w") as file:
        for name, array in gpt2().items():
            file[name.replace(".", "/")] = array

    def opened():
        names = []
        with h5py.File(path) as file:
            file.visititems(lambda name, item: names.append((name, getattr(item, "shape", None))))
        return names
    return path, "h5py.File(p).visititems", opened


class Cairn:
    """bench/open_file: a path in, microseconds out."""

    def __init__(self, build):
        self.process = subprocess.Popen([os.path.join(build, "bench", "open_file")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def mean_us(self, path):
        self.process.stdin.write(path + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if answer.startswith("error"):
            sys.exit(answer)
        return float(answer)


def mean_us(ask):
    spent = runs = 0
    while spent < MEASURED_NS:
        start = time.perf_counter_ns()
        answer = ask()
        spent += time.perf_counter_ns() - start
        runs += 1
        del answer
    return spent / runs / 1000


def figures(cairn, path, recorded, ask, rounds):
    """Of each contender its medians, and the ratios."""
    contenders = {"library": lambda: mean_us(ask), "cairn": lambda: cairn.mean_us(path),
                  "recorded": lambda: cairn.mean_us(recorded)}
    seen = {name: [] for name in contenders}
    for turn in range(rounds + 1):  # the first is not counted
        for name in random.sample(sorted(contenders), len(contenders)):
            us = contenders[name]()
            if turn > 0:
                seen[name].append(us)
    return {name: statistics.median(values) for name, values in seen.items()}


def copy_recorded(build, path, folder):
    """The same files with FILE.cairn, in a folder of their own: hard links, so that the page cache is shared."""
    place = tempfile.mkdtemp(dir=folder)
    whole = os.path.dirname(path) if path.endswith(".index.json") else None
    for name in sorted(os.listdir(whole)) if whole else [os.path.basename(path)]:
        os.link(os.path.join(whole or os.path.dirname(path), name), os.path.join(place, name))
    twin = os.path.join(place, os.path.basename(path))
    subprocess.run([os.path.join(build, "tools", "cairn"), "import", twin], check=True, stdout=subprocess.DEVNULL)
    return twin


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("build")
    arguments.add_argument("--rounds", type=int, default=15)
    options = arguments.parse_args()
    gc.disable()
    print("| format | library opens as | library, µs | Cairn, µs | ratio | recorded, µs | ratio |\n"
          "| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for make in (make_torch, make_gguf, make_npz, make_shards, make_hdf5):
        with tempfile.TemporaryDirectory(dir=options.build) as folder:
            try:
                path, how, ask = make(folder)
            except ImportError as error:
                print(f"left out: {error}", file=sys.stderr)
                continue
            recorded = copy_recorded(options.build, path, folder)
            found = figures(Cairn(options.build), path, recorded, ask, options.rounds)
            print(f"| {os.path.basename(path)} | {how} | {found['library']:.1f} | {found['cairn']:.1f} "
                  f"| 1/{found['library'] / found['cairn']:.1f} | {found['recorded']:.1f} "
                  f"| 1/{found['library'] / found['recorded']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
