"""The medians of all questions under one roof, and how they are written down."""
import math


class Figures:
    """What was measured, by question, ask, payload and contender."""

    def __init__(self, results):
        self.results = results
        self.by_key = {(name, f["ask"], f["payload"], f["contender"]): f
                       for name, result in results.items() for f in result["figures"]}

    def us(self, where, *contenders):
        """The least median of those contenders that were asked; None where none was. `where`: question, ask, payload."""
        found = [self.by_key[(*where, c)]["median_us"] for c in contenders if (*where, c) in self.by_key]
        return min(found, default=None)

    def first_us(self, where, *contenders):
        """The median of the first of these that was asked: the one that the target means, or what stands in for it."""
        return next((self.us(where, c) for c in contenders if (*where, c) in self.by_key), None)

    def counter(self, where, contender, name):
        figure = self.by_key.get((*where, contender))
        return figure["counters"].get(name) if figure else None

    def contenders(self, where, prefix=""):
        return [key[3] for key in self.by_key if key[:3] == tuple(where) and key[3].startswith(prefix)]

    def payload(self, name):
        return next((p for result in self.results.values() for p in result["payloads"] if p["name"] == name), None)


def group(contender):
    """cairn, machine or peer."""
    return "cairn" if contender.startswith("cairn") else "machine" if contender.startswith(("plain", "fio")) else "peer"


def three_digits(value):
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def duration(us):
    """Three significant digits, with a unit that fits."""
    for limit, unit in ((1, "ns"), (1e3, "µs"), (1e6, "ms")):
        if us < limit:
            return f"{three_digits(us / limit * 1000)} {unit}"
    return f"{three_digits(us / 1e6)} s"


def size(count):
    for limit, unit in ((1 << 20, "KiB"), (1 << 30, "MiB")):
        if count < limit:
            return f"{three_digits(count * 1024 / limit)} {unit}"
    return f"{three_digits(count / (1 << 30))} GiB"


def times(ratio):
    return f"{ratio:.0f}×" if ratio >= 99.5 else f"{three_digits(ratio)}×"
