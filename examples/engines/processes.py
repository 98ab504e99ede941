"""MiniLM in four processes at a time, by ONNX Runtime and OpenVINO: what memory they take together, and that their vectors are
the same.

usage: processes.py FOLDER [--speed]     where the model's files are made (270 MB), once

PSS is the memory of a process, with each page that n processes share counted as 1/n: the sum over processes is what they take
together. Each row is four processes that serve at the same time. --speed adds how long ONNX Runtime takes with and without
prepacking; it wants a machine that does nothing else.
"""
from __future__ import annotations

import hashlib
import importlib
import multiprocessing
import os
import queue
import re
import sys
import time
from typing import Any, Callable

import minilm

MIB = 1 << 20
COUNT = 4


def ort_cairn(folder: str, prepack: bool = False) -> minilm.Embedder:
    import cairn_store
    from onnxruntime_session import Session
    session = Session(minilm.graph(), cairn_store.open(os.path.join(folder, "minilm")), prepack=prepack)
    return lambda ids, mask: session.run(["vectors"], {"ids": ids, "mask": mask})[0]


def ort_prepacked(folder: str) -> minilm.Embedder:
    return ort_cairn(folder, prepack=True)


def ort_own(folder: str, name: str = "inside.onnx", prepack: bool = True) -> minilm.Embedder:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.disable_prepacking", "0" if prepack else "1")
    session = onnxruntime.InferenceSession(os.path.join(folder, name), options, providers=["CPUExecutionProvider"])
    return lambda ids, mask: session.run(["vectors"], {"ids": ids, "mask": mask})[0]


def ort_external(folder: str) -> minilm.Embedder:
    return ort_own(folder, "outside.onnx", prepack=False)


def openvino_cairn(folder: str) -> minilm.Embedder:
    import cairn_store
    import openvino_model
    return openvino_model.embedder(cairn_store.open(os.path.join(folder, "minilm")))


def openvino_own(folder: str, name: str = "inside.onnx") -> minilm.Embedder:
    import openvino
    from openvino_model import PRECISE
    compiled = openvino.Core().compile_model(os.path.join(folder, name), "CPU", PRECISE)
    return lambda ids, mask: compiled({"ids": ids, "mask": mask})["vectors"]


def openvino_external(folder: str) -> minilm.Embedder:
    return openvino_own(folder, "outside.onnx")


def nothing(*_: Any) -> Any:
    """The libraries without a model."""
    for name in ("onnxruntime_session", "openvino_model"):
        importlib.import_module(name)
    return lambda ids, mask: ids


# Four processes each; rows with the same letter must give the same vectors to the last bit.
ROWS: list[tuple[str, str, list[Callable[[str], minilm.Embedder]], str]] = [
    ("both libraries, no model", "", [nothing], "-"),
    ("ONNX Runtime", "Cairn", [ort_cairn], "a"),
    ("ONNX Runtime, not prepacked", "external data", [ort_external], "a"),
    ("ONNX Runtime, prepacked", "Cairn", [ort_prepacked], "b"),
    ("ONNX Runtime, prepacked", "model.onnx", [ort_own], "b"),
    ("OpenVINO", "Cairn", [openvino_cairn], "c"),
    ("OpenVINO", "external data", [openvino_external], "c"),
    ("OpenVINO", "model.onnx", [openvino_own], "c"),
    ("two of each", "Cairn", [ort_cairn, openvino_cairn], "ac"),
]


def make_files(folder: str) -> None:
    """The checkpoint; and for the engines alone, the model with the weights inside and beside."""
    import onnx
    from onnx import numpy_helper
    from safetensors.numpy import load_file
    os.makedirs(folder, exist_ok=True)
    minilm.aligned(os.path.join(folder, "minilm"))
    if os.path.exists(os.path.join(folder, "outside.onnx")):
        return
    model, names = minilm.graph(), minilm.shapes()
    inputs = [one for one in model.graph.input if one.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    weights = load_file(os.path.join(minilm.folder(), "model.safetensors"))
    model.graph.initializer.extend(numpy_helper.from_array(weights[name], name) for name in names)
    onnx.save(model, os.path.join(folder, "inside.onnx"))
    onnx.save(model, os.path.join(folder, "outside.onnx"), save_as_external_data=True, location="outside.data")


def pss() -> dict[str, int]:
    """Bytes of this process: in all, memory of its own, and of the files with weights."""
    sums = {"all": 0, "own": 0, "weights": 0}
    with open("/proc/self/smaps") as file:
        for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", file.read(), flags=re.M)[1:]:
            first = mapping.split("\n", 1)[0].split(None, 5)
            name = first[5] if len(first) > 5 else ""
            size = int(re.search(r"^Pss: +(\d+)", mapping, re.M)[1]) * 1024  # type: ignore[index]
            sums["all"] += size
            sums["own"] += int(re.search(r"^Anonymous: +(\d+)", mapping, re.M)[1]) * 1024  # type: ignore[index]
            sums["weights"] += size if re.search(r"/(minilm\.data|outside|inside)[^/]*$", name) else 0
    return sums


def serve(way: Callable[[str], minilm.Embedder], folder: str, served: Any, measured: Any, results: Any) -> None:
    """One process: computes, waits until the others have, and says what memory it has then."""
    nothing()  # so that rows differ by what serves the weights, and not by what is imported
    embedder = way(folder)
    vectors = embedder(*minilm.tokens(minilm.SENTENCES))
    served.wait()
    sums = pss()
    measured.wait()
    results.put((way.__name__, hashlib.sha256(vectors.tobytes()).hexdigest()[:8], sums))


def together(ways: list[Callable[[str], minilm.Embedder]], folder: str) -> list[tuple[str, str, dict[str, int]]]:
    """COUNT processes at once, by these ways in turn: way, digest of the vectors, memory of each."""
    context = multiprocessing.get_context("spawn")
    served, measured, results = context.Barrier(COUNT), context.Barrier(COUNT), context.Queue()
    processes = [context.Process(target=serve, args=(ways[i % len(ways)], folder, served, measured, results))
                 for i in range(COUNT)]
    for process in processes:
        process.start()
    try:
        seen: list[tuple[str, str, dict[str, int]]] = []
        while len(seen) < COUNT:
            try:
                seen.append(results.get(timeout=1))
            except queue.Empty:
                if any(process.exitcode for process in processes):
                    raise RuntimeError("a process failed, as it says above") from None
        return seen
    finally:
        for process in processes:
            process.terminate()
            process.join()


def table(folder: str) -> bool:
    """Prints the table; whether the vectors are the same."""
    digests: dict[str, set[str]] = {}
    print(f"| {COUNT} processes | weights from | all {COUNT}, MiB | each | memory of its own | files of weights | vectors |")
    print("| --- | --- | ---: | ---: | ---: | ---: | --- |")
    for engine, source, ways, letters in ROWS:
        seen = together(ways, folder)
        for letter, way in zip(letters, ways):
            digests.setdefault(letter, set()).update(digest for name, digest, _ in seen if name == way.__name__)
        sums = {key: sum(one[key] for _, _, one in seen) / MIB for key in ("all", "own", "weights")}
        vectors = " ".join(sorted({digest for _, digest, _ in seen})) if source else ""
        print(f"| {engine} | {source} | {sums['all']:.0f} | {sums['all'] / COUNT:.0f} | {sums['own'] / COUNT:.0f} | "
              f"{sums['weights'] / COUNT:.0f} | {vectors} |", flush=True)
    return all(len(found) == 1 for found in digests.values())


def time_runs(way: Callable[[str], minilm.Embedder], folder: str, results: Any) -> None:
    import numpy as np
    nothing()
    ids, mask = minilm.tokens(minilm.SENTENCES)
    start = time.perf_counter()
    embedder = way(folder)
    times = [time.perf_counter() - start]
    for repeat in (1, 8, 32):
        given = np.tile(ids, (repeat, 1)), np.tile(mask, (repeat, 1))
        best = []
        for _ in range(20):
            start = time.perf_counter()
            embedder(*given)
            best.append(time.perf_counter() - start)
        times.append(min(best))
    results.put([one * 1000 for one in times])


def speed(folder: str) -> None:
    print("\n| ONNX Runtime, weights from Cairn | open, ms | 3 sentences | 24 | 96 |\n| --- | ---: | ---: | ---: | ---: |")
    context = multiprocessing.get_context("spawn")
    for name, way in (("not prepacked", ort_cairn), ("prepacked", ort_prepacked)):
        results = context.Queue()
        process = context.Process(target=time_runs, args=(way, folder, results))
        process.start()
        print(f"| {name} | " + " | ".join(f"{one:.1f}" for one in results.get(timeout=300)) + " |", flush=True)
        process.join()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    make_files(sys.argv[1])
    same = table(sys.argv[1])
    if "--speed" in sys.argv[2:]:
        speed(sys.argv[1])
    sys.exit(0 if same else "processes.py: the vectors differ between processes or ways to load")
