"""Asks what another index costs: Cairn's import and export, and what TensorFlow can do that comes nearest.

usage: transfer.py [--build DIR] [--quick]     in the virtual environment's Python, which has TensorFlow

TensorFlow has no import and no export. To know what is in a checkpoint it lists it (get_variable_to_shape_map); the only
operation that writes an index over shards that are there is MergeV2Checkpoints. Each repetition asks all in turn, in
memory (/dev/shm, where a sync costs nothing) and on disk. The full run writes docs/benchmarks/transfer.md.
"""
import argparse
import gc
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from report import duration, ratio
from run import ROOT, commit, machine

QUESTIONS = {
    "open": "open by `P.index` alone",
    "import": "import: write `P.cairn`",
    "export": "export: write `P.index`",
    "list": "TensorFlow: open and list",
    "merge": "TensorFlow: `MergeV2Checkpoints` of one",
}
PAYLOAD = "rows"


def ask_cairn(build, data, question):
    command = [os.path.join(build, "bench", "transfer"), data, f"--benchmark_filter=^{PAYLOAD}/{question}/",
               "--benchmark_min_time=0", "--benchmark_format=json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    answer = json.loads(done.stdout)["benchmarks"][0]
    if answer.get("error_occurred"):
        sys.exit(f"bench: {question}: {answer['error_message']}")
    return answer["real_time"] * 1000


def timed_us(work):
    start = time.perf_counter_ns()
    answer = work()
    spent = (time.perf_counter_ns() - start) / 1000
    del answer
    return spent


def ask_tensorflow(data, question):
    import tensorflow as tf
    prefix = f"{data}/tensorflow/{PAYLOAD}"
    if question == "list":
        return timed_us(lambda: tf.train.load_checkpoint(prefix).get_variable_to_shape_map())
    # The merge takes its source away, so it gets one of its own.
    with tempfile.TemporaryDirectory(dir=data) as scratch:
        part = f"{scratch}/part_temp/part"
        os.mkdir(f"{scratch}/part_temp")
        os.link(f"{prefix}.data-00000-of-00001", f"{part}.data-00000-of-00001")
        shutil.copy(f"{prefix}.index", f"{part}.index")
        return timed_us(lambda: tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=[part],
                                                              destination_prefix=f"{scratch}/{PAYLOAD}"))


def repetition(build, data):
    """Yields (question, microseconds). Export comes behind import, and leaves what the others read."""
    for question in ("open", "import", "export"):
        yield question, ask_cairn(build, data, question)
    for question in ("list", "merge"):
        yield question, ask_tensorflow(data, question)


def measure(build, data, repetitions):
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    try:
        subprocess.run([os.path.join(build, "bench", "payloads"), data], stdout=subprocess.DEVNULL, check=True)
        list(repetition(build, data))  # warms what is read
        samples = {}
        for _ in range(repetitions):
            for question, us in repetition(build, data):
                samples.setdefault(question, []).append(us)
    finally:
        shutil.rmtree(data, ignore_errors=True)
    return samples


def page(places, repetitions):
    import tensorflow as tf
    here = machine()
    lines = ["# What another index costs", "",
             "100,000 tensors of 256 bytes, as `bench/transfer.cc` and `bench/transfer.py` ask. Medians, and from minimum to",
             "maximum. In memory (`/dev/shm`) a sync costs nothing: that is what the library itself takes. On disk import and",
             "export end with their syncs; TensorFlow makes none. Cairn's process is new for each figure, TensorFlow's lives on.",
             "", "| what | " + " | ".join(places) + " |", "| --- |" + " ---: |" * len(places)]
    for question, what in QUESTIONS.items():
        cells = []
        for samples in places.values():
            us = samples[question]
            cells.append(f"{duration(statistics.median(us))} ({duration(min(us))} – {duration(max(us))})")
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    memory = {question: statistics.median(us) for question, us in next(iter(places.values())).items()}
    lines += ["", f"In memory the import takes {ratio(memory['import'], memory['list'])} what TensorFlow's listing takes, and the "
              f"export {ratio(memory['export'], memory['merge'])} its merge.",
              "", f"`./dev bench`, {time.strftime('%Y-%m-%d', time.gmtime())}, {repetitions} repetitions, {here['cores']} cores of "
              f"{here['cpu']}, {here['kernel']}, load average {os.getloadavg()[0]:.1f} at the end; commit {commit()}, TensorFlow "
              f"{tf.__version__}.", ""]
    return "\n".join(lines)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--build", default=os.path.join(ROOT, "build"))
    arguments.add_argument("--quick", action="store_true", help="fewer repetitions; only prints")
    options = arguments.parse_args()
    repetitions = 5 if options.quick else 15
    gc.disable()  # as the peers do
    places = {"in memory": measure(options.build, "/dev/shm/cairn-bench", repetitions),
              "on disk": measure(options.build, os.path.join(options.build, "bench-data"), repetitions)}
    text = page(places, repetitions)
    print(text)
    if options.quick:
        return
    path = "docs/benchmarks/transfer.md"
    with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
        file.write(text)
    print(f"bench: wrote {path}")


if __name__ == "__main__":
    main()
