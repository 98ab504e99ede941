"""What Cairn sets out to reach, beside what was measured. It reports; it never fails anything."""
from dataclasses import dataclass

from figures import duration, size, times
from questions import COUNTS, GROWTH, PEERS, label

MIB = 1 << 20


@dataclass
class Check:
    """One measured number and its bound. `measured` is None where something was not asked."""
    words: str
    measured: float
    sense: str       # "≤", "<", "≥"
    bound: float
    form: object = times

    def met(self):
        return {"≤": self.measured <= self.bound, "<": self.measured < self.bound,
                "≥": self.measured >= self.bound}[self.sense]


def ratio(over, under):
    return over / under if over is not None and under else None


class Targets:
    def __init__(self, figures):
        self.f = figures

    def against(self, where, peer, bound, ours=("cairn",), sense="≤"):
        """Our time by a peer's. Of several peers the fastest."""
        peers = (peer,) if isinstance(peer, str) else peer
        words = label(peer) if isinstance(peer, str) else "the fastest peer"
        return Check(f"of {words}", ratio(self.f.us(where, *ours), self.f.us(where, *peers)), sense, bound)

    def speed(self, where, limit, bound, ours=("cairn",), words=None):
        """Our speed by the machine's."""
        measured = ratio(self.f.us(where, *limit), self.f.us(where, *ours))
        return Check(words or f"of the speed of {label(limit[0])}", measured, "≥", bound)

    def within(self, where, bound_us, ours="cairn", words=""):
        return Check(words, self.f.us(where, ours), "≤", bound_us, duration)

    def open(self):
        gpt2, many = ("open", "open", "gpt2"), ("open", "open", "many")
        yield ("open", "open, index fully validated, `gpt2`",
               "≤ 1/2 of TensorFlow, ≤ 1/4 of safetensors in Python, faster than the Rust crate",
               [self.against(gpt2, "tensorflow", 1 / 2), self.against(gpt2, "safetensors", 1 / 4),
                self.against(gpt2, "safetensors-rust", 1, sense="<")])
        yield ("open", "open, `many`", "≤ 1/60 of TensorFlow, ≤ 1/40 of the Rust crate, ≤ 1.2 ms",
               [self.against(many, "tensorflow", 1 / 60), self.against(many, "safetensors-rust", 1 / 40),
                self.within(many, 1200)])
        yield ("open", "open a stock `.safetensors`, `gpt2`", "≤ 30 µs, ≤ 0.42 of the Rust crate, ≤ 0.3 of safetensors in Python",
               [self.within(gpt2, 30, "cairn-safetensors"), self.against(gpt2, "safetensors-rust", 0.42, ("cairn-safetensors",)),
                self.against(gpt2, "safetensors", 0.3, ("cairn-safetensors",))])
        yield ("open", "open a stock `.safetensors`, `many`", "≤ 10 ms", [self.within(many, 10_000, "cairn-safetensors")])
        for where, bound_us, part in ((gpt2, 20, 0.3), (many, 8000, 0.1)):
            yield ("open", f"open a stock `P.index`, `{where[2]}`", f"≤ {duration(bound_us)}, ≤ {part} of TensorFlow",
                   [self.within(where, bound_us, "cairn-tensorflow"),
                    self.against(where, "tensorflow", part, ("cairn-tensorflow",))])
        yield from self.first()
        yield ("lookup", "one tensor out of 100,000, from nothing to its bytes", "≤ 1/40 of the best peer",
               [self.against(("lookup", "one", "many"), PEERS, 1 / 40)])
        yield ("lookup", "find a tensor by its name, `gpt2`, `many`", "≤ 30 ns, ≤ 100 ns",
               [self.within(("lookup", "lookup", name), bound_us, "cairn", f"`{name}`")
                for name, bound_us in (("gpt2", 0.03), ("many", 0.1))])

    def first(self):
        for contender, words, gpt2_us, many_us in (("cairn", "`P.cairn`", 100, 3000),
                                                   ("cairn-safetensors", "a stock `.safetensors`", 150, 18_000),
                                                   ("cairn-tensorflow", "a stock `P.index`", None, 12_000)):
            bounds = [(name, us) for name, us in (("gpt2", gpt2_us), ("many", many_us)) if us]
            yield ("first", f"open {words} in a new process", ", ".join(f"`{name}` ≤ {duration(us)}" for name, us in bounds),
                   [self.within(("first", "open", name), us, contender, f"`{name}`") for name, us in bounds])

    def warm(self):
        touch, verify, copy = ("touch", "touch", "gpt2"), ("verify", "verify", "gpt2"), ("copy", "copy", "gpt2")
        yield ("touch", "first touch of everything, warm, `gpt2`", "≤ 1.15 × plain MAP_POPULATE + touch",
               [Check("of the plain way", ratio(self.f.us(touch, "cairn-restore"), self.f.us(touch, "plain-populate")),
                      "≤", 1.15)])
        yield ("verify", "every byte checked, warm, by descriptor", "≥ 0.9 of pread + sum, ≤ 1/3 of TensorFlow's RestoreV2",
               [self.speed(verify, ("plain-pread-sum",), 0.9), self.against(verify, "tensorflow", 1 / 3)])
        yield ("verify", "every byte checked, warm, over memory of our own", "≥ 0.85 of summing it, ≤ 1/3 of RestoreV2",
               [self.speed(verify, ("plain-sum",), 0.85, ("cairn-memory",)),
                self.against(verify, "tensorflow", 1 / 3, ("cairn-memory",))])
        small = ("copy", "copy", "many")
        yield ("copy", "copy 100,000 tensors of 256 bytes into the caller's memory", "≤ 6 ms, checked ≤ 9 ms",
               [self.within(small, 6000, "cairn", "unchecked"), self.within(small, 9000, "cairn-checked", "checked")])
        yield ("copy", "copy into the caller's memory, warm", "≥ 0.9 of parallel memcpy from the mapping, faster than every peer",
               [self.speed(copy, ("plain-memcpy",), 0.9), self.against(copy, PEERS, 1, sense="<")])

    def disk(self):
        cold = ("cold", "cold", "gpt2")
        yield ("cold", "cold restore, checked", "≥ 0.92 of the best fio figure; the checking costs nothing (≤ 1.03)",
               [self.speed(cold, self.f.contenders(cold, "fio") or ("fio",), 0.92, ("cairn",), "of the best fio's speed"),
                Check("of unchecked", ratio(self.f.us(cold, "cairn"), self.f.us(cold, "cairn-unchecked")), "≤", 1.03)])
        for ask, words, bound in (("save", "save without sync", 0.97), ("save_sync", "save, synced", 0.9)):
            where = ("save", ask, "gpt2")
            yield ("save", words, f"≥ {bound} of a plain write, sums and hashes included; faster than TensorFlow and safetensors",
                   [self.speed(where, ("plain-write",), bound),
                    self.against(where, ("tensorflow", "safetensors", "safetensors-rust"), 1, sense="<")])
        yield ("save", "save without sync, `many`", "≤ 60 ms",
               [self.within(("save", "save", "many"), 60_000)])
        blocked, step = (("save", f"async_{what}", "gpt2") for what in ("blocked", "step"))
        yield ("save", "`save_async`, and the step after it", "blocked ≤ 1.15 × memcpy into memory that is there; the step ≤ 1.05",
               [Check("of memcpy", ratio(self.f.us(blocked, "cairn"), self.f.us(blocked, "plain-memcpy")), "≤", 1.15),
                Check("of a step without a save", ratio(self.f.us(step, "cairn"), self.f.us(step, "plain")), "≤", 1.05)])

    def indexes(self):
        for ask in ("import", "export"):
            small, large, gpt2 = (("transfer", ask, name) for name in ("llm-28", "llm", "gpt2"))
            yield ("transfer", ask, "10 MB and 8 GB alike (≤ 1.1), ≤ 5 ms beside the syncs for `gpt2`",
                   [Check("for 8 GB, on disk", ratio(self.f.us(large, "cairn"), self.f.us(small, "cairn")), "≤", 1.1),
                    self.within(gpt2, 5000, "cairn-memory", "`gpt2` in memory")])

    def memory(self):
        one, eight = ("processes", "processes-1", "gpt2"), ("processes", "processes-8", "gpt2")
        payload = self.f.payload("gpt2")
        yield ("processes", "anonymous memory while restoring", "≤ index size + 2 MiB",
               [Check("beyond the index", self.beyond_index(one), "≤", 2 * MIB, size)])
        yield ("processes", "8 processes together hold the payload once (PSS)", "≤ 1.02 × the payload",
               [Check("the payload", ratio(self.f.counter(eight, "cairn", "pss_bytes"), payload and payload["bytes"]),
                      "≤", 1.02)])

    def beyond_index(self, where):
        anonymous = self.f.counter(where, "cairn", "anonymous_bytes")
        return None if anonymous is None else max(anonymous - self.f.counter(where, "cairn", "index_bytes"), 0)

    def growth(self):
        """Linear is read as: twice as much for each unit, at most, from one end to the other."""
        def at(ask, payload):
            return self.f.us(("growth", ask, payload), "cairn", "cairn-memory")

        def per(ask, few, many, by):
            few_payload, many_payload = self.f.payload(few), self.f.payload(many)
            if not (few_payload and many_payload):
                return None
            return ratio(ratio(at(ask, many), at(ask, few)), many_payload[by] / few_payload[by])
        few, many = (self.f.counter(("growth", "processes-1", payload), "cairn", "index_bytes") for payload in ("llm-28", "llm"))
        grown = ratio(ratio(at("open", "llm"), at("open", "llm-28")), ratio(many, few))
        yield ("growth", "open against bytes, 10 MB to 8 GB", "no more than the index grows, which has a sum for each MiB (≤ 1.1)",
               [Check("the index's growth", grown, "≤", 1.1)])
        yield ("growth", "growth from 10⁴ to 10⁶ tensors, for each tensor", "linear (≤ 2)",
               [Check(words, per(ask, COUNTS[2], COUNTS[4], "tensors"), "≤", 2)
                for ask, words in (("open", "open"), ("import", "import"), ("processes-1", "restore"))])
        yield ("growth", "growth from 0.1 GB to 8 GB, for each byte", "linear (≤ 2)",
               [Check(words, per(ask, "llm-9", "llm", "bytes"), "≤", 2)
                for ask, words in (("verify", "verify"), ("processes-1", "restore"))])
        beyond = [b for b in (self.beyond_index(("growth", "processes-1", p)) for p in GROWTH) if b is not None]
        yield ("growth", "anonymous memory, at any size", "≤ index size + 2 MiB",
               [Check("beyond the index, at most", max(beyond, default=None), "≤", 2 * MIB, size)])

    def all(self):
        for part in (self.open, self.warm, self.disk, self.indexes, self.memory, self.growth):
            yield from part()


def verdict(checks):
    asked = [c for c in checks if c.measured is not None]
    if not asked:
        return "not measured"
    missed = [c for c in asked if not c.met()]
    if not missed:
        return "met" if len(asked) == len(checks) else "met, as far as measured"
    return "**missed**" if len(missed) == len(checks) else f"**missed**: {', '.join(c.words or 'time' for c in missed)}"


def table(figures):
    """Markdown: what, target, measured, met or missed."""
    lines = ["| what | target | measured | |", "| --- | --- | --- | --- |"]
    for page, what, target, checks in Targets(figures).all():
        if page not in figures.results:
            continue
        measured = ", ".join(f"{c.form(c.measured)} {c.words}".strip() for c in checks if c.measured is not None)
        lines.append(f"| [{what}]({page}.md) | {target} | {measured or '–'} | {verdict(checks)} |")
    return "\n".join(lines)
