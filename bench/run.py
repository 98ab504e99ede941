"""Asks Cairn, its peers and the machine itself the same questions, in turn, and publishes the answers.

usage: run.py [--quick] [--build DIR] [--python PROGRAM] [--payloads NAME,…] [QUESTION…]

Every repetition asks each contender once, in an order of its own, so that whatever else the machine does, and what
the one before left behind, meets all alike.
Each question's samples go to docs/benchmarks/raw/, from which report.py makes the pages. --quick only prints.
"""
import argparse
import datetime
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import report
from contenders import PEER_COMMANDS, ROOT, Fio, Programs, Skip, start_peers
from questions import QUESTIONS, question

LONG_S = 0.02  # what is shorter is asked again until so much time was spent; see bench/README.md


class Payloads:
    """The files below build/bench-data, made when they are first asked for."""

    def __init__(self, build, data):
        self.build, self.data, self.made = build, data, {}

    def make(self, name):
        stem = re.compile(re.escape(name) + r"\.")
        for folder in ("cairn", "tensorflow", "safetensors"):
            for file in os.listdir(os.path.join(self.data, folder)) if name in self.made else ():
                if stem.match(file):
                    os.remove(os.path.join(self.data, folder, file))
        command = [os.path.join(self.build, "bench", "payloads"), self.data, name]
        line = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        _, tensors, size, one = line.rstrip("\n").split("\t")
        self.made[name] = {"name": name, "tensors": int(tensors), "bytes": int(size), "one": one}

    def file(self, name):
        return os.path.join(self.data, "safetensors", f"{name}.safetensors")

    def drop(self, files):
        done = subprocess.run([os.path.join(self.build, "bench", "drop"), *files], capture_output=True, text=True)
        if done.returncode != 0:
            raise Skip(done.stderr.strip())

    def settle(self, size):
        """Leaves free memory that costs nothing to take; the programs do it themselves."""
        subprocess.run([os.path.join(self.build, "bench", "settle"), str(size)], check=True)

    def fill(self, name, how):
        """Brings the page cache into the state that questions.FILLS describes."""
        if name not in self.made or how == "written":
            self.make(name)
        if how in ("written", "folios"):
            return
        self.drop([self.file(name)])
        if how == "read":
            with open(self.file(name), "rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass


class Runner:
    def __init__(self, options, data):
        self.options, self.data = options, data
        self.payloads, self.programs = Payloads(options.build, data), Programs(options.build, data)
        self.peers = start_peers({"python": options.python, "build": options.build, "data": data})
        self.out = os.path.join(data, "out")
        self.commit = commit()  # before anything is published
        self.skipped = {}  # (question, ask, payload, contender): why
        try:
            self.fio = Fio()
        except Skip as why:
            self.fio = None
            print(f"bench: {why}: nothing says what the disk gives", flush=True)

    def round(self, asked, payload, number):
        """One repetition: yields (part, contender, microseconds, counters)."""
        for part in asked.parts:
            if payload not in self.payloads_of(part):
                continue
            calls = self.calls(asked, part, payload)
            for contender in shuffled(list(calls), number):
                if (asked.name, part.ask, payload, contender) in self.skipped:
                    continue
                if asked.syncs:
                    os.sync()
                try:
                    yield part, contender, *calls[contender]()
                except Skip as why:
                    self.skipped[asked.name, part.ask, payload, contender] = str(why)
                    print(f"bench: {asked.name}, {payload}: {contender} is left out: {why}", flush=True)

    def payloads_of(self, part):
        if self.options.payloads:
            return [name for name in part.payloads if name in self.options.payloads]
        return part.quick if self.options.quick and part.quick else part.payloads

    def calls(self, asked, part, payload):
        """By contender: what asks it."""
        min_time = 0 if asked.first or asked.fill in ("dropped", "folios") else LONG_S
        times = 1 if self.options.quick else asked.in_a_row
        calls = {}

        def often(call):
            return statistics.median(call() for _ in range(times))

        for name in self.programs.contenders(part, payload):
            calls[name] = lambda name=name: self.programs.ask(part, payload, name, min_time, times)
        for name, peer in self.peers.items() if part.peers else ():
            calls[name] = lambda peer=peer: (often(lambda: self.ask_peer(asked, peer, part.peers, payload, min_time)), {})
        if part.peers == "restore" and "torch" in self.peers:
            calls["torch-mmap"] = lambda: (
                often(lambda: self.ask_peer(asked, self.peers["torch"], "restore_mmap", payload, min_time)), {})
        for name, setting in self.fio.contenders().items() if asked.fio and self.fio else ():
            calls[name] = lambda setting=setting: (
                often(lambda: self.fio.ask(self.payloads.file(payload), setting)), {})
        return {name: call for name, call in calls.items() if not part.only or name in part.only}

    def ask_peer(self, asked, peer, word, payload, min_time):
        facts = self.payloads.made[payload]
        if asked.fill == "dropped":
            self.payloads.drop(peer.files(facts))
        self.payloads.settle((64 << 20) + (0 if word in ("open", "list", "one") else 2 * facts["bytes"]))
        os.makedirs(self.out, exist_ok=True)
        if not asked.first:
            return peer.ask(word, facts, self.out, 1000 * min_time)
        started = peer.again(facts)
        try:
            return started.ask(word, facts, self.out, 0)
        finally:
            started.close()

    def ask(self, asked):
        """Everything about one question, as its raw file holds it."""
        wanted = dict.fromkeys(payload for part in asked.parts for payload in self.payloads_of(part))
        repetitions = asked.quick_repetitions if self.options.quick else asked.repetitions
        load, figures = os.getloadavg()[0], {}
        for payload in wanted:
            start = time.monotonic()
            self.payloads.fill(payload, asked.fill)
            for number in range(-1 if repetitions > 1 else 0, repetitions):  # round -1 warms, and is not counted
                for part, contender, us, counters in self.round(asked, payload, number):
                    if number >= 0:
                        key = (payload, part.ask, contender)
                        figure = figures.setdefault(key, {"samples_us": [], "counters": counters})
                        figure["samples_us"].append(round(us, 3))
            print(f"bench: {asked.name}, {payload}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        return {"question": asked.name, "command": self.options.command, "repetitions": repetitions,
                "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
                "machine": machine(self.data), "load_average": {"before": load, "after": os.getloadavg()[0]},
                "versions": self.versions(), "absent": [name for name in PEER_COMMANDS if name not in self.peers],
                "skipped": [[*key[1:], why] for key, why in self.skipped.items() if key[0] == asked.name],
                "payloads": [self.payloads.made[name] for name in wanted],
                "figures": [summary(*key, **figure) for key, figure in figures.items()]}

    def versions(self):
        named = {"cairn": self.programs.version, "commit": self.commit, **({"fio": self.fio.version} if self.fio else {})}
        for peer in self.peers.values():
            named |= peer.versions
        return named


def shuffled(names, number):
    """In an order of this repetition: who stands behind a contender that leaves work for the kernel changes."""
    return random.Random(number).sample(names, len(names))


def summary(payload, ask, contender, samples_us, counters):
    return {"payload": payload, "ask": ask, "contender": contender, "median_us": round(statistics.median(samples_us), 3),
            "min_us": min(samples_us), "max_us": max(samples_us), "samples_us": samples_us, "counters": counters}


def machine(data):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    kind = subprocess.run(["findmnt", "-no", "FSTYPE", "-T", data], capture_output=True, text=True).stdout.strip()
    return {"cpu": model.group(1) if model else platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "kernel": f"{platform.system()} {platform.release()}", "file_system": kind}


def commit():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--build", default=os.path.join(ROOT, "build"))
    arguments.add_argument("--python", default=os.path.join(ROOT, ".venv-bench", "bin", "python"), help="the peers' Python")
    arguments.add_argument("--payloads", type=lambda text: text.split(","), help="only these; nothing is published")
    arguments.add_argument("--quick", action="store_true", help="fewer repetitions, smaller payloads; only prints")
    arguments.add_argument("questions", nargs="*", metavar="QUESTION", help=", ".join(q.name for q in QUESTIONS))
    options = arguments.parse_args()
    if unknown := set(options.questions) - {q.name for q in QUESTIONS}:
        arguments.error(f"no such question: {', '.join(sorted(unknown))}")
    options.build = os.path.abspath(options.build)
    options.command = " ".join(["./dev bench", *(["--quick"] if options.quick else []), *options.questions])
    chosen = [question(name) for name in options.questions] or QUESTIONS

    base = os.path.join(options.build, "bench-data")
    os.makedirs(base, exist_ok=True)
    data = tempfile.mkdtemp(dir=base)
    runner, results = None, {}
    try:
        runner = Runner(options, data)
        for asked in chosen:
            results[asked.name] = runner.ask(asked)
            if not options.quick and not options.payloads:
                report.write_raw(results[asked.name])
    finally:
        for peer in runner.peers.values() if runner else ():
            peer.close()
        shutil.rmtree(data, ignore_errors=True)
    if options.quick or options.payloads:
        print("\n".join(report.page(asked, results[asked.name]) for asked in chosen))
        print(report.target_table(results))
    else:
        report.publish()


if __name__ == "__main__":
    main()
