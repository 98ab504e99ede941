"""Who can be asked: programs of bench/, peers over a line protocol, fio. Each answers with microseconds or a Skip."""
import json
import os
import re
import shutil
import statistics
import subprocess
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# What a peer's process is, and where it finds a payload. The last two make a copy of it in their own format.
PEER_COMMANDS = {
    "tensorflow": ["{python}", "{root}/bench/peers/tensorflow_peer.py"],
    "safetensors": ["{python}", "{root}/bench/peers/safetensors_peer.py"],
    "safetensors-rust": ["{build}/bench/rust/release/safetensors_peer"],
    "torch": ["{python}", "{root}/bench/peers/torch_peer.py"],
    "tensorstore": ["{python}", "{root}/bench/peers/tensorstore_peer.py"],
}
PEER_PATHS = {
    "tensorflow": "{data}/tensorflow/{payload}",
    "safetensors": "{data}/safetensors/{payload}.safetensors",
    "safetensors-rust": "{data}/safetensors/{payload}.safetensors",
}
COPIED_BYTES_MAX, COPIED_TENSORS_MAX = 1 << 30, 10_000  # beyond, copies take minutes; tensorstore does not read as many
# Of fio: engine, block size, queue depth, jobs.
FIO_SETTINGS = (("io_uring", "1M", 32, 1), ("io_uring", "4M", 8, 1), ("io_uring", "4M", 4, 2), ("libaio", "1M", 16, 2),
                ("psync", "4M", 1, 2))


class Skip(Exception):
    """It cannot be asked this, or not at all."""


class Programs:
    """Cairn and the plain ways, in the same programs. Each figure has a new process."""

    def __init__(self, build, data):
        self.build, self.data, self.version, self.known = build, data, None, {}

    def command(self, program, payload, *options):
        return [os.path.join(self.build, "bench", program), self.data, payload, *options]

    def contenders(self, part, payload):
        if not os.path.exists(os.path.join(self.build, "bench", part.program)):
            return []
        if (part, payload) not in self.known:
            done = subprocess.run(self.command(part.program, payload, "--benchmark_list_tests"), capture_output=True, text=True)
            self.known[part, payload] = [name.split("/")[1] for name in done.stdout.split()
                                         if name.startswith(f"{part.ask}/")]
        return self.known[part, payload]

    def ask(self, part, payload, contender, min_time, times=1):
        """Microseconds, the median of so many `times` in a row, and counters."""
        done = subprocess.run(
            self.command(part.program, payload, f"--benchmark_filter=^{part.ask}/{contender}/",
                         f"--benchmark_min_time={min_time}", f"--benchmark_repetitions={times}",
                         "--benchmark_format=json"), capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip((done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1])
        report = json.loads(done.stdout)
        self.version = report["context"]["cairn"]
        figures = [figure for figure in report["benchmarks"] if figure["run_type"] == "iteration"]
        for figure in figures:
            if figure.get("error_occurred"):
                raise Skip(figure["error_message"])
        figure = figures[0]
        return statistics.median(figure["real_time"] for figure in figures), {key: figure[key] for key in figure if key.endswith("_bytes")}


class Peer:
    """A peer's process: asked by one JSON object a line, it answers with one."""

    def __init__(self, name, places):
        command = [word.format(root=ROOT, **places) for word in PEER_COMMANDS[name]]
        for word in command:
            if not os.path.exists(word):
                raise Skip(f"{os.path.relpath(word, ROOT)} is not there")
        self.name, self.places, self.copies = name, places, {}
        self.errors = tempfile.TemporaryFile("w+")
        quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                        text=True, env=quiet)
        self.versions = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.errors.seek(0)
            raise Skip((self.errors.read().strip().splitlines() or ["it ended"])[-1])
        return json.loads(line)

    def path(self, payload):
        """Where this peer finds the payload; the first time, makes it there."""
        name = payload["name"]
        if self.name in PEER_PATHS:
            return PEER_PATHS[self.name].format(data=self.places["data"], payload=name)
        if name not in self.copies:
            if payload["bytes"] > COPIED_BYTES_MAX or payload["tensors"] > COPIED_TENSORS_MAX:
                raise Skip(f"{payload['bytes'] / 1e6:,.0f} MB in {payload['tensors']:,} tensors are not copied into its format")
            out = os.path.join(self.places["data"], self.name)
            os.makedirs(out, exist_ok=True)
            source = PEER_PATHS["safetensors"].format(data=self.places["data"], payload=name)
            self.copies[name] = self.request("prepare", path=source, out=out)["path"]
        return self.copies[name]

    def again(self, payload):
        """A new process, which finds the copies that this one has made."""
        self.path(payload)
        started = Peer(self.name, self.places)
        started.copies = self.copies
        return started

    def files(self, payload):
        """What a restore of this payload reads, to be dropped from the page cache."""
        path, found = self.path(payload), []
        for folder, _, names in os.walk(os.path.dirname(path)):
            found += [os.path.join(folder, name) for name in names]
        return [file for file in found if file == path or file.startswith((f"{path}.", f"{path}/"))]

    def request(self, question, **details):
        try:
            self.process.stdin.write(json.dumps({"question": question, **details}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.read()
        for word in ("skip", "error"):
            if word in answer:
                raise Skip(answer[word])
        return answer

    def ask(self, question, payload, out, min_ms):
        return float(self.request(question, payload=payload["name"], path=self.path(payload), tensor=payload["one"],
                                  out=out, min_ms=min_ms)["us"])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Fio:
    """Direct reads of a file as fast as the disk gives them."""

    def __init__(self):
        if not shutil.which("fio"):
            raise Skip("fio is not installed")
        done = subprocess.run(["fio", "--version"], capture_output=True, text=True)
        self.version = done.stdout.strip().removeprefix("fio-")

    @staticmethod
    def contenders():
        return {f"fio {engine}, {block} × {depth}, {jobs} job{'s' if jobs > 1 else ''}": (engine, block, depth, jobs)
                for engine, block, depth, jobs in FIO_SETTINGS}

    @staticmethod
    def ask(file, setting):
        engine, block, depth, jobs = setting
        part = os.path.getsize(file) // jobs // 4096 * 4096
        command = ["fio", "--name=read", "--rw=read", "--direct=1", "--readonly", f"--filename={file}",
                   f"--ioengine={engine}", f"--bs={block}", f"--iodepth={depth}", f"--numjobs={jobs}", f"--size={part}",
                   f"--offset_increment={part}", "--group_reporting", "--thread", "--output-format=json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip(re.sub(r"\s+", " ", done.stderr.strip() or done.stdout.strip())[:120])
        read = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["read"]
        return os.path.getsize(file) / read["bw_bytes"] * 1e6


def start_peers(places):
    peers = {}
    for name in PEER_COMMANDS:
        try:
            peers[name] = Peer(name, places)
        except Skip as why:
            print(f"bench: {name} is left out: {why}", flush=True)
    return peers
