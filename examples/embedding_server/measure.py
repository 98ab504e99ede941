"""What requests feel while the model of the server is replaced, as a table, JSON and a plot.

usage: measure.py PROGRAMS FOLDER [--swaps N] [--rows N] [--width N] [--load SHARE | --rate N] [--window SECONDS]
                  [--bandwidth MB/S] [--swap map|copy] [--seed N]

PROGRAMS is the folder with server, train and load. FOLDER gets the models (it needs room for four) and the results.

The load is an open loop at SHARE of what the server can do. For each swap there are two windows of equal length beside each
other: in one the next checkpoint is published, in the other nothing happens; which is first is drawn. The same number of
pairs are shams: nothing happens in either. So the ratio of the two windows' p99 shows what a swap costs, and the shams'
ratios show how much of it is noise. The trainer saves between the windows, and not during them.
"""
import argparse
import contextlib
import json
import math
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

SETTLE = 1.0  # seconds of load before the first window, and of rest after a save
LOOK = 0.25  # seconds between two looks at /models
MIB = 1 << 20


class Server:
    """A server on a free port; a context manager."""

    def __init__(self, programs, model, *options):
        self.programs = pathlib.Path(programs)
        self.process = subprocess.Popen([self.programs / "server", model, "--port", "0", *options], stdout=subprocess.PIPE,
                                        text=True)
        self.url = self.process.stdout.readline().strip().rstrip("/")
        if not self.url:
            raise RuntimeError(f"the server did not start: exit status {self.process.wait()}")
        self.port = int(self.url.rpartition(":")[2])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.terminate()
        self.status = self.process.wait(10)
        self.process.stdout.close()

    def ask(self, path, body=None, **headers):
        """Status, headers and text of the answer."""
        request = urllib.request.Request(self.url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.headers, refused.read().decode()

    def models(self):
        return json.loads(self.ask("/models")[2])

    def wait_for(self, condition, seconds=30):
        """The first /models for which the condition holds."""
        end = time.monotonic() + seconds
        while not condition(found := self.models()):
            if time.monotonic() > end:
                raise TimeoutError(f"still not so: {found}")
            time.sleep(0.02)
        return found

    def rss(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    def major_faults(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()[9])

    def memory(self):
        """PSS and what belongs to the process alone, in bytes. It walks all pages: not for a window."""
        text = pathlib.Path(f"/proc/{self.process.pid}/smaps_rollup").read_text()
        return {name: 1024 * int(re.search(rf"^{name}: +(\d+) kB", text, re.M)[1]) for name in ("Pss", "Anonymous")}


def load(programs, server, rate, seconds, rows, threads=4):
    """Starts the generator; finish() gives its requests, in the order of their times, and its share of a core."""
    process = subprocess.Popen([pathlib.Path(programs) / "load", *map(str, (server.port, rate, seconds, rows, threads))],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish():
        out, share = process.communicate()
        requests = [(float(due) / 1e6, float(taken) / 1e6, int(step), result)
                    for due, taken, step, result in map(str.split, out.splitlines())]
        return sorted(requests), float(share)
    return finish


def train(programs, folder, step, rows, width):
    """Saves one checkpoint, which nobody follows."""
    subprocess.run([pathlib.Path(programs) / "train", folder, *map(str, (rows, width, step, 1))], check=True,
                   stdout=subprocess.DEVNULL)


def publish(staging, saved, name):
    """Moves a checkpoint to the directory that is followed, and lists it there as the latest."""
    saved = pathlib.Path(saved)
    for path in pathlib.Path(staging).glob(f"{name}.*"):
        path.rename(saved / path.name)
    (saved / "checkpoint.new").write_text(f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n')
    (saved / "checkpoint.new").rename(saved / "checkpoint")


def prune(saved):
    """Removes all checkpoints but the last two: the current one, and the one for a rollback."""
    saved = pathlib.Path(saved)
    steps = sorted({int(path.stem.rpartition("-")[2]) for path in saved.glob("model-*.index")})
    for step in steps[:-2]:
        for path in saved.glob(f"model-{step}.*"):
            path.unlink()


def quantile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))]


def median_with_interval(ratios, draws=10_000):
    """The median, and its 95 % bootstrap interval."""
    drawn = [quantile(random.choices(ratios, k=len(ratios)), 0.5) for _ in range(draws)]
    return {"median": quantile(ratios, 0.5), "low": quantile(drawn, 0.025), "high": quantile(drawn, 0.975)}


def sustained(args, server, rate):
    requests, _ = load(args.programs, server, rate, 2, args.rows, args.threads)()
    last = [taken for _, taken, _, _ in requests[len(requests) * 3 // 4:]]
    return quantile(last, 0.5) < 0.02


def capacity(args, server):
    """The highest rate at which the last requests of two seconds do not wait for those before."""
    low, high = 0, 250
    while sustained(args, server, high):
        low, high = high, 2 * high
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (middle, high) if sustained(args, server, middle) else (low, middle)
    return low


class Sampler(threading.Thread):
    """RSS of the server, ten times a second."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.samples, self.ended = server, [], threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            with contextlib.suppress(OSError):
                self.samples.append((time.monotonic(), self.server.rss()))


def figures(requests, begin, end):
    taken = [each[1] for each in requests if begin <= each[0] < end]
    return {"count": len(taken), "p50": quantile(taken, 0.5), "p99": quantile(taken, 0.99), "p99.9": quantile(taken, 0.999),
            "max": max(taken)}


def measure_pair(args, server, rate, swap_in):
    """Two windows; `swap_in` says in which the next checkpoint is published (None: a sham), as a function and a number."""
    finish = load(args.programs, server, rate, SETTLE + 2 * args.window + 0.2, args.rows, args.threads)
    begin = time.monotonic() + SETTLE + 0.1  # the generator begins after 0.05 s
    publishing, number = swap_in
    took, faults = None, []
    before = server.models()["current"]["generation"]
    for window in range(2):
        end = begin + (window + 1) * args.window
        time.sleep(max(0, end - args.window - time.monotonic()))
        faults.append(server.major_faults())
        if window == number and publishing:
            publishing()
            at = time.time()
        while time.monotonic() < end - LOOK:  # the same in both windows: it is load too
            time.sleep(LOOK)
            models = server.models()
            if models["current"]["generation"] != before and took is None:
                took = models["history"][0]["at"] - at
    time.sleep(max(0, end - time.monotonic()))
    faults.append(server.major_faults())
    if publishing and took is None:
        took = server.wait_for(lambda m: m["current"]["generation"] != before, 300)["history"][0]["at"] - at
    requests, share = finish()
    windows = [figures(requests, begin + i * args.window, begin + (i + 1) * args.window) for i in range(2)]
    return {"begin": begin, "swap_window": number, "real": publishing is not None, "swap_seconds": took, "windows": windows,
            "ratio_p99": windows[number]["p99"] / windows[1 - number]["p99"], "generator_share_of_a_core": share,
            "major_faults": [faults[1] - faults[0], faults[2] - faults[1]],
            "failed": sum(each[3] == "failed" for each in requests), "mixed": sum(each[3] == "mixed" for each in requests),
            "memory": server.memory()}, requests


def plot(pairs, requests, samples, path):
    """p50 and maximum of each tenth of a second, and RSS below; a line where a checkpoint was published."""
    wide, high, left = 1200, 420, 60
    begin = min(pair["begin"] for pair in pairs)
    end = max(each[0] for each in requests)
    x = lambda at: left + (at - begin) / (end - begin) * (wide - left - 10)
    top = max(each[1] for each in requests)
    y = lambda taken: 260 - 240 * math.log10(max(taken, 5e-5) / 5e-5) / math.log10(top / 5e-5)
    bins = {}
    for due, taken, _, _ in requests:
        bins.setdefault(int((due - begin) * 10), []).append(taken)
    most = max(rss for _, rss in samples)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" font-family="sans-serif" font-size="12">',
           f'<rect width="{wide}" height="{high}" fill="white"/>']
    for pair in (pair for pair in pairs if pair["real"]):
        at = x(pair["begin"] + pair["swap_window"] * pair["window_seconds"])
        out.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="20" y2="400" stroke="#c33" stroke-width="0.7"/>')
    for level in (1e-4, 1e-3, 1e-2, 1e-1, 1):
        if level < top:
            out.append(f'<text x="{left - 6}" y="{y(level) + 4:.1f}" text-anchor="end">{level * 1e3:g} ms</text>')
            out.append(f'<line x1="{left}" x2="{wide - 10}" y1="{y(level):.1f}" y2="{y(level):.1f}" stroke="#ddd"/>')
    for which, color in ((lambda v: max(v), "#888"), (lambda v: quantile(v, 0.5), "#2f6f5e")):
        out += [f'<circle cx="{x(begin + i / 10):.1f}" cy="{y(which(v)):.1f}" r="1" fill="{color}"/>' for i, v in sorted(bins.items())]
    line = " ".join(f"{x(at):.1f},{400 - 110 * rss / most:.1f}" for at, rss in samples if begin <= at <= end)
    out.append(f'<polyline points="{line}" fill="none" stroke="#2f6f5e"/>')
    out.append(f'<text x="{left - 6}" y="295" text-anchor="end">{most // MIB} MiB</text>')
    out.append(f'<text x="{left}" y="14">Each tenth of a second: median (green) and maximum (grey) time of a request; below: RSS.'
               f' Red: a checkpoint is published. Gaps: no load.</text></svg>')
    path.write_text("\n".join(out))


def measure(args):
    folder = pathlib.Path(args.folder)
    staging, saved = folder / "staging", folder / "saved"
    for made in (staging, saved):
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
    step = 1
    train(args.programs, staging, step, args.rows, args.width)
    publish(staging, saved, f"model-{step}")
    draw = random.Random(args.seed)
    plan = [True] * args.swaps + [False] * args.swaps
    draw.shuffle(plan)
    with Server(args.programs, saved, "--bandwidth", str(args.bandwidth), "--swap", args.swap,
                "--threads", str(args.threads + 2)) as server:  # the generator's connections take one each
        server.wait_for(lambda m: m["current"], 120)
        most = None if args.rate else capacity(args, server)
        rate = args.rate or args.load * most
        print(f"requests/s: {rate:.0f} of {most or 'an unknown capacity'}", flush=True)
        sampler = Sampler(server)
        sampler.start()
        pairs, requests = [], []
        for real in plan:
            publishing = None
            if real:
                step += 1
                prune(saved)
                train(args.programs, staging, step, args.rows, args.width)
                publishing = lambda: publish(staging, saved, f"model-{step}")
                time.sleep(SETTLE)
            pair, more = measure_pair(args, server, rate, (publishing, draw.randrange(2)))
            pair["window_seconds"] = args.window
            pairs.append(pair)
            requests += more
            if real and pair["swap_seconds"] > args.window:
                print(f"this swap took {pair['swap_seconds']:.1f} s, longer than its window: the pair is left out", flush=True)
            print(f"{'swap' if real else 'sham'}: p99 {pair['ratio_p99']:.2f} times its neighbour's", flush=True)
        sampler.ended.set()
        quarantine = server.models()["quarantine"]
    report(args, folder, most, rate, pairs, requests, sampler.samples, quarantine)


def report(args, folder, most, rate, pairs, requests, samples, quarantine):
    late = [pair for pair in pairs if pair["real"] and pair["swap_seconds"] > args.window]
    pairs = [pair for pair in pairs if pair not in late]
    if len(late) == args.swaps:
        raise SystemExit("every swap took longer than its window: nothing was measured")
    of = lambda real: [pair["ratio_p99"] for pair in pairs if pair["real"] == real]
    of_windows = lambda real, inside, name: [
        pair["windows"][pair["swap_window"] if inside else 1 - pair["swap_window"]][name] for pair in pairs if pair["real"] == real]
    result = {
        "options": vars(args), "capacity_per_second": most, "rate_per_second": rate, "requests": len(requests),
        "failed": sum(pair["failed"] for pair in pairs + late), "mixed": sum(pair["mixed"] for pair in pairs + late),
        "swaps_left_out": len(late), "quarantine": quarantine,
        "generator_share_of_a_core": max(pair["generator_share_of_a_core"] for pair in pairs),
        "ratio_p99_swap": median_with_interval(of(True)), "ratio_p99_sham": median_with_interval(of(False)),
        "swap_windows": {name: quantile(of_windows(True, True, name), 0.5) for name in ("p50", "p99", "p99.9", "max")},
        "quiet_windows": {name: quantile(of_windows(True, False, name), 0.5) for name in ("p50", "p99", "p99.9", "max")},
        "longest_request_in_a_swap_window": max(of_windows(True, True, "max")),
        "longest_request_in_another_window": max(of_windows(False, True, "max") + of_windows(False, False, "max")),
        "major_faults_in_swap_windows": sum(pair["major_faults"][pair["swap_window"]] for pair in pairs if pair["real"]),
        "rss_max": max(rss for _, rss in samples),
        "pss_max": max(pair["memory"]["Pss"] for pair in pairs), "anonymous_max": max(pair["memory"]["Anonymous"] for pair in pairs),
        "pairs": pairs}
    (folder / f"{args.swap}.json").write_text(json.dumps(result, indent=1, default=str))
    plot(pairs, requests, samples, folder / f"{args.swap}.svg")
    print(json.dumps({name: value for name, value in result.items() if name != "pairs"}, indent=1, default=str))


def main(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs")
    parser.add_argument("folder")
    for name, default in (("swaps", 20), ("rows", 486_000), ("width", 256), ("threads", 4), ("bandwidth", 100), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--load", type=float, default=0.7)
    parser.add_argument("--rate", type=float, help="requests per second, instead of a share of the capacity")
    parser.add_argument("--window", type=float, default=15)
    parser.add_argument("--swap", choices=("map", "copy"), default="map")
    measure(parser.parse_args(words))


if __name__ == "__main__":
    main(sys.argv[1:])
