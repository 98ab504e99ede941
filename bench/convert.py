"""What does a conversion cost, beside cp of the same bytes? Also: how much memory does it take?

usage: convert.py [--build DIR] [--repetitions N]

Converts the 498 MB of GPT-2 from safetensors, checked, summed and synced, and compares with `cp --reflink=never A B &&
sync B`. Each repetition asks each contender once, in an order of its own; a round before is not counted. Before each
figure the last output is removed, everything is synced, the source is read, and free memory is in use (`settle`). The
memory is what one more run of each took at most (RssAnon).
"""
import argparse
import os
import random
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

PAYLOAD = "gpt2"


def contenders(build, source):
    convert = [os.path.join(build, "tools", "cairn"), "convert", source, "out"]
    return {
        "cp, sync": ["sh", "-c", f"cp --reflink=never {shlex.quote(source)} out && sync out"],
        "to cairn": [*convert, "--to", "cairn"],
        "to tensorflow": [*convert, "--to", "tensorflow"],
        "to safetensors": [*convert, "--to", "safetensors"],
        "to safetensors, cast to bfloat16": [*convert, "--to", "safetensors", "--cast", "float32=bfloat16"],
    }


class Place:
    """A directory in which each figure begins with the same state."""

    def __init__(self, build, source, directory):
        self.build, self.source, self.directory = build, source, directory

    def prepare(self):
        for name in os.listdir(self.directory):
            if name.startswith("out"):
                os.remove(os.path.join(self.directory, name))
        os.sync()
        with open(self.source, "rb", buffering=0) as file:
            while file.read(1 << 20):
                pass
        size = os.path.getsize(self.source)
        subprocess.run([os.path.join(self.build, "bench", "settle"), str(size)], check=True)

    def start(self, command):
        return subprocess.Popen(command, cwd=self.directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def seconds(self, command):
        self.prepare()
        begin = time.perf_counter()
        if self.start(command).wait() != 0:
            sys.exit(f"failed: {shlex.join(command)}")
        return time.perf_counter() - begin

    def memory(self, command):
        """The most RssAnon, in bytes, that was seen while it ran."""
        self.prepare()
        most = 0
        running = self.start(command)
        while running.poll() is None:
            try:
                with open(f"/proc/{running.pid}/status", encoding="ascii") as status:
                    lines = [line.split() for line in status if line.startswith("RssAnon:")]
            except FileNotFoundError:
                break
            most = max([most, *(1024 * int(line[1]) for line in lines)])
            time.sleep(0.001)
        running.wait()
        return most


def measure(place, commands, repetitions):
    samples = {name: [] for name in commands}
    for repetition in range(repetitions + 1):
        for name in random.sample(list(commands), len(commands)):
            seconds = place.seconds(commands[name])
            if repetition > 0:
                samples[name].append(seconds)
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--repetitions", type=int, default=15)
    options = parser.parse_args()
    build = os.path.abspath(options.build)
    with tempfile.TemporaryDirectory(dir=build, prefix="bench-convert-") as directory:
        subprocess.run([os.path.join(build, "bench", "payloads"), directory, PAYLOAD], check=True,
                       stdout=subprocess.DEVNULL)
        source = os.path.join(directory, "safetensors", PAYLOAD + ".safetensors")
        place = Place(build, source, directory)
        commands = contenders(build, source)
        samples = measure(place, commands, options.repetitions)
        cp = statistics.median(samples["cp, sync"])
        print(f"{os.path.getsize(source):,} bytes, {options.repetitions} repetitions, load {os.getloadavg()[0]:.1f}")
        print(f"{'':34}{'median':>9}{'least':>9}{'most':>9}{'speed, cp=1':>13}{'RssAnon':>11}")
        for name, seconds in samples.items():
            median = statistics.median(seconds)
            memory = place.memory(commands[name]) / (1 << 20)
            print(f"{name:34}{1000 * median:6.0f} ms{1000 * min(seconds):6.0f} ms{1000 * max(seconds):6.0f} ms"
                  f"{cp / median:13.2f}{memory:7.1f} MiB")


if __name__ == "__main__":
    main()
