"""Asks Cairn and its peers the same questions, in turn, and publishes the answers.

usage: run.py [--build DIR] [--python PROGRAM] [--quick]

Every repetition asks each contender once, one after another, so that whatever else the machine does meets all alike.
The full run writes docs/benchmarks/open.json, docs/benchmarks/README.md, and the table between two markers of
README.md; it leaves them as they are where a peer is missing. --quick only prints.
"""
import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

from report import page, table

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
REPETITIONS, REPETITIONS_QUICK = 21, 5
QUESTIONS_OF_THE_INDEX = ("open", "list")
QUESTIONS = (*QUESTIONS_OF_THE_INDEX, "one")
PEERS = ("tensorflow", "safetensors")


class Skip(Exception):
    """What a peer needs is not there."""


class Peer:
    """A peer's process: asked by a line, it answers with microseconds."""

    def __init__(self, python, name):
        if not os.path.exists(python):
            raise Skip(f"{os.path.relpath(python, ROOT)} is not there")
        script = os.path.join(ROOT, "bench", "peers", f"{name}_open.py")
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([python, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, env=quiet)
        first = self.process.stdout.readline()
        if not first:
            raise Skip(self.last_words())
        self.versions = json.loads(first)

    def last_words(self):
        self.errors.seek(0)
        return (self.errors.read().strip().splitlines() or ["it ended"])[-1]

    def ask(self, question, path, tensor):
        self.process.stdin.write(f"{question}\t{path}\t{tensor}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        return float(answer) if answer else sys.exit(f"bench: {question} {path}: {self.last_words()}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Cairn:
    """Cairn's side: bench/open, started for each question, over all three indexes."""

    def __init__(self, build, data):
        self.program, self.data = os.path.join(build, "bench", "open"), data
        self.version, self.resident = None, {}

    def ask(self, question, payload):
        """Microseconds by index; also keeps how much of the shard the page cache holds."""
        command = [self.program, self.data, f"--benchmark_filter=^{payload}/[a-z]+/{question}/",
                   "--benchmark_min_time=0.02", "--benchmark_format=json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        answers, report = {}, json.loads(done.stdout)
        self.version = report["context"]["cairn"]
        for run in report["benchmarks"]:
            if run.get("error_occurred"):
                sys.exit(f"bench: {run['name']}: {run['error_message']}")
            answers[run["name"].split("/")[1]] = run["real_time"]
            self.resident[payload] = int(run["resident"])
        return answers


def make_payloads(build, data):
    """Makes the files anew and drops the shards from the page cache: what is touched comes back, and little more."""
    shutil.rmtree(data, ignore_errors=True)
    os.makedirs(data)
    command = [os.path.join(build, "bench", "payloads"), data]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    payloads = []
    for line in done.stdout.splitlines():
        name, tensors, size, one = line.split("\t")
        shard = f"{data}/safetensors/{name}.safetensors"
        payloads.append({"name": name, "tensors": int(tensors), "bytes": int(size), "one": one,
                         "head_bytes": os.path.getsize(shard) - int(size)})
        file = os.open(shard, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)
    return payloads


def peer_path(peer, data, payload):
    return f"{data}/{peer}/{payload}" + (".safetensors" if peer == "safetensors" else "")


def repetition(cairn, peers, data, payloads, questions=QUESTIONS):
    """Yields (payload, question, contender, microseconds), each question going around the contenders."""
    for payload in payloads:
        name = payload["name"]
        for question in questions:
            for index, us in cairn.ask(question, name).items():
                yield name, question, "cairn" if index == "cairn" else f"cairn over {index}", us
            for peer, process in peers.items():
                yield name, question, peer, process.ask(question, peer_path(peer, data, name), payload["one"])


def measure(cairn, peers, data, payloads, repetitions):
    """Warms the indexes by asking what touches no tensor, and notes what that left in the page cache; then asks all."""
    list(repetition(cairn, peers, data, payloads, QUESTIONS_OF_THE_INDEX))
    for payload in payloads:
        payload["resident_bytes"] = cairn.resident[payload["name"]]
    samples = {}
    for number in range(repetitions):
        print(f"bench: repetition {number + 1} of {repetitions}", file=sys.stderr)
        for *key, us in repetition(cairn, peers, data, payloads):
            samples.setdefault(tuple(key), []).append(round(us, 3))
    return [{"payload": payload, "question": question, "contender": contender, "min_us": min(us),
             "median_us": round(statistics.median(us), 3), "max_us": max(us), "samples_us": us}
            for (payload, question, contender), us in samples.items()]


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return {"cpu": model.group(1) if model else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "kernel": f"{platform.system()} {platform.release()}"}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def start_peers(python):
    peers = {}
    for name in PEERS:
        try:
            peers[name] = Peer(python, name)
        except Skip as why:
            print(f"bench: {name} skipped: {why}")
    return peers


def run(options):
    data = os.path.join(options.build, "bench-data")
    repetitions = REPETITIONS_QUICK if options.quick else REPETITIONS
    peers = start_peers(options.python)
    load_before = round(os.getloadavg()[0], 2)
    payloads = make_payloads(options.build, data)
    cairn = Cairn(options.build, data)
    try:
        figures = measure(cairn, peers, data, payloads, repetitions)
    finally:
        for peer in peers.values():
            peer.close()
        shutil.rmtree(data, ignore_errors=True)
    versions = {"cairn": cairn.version, "commit": commit()}
    for peer in peers.values():
        versions |= peer.versions
    return {"command": "./dev bench" + (" --quick" if options.quick else ""),
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": machine(), "load_average": {"before": load_before, "after": round(os.getloadavg()[0], 2)},
            "versions": versions, "repetitions": repetitions, "payloads": payloads, "figures": figures}


def write(path, text):
    os.makedirs(os.path.dirname(os.path.join(ROOT, path)), exist_ok=True)
    with open(os.path.join(ROOT, path), "w", encoding="utf-8") as file:
        file.write(text)
    print(f"bench: wrote {path}")


def publish(result):
    write("docs/benchmarks/open.json", json.dumps(result, indent=1) + "\n")
    write("docs/benchmarks/README.md", page(result))
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        text = file.read()
    start, end = "<!-- bench:open -->\n", "<!-- bench:end -->"
    before, rest = text.split(start)
    _, after = rest.split(end)
    write("README.md", before + start + table(result) + end + after)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--build", default=os.path.join(ROOT, "build"))
    arguments.add_argument("--python", default=os.path.join(ROOT, ".venv", "bin", "python"))
    arguments.add_argument("--quick", action="store_true", help="fewer repetitions; only prints")
    options = arguments.parse_args()
    result = run(options)
    print(page(result))
    missing = [peer for peer in PEERS if peer not in result["versions"]]
    if missing:
        print(f"bench: without {' and '.join(missing)} nothing is published")
    elif not options.quick:
        publish(result)


if __name__ == "__main__":
    main()
