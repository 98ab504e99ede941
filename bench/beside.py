"""Asks two builds of Cairn the same questions in turn: the one before a change, and the one after it.

usage: beside.py [--rounds N] [--payloads NAME,…] [--contenders NAME,…] BEFORE AFTER QUESTION…

BEFORE and AFTER are build directories with -Dbench=enabled, of equal options; a QUESTION is one of questions.py. Both
builds read the same files, which AFTER makes. A round asks each build once, and the order turns from round to round. The
ratio is the median of the rounds' own ratios, so that a slow minute of the machine meets both. Nothing is published.
"""
import argparse
import os
import statistics
import tempfile

from contenders import Programs, Skip
from questions import QUESTIONS, question
from run import Payloads


def ask(programs, asked, part, payload, contender):
    """Microseconds; what takes less than 20 ms is asked for a fifth of a second, but not what is asked of new processes."""
    microseconds, _ = programs.ask(part, payload, contender, 0)
    if asked.first or microseconds > 20_000:
        return microseconds
    return programs.ask(part, payload, contender, 0.2)[0]


def compare(builds, asked, part, payload, contender, rounds):
    samples = [[], []]
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            if asked.syncs:
                os.sync()
            samples[which].append(ask(builds[which], asked, part, payload, contender))
    before, after = map(statistics.median, samples)
    ratio = statistics.median(b / a for a, b in zip(*samples))
    print(f"{part.ask:12} {payload:8} {contender:28} {before:12.1f} {after:12.1f} {ratio:8.3f}"
          f" {min(samples[1]) / min(samples[0]):8.3f}", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--payloads", type=lambda text: text.split(","), help="only these")
    arguments.add_argument("--contenders", type=lambda text: text.split(","), help="only these; default: all of Cairn's")
    arguments.add_argument("builds", nargs=2, metavar="BUILD")
    arguments.add_argument("questions", nargs="+", metavar="QUESTION", help=", ".join(q.name for q in QUESTIONS))
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(dir=options.builds[1], prefix="bench-data.") as data:
        payloads = Payloads(options.builds[1], data)
        builds = [Programs(build, data) for build in options.builds]
        print(f"{'ask':12} {'payload':8} {'contender':28} {'before µs':>12} {'after µs':>12} {'ratio':>8} {'of least':>8}")
        for asked in map(question, options.questions):
            for part in asked.parts:
                for payload in part.payloads:
                    if options.payloads and payload not in options.payloads:
                        continue
                    payloads.fill(payload, asked.fill)
                    known = [programs.contenders(part, payload) for programs in builds]
                    for contender in known[1]:
                        wanted = contender in options.contenders if options.contenders else not contender.startswith("plain")
                        if not wanted or contender not in known[0]:
                            continue
                        try:
                            compare(builds, asked, part, payload, contender, options.rounds)
                        except Skip as skip:
                            print(f"{part.ask:12} {payload:8} {contender:28} skipped: {skip}", flush=True)


if __name__ == "__main__":
    main()
