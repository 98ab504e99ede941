"""The verdict on one checkpoint: what the library made of it, beside what TensorFlow made of it and what is true.

What TensorFlow refuses, the library refuses; where both accept, the bytes are the same; where TensorFlow has no verdict
(it aborted, or cannot put these dtypes together), the library refuses or is right by the generator's own knowledge.
Other answers must be among those in differences.py.
"""
from dataclasses import dataclass

from differential import ours, theirs
from differential.differences import READS_MORE, STRICTER
from differential.encode import DTYPE_NAMES, DTYPES, Facts, stored_variants
from differential.generate import part_of

# A damaged file is never the machine's fault, nor the caller's.
CODES = {"Corrupt", "Unsupported", "NotFound", "Unsafe"}
LOW_BITS = {"int4": 0x0F, "uint4": 0x0F, "float4_e2m1fn": 0x0F, "int2": 0x03, "uint2": 0x03}


@dataclass
class Case:
    number: int
    prefix: str
    facts: Facts
    mutation: str = None  # in words


@dataclass
class Theirs:
    tensors: dict  # name → (dtype number, shape, value) or a Refusal
    slices: list
    listed: object


def dtype_to_ask(case, answer, name):
    if name in answer.tensors and answer.tensors[name][0] in DTYPES:
        return DTYPES[answer.tensors[name][0]][0]
    stored = next((entry.dtype for entry in case.facts.entries if entry.key == name), None)
    return stored if stored in DTYPE_NAMES else DTYPES[case.facts.tensors[name].dtype][0]


def names_of(case, answer):
    return sorted(case.facts.tensors.keys() | answer.tensors.keys())


def questions(case, answer):
    """What TensorFlow is asked of a case, for which the library has given its answer."""
    asked = [("restore", case.prefix, name, "", dtype_to_ask(case, answer, name)) for name in names_of(case, answer)]
    for name, ranges in case.facts.slices:
        shape = answer.tensors[name][1] if name in answer.tensors else case.facts.tensors[name].shape
        spec = " ".join(map(str, shape)) + " " + ":".join(f"{start},{count}" for start, count in ranges)
        asked.append(("restore", case.prefix, name, spec, dtype_to_ask(case, answer, name)))
    return [*asked, ("list", case.prefix)]


def theirs_of(case, answer, answers):
    names = names_of(case, answer)
    return Theirs(dict(zip(names, answers)), answers[len(names):-1], answers[-1])


def same(dtype, a, b):
    if dtype in LOW_BITS and isinstance(a, bytes) and isinstance(b, bytes):
        mask = bytes(byte & LOW_BITS[dtype] for byte in range(256))
        return a.translate(mask) == b.translate(mask)
    return a == b


def refused(value):
    return isinstance(value, (ours.Refusal, theirs.Refusal))


def as_stored(tensor):
    """A true value as the library gives it: variants as they are stored."""
    return stored_variants(tensor.value)[0] if tensor.dtype == "variant" else tensor.value


class Judge:
    """Collects what is wrong with one answer."""

    def __init__(self, case, answer, other):
        self.case, self.answer, self.other = case, answer, other
        self.wrong = []  # sentences
        self.used = []  # titles of differences

    def judge(self):
        if isinstance(self.answer, ours.Crash):
            self.wrong.append(str(self.answer))
        elif self.answer.refused:
            self.whole_refused()
        else:
            for name in names_of(self.case, self.answer):
                self.tensor(name)
            self.listing()
            for request, mine, other in zip(self.case.facts.slices, self.answer.slices, self.other.slices):
                self.slice(*request, mine, other)
            self.full()
        return self.wrong

    def code(self, refusal):
        if refusal.code not in CODES:
            self.wrong.append(f"an answer that is none: {refusal}")

    def whole_refused(self):
        """Right where TensorFlow refuses, or does not find, any part of it."""
        self.code(self.answer.refused)
        others = [*self.other.tensors.values(), self.other.listed]
        if not any(map(refused, others)) and self.other_lists_all():
            self.stricter(self.answer.refused, "the checkpoint")

    def other_lists_all(self):
        return self.case.facts.tensors.keys() <= self.other.listed.keys()

    def stricter(self, refusal, what):
        for title, pattern in STRICTER.items():
            if self.case.mutation and pattern.search(refusal.sentence):
                self.used.append(title)
                return
        self.wrong.append(f"{what} is refused, which TensorFlow reads: {refusal.code}: {refusal.sentence}")

    def truth(self, name):
        """None where a mutation changed what is true."""
        return None if name in self.case.facts.doubtful else self.case.facts.tensors.get(name)

    def is_true(self, name, dtype, shape, value):
        truth = self.truth(name)
        return truth and (truth.dtype, truth.shape) == (dtype, shape) and same(dtype, value, as_stored(truth))

    def tensor(self, name):
        dtype, shape, value = self.answer.tensors.get(name, (None, None, ours.Refusal("NotFound", "is not listed")))
        other = self.other.tensors[name]
        if refused(value):
            if not (value.code == "OutOfMemory" and refused(other)):  # a shape larger than the driver reads
                self.code(value)
            if not refused(other):
                self.stricter(value, f"tensor {name!r}")
        elif refused(other):
            self.more(name, other, self.is_true(name, dtype, shape, value), (dtype, shape, value))
        else:
            self.equal(f"tensor {name!r}", (dtype, shape, value), other, self.truth(name))
            if self.case.mutation is None and not self.is_true(name, dtype, shape, value):
                self.wrong.append(f"tensor {name!r} is {brief((dtype, shape, value))}, which is not what was written")

    def equal(self, what, mine, other, truth):
        dtype, shape, value = mine
        number, other_shape, other_value = other
        if dtype == "variant" and truth and (number, other_shape) == (21, shape):
            other_value = as_stored(truth)
        if dtype == "variant" and not truth:
            other_value = value
        if (DTYPES[dtype][0], shape) != (number, other_shape) or not same(dtype, value, other_value):
            self.wrong.append(f"{what} is {brief(mine)}, and TensorFlow reads {brief(other)}")

    def more(self, name, other, is_true, mine):
        """We read what TensorFlow does not."""
        if not is_true and self.truth(name):
            self.wrong.append(f"tensor {name!r} is read as {brief(mine)}, which is not what was written; TensorFlow: "
                              f"{other}")
        elif not other.silent:
            self.allowed(f"tensor {name!r}", other)

    def allowed(self, what, other):
        about = f"{self.case.mutation}; {other.error}: {other.message}"
        for title, pattern in READS_MORE.items():
            if pattern.search(about):
                self.used.append(title)
                return
        self.wrong.append(f"{what} is read, which TensorFlow refuses: {other}")

    def listing(self):
        other = self.other.listed
        mine = {name: (DTYPES[dtype][0], shape) for name, (dtype, shape, _) in self.answer.tensors.items()}
        if not refused(other):
            if mine != other and not self.all_true():
                self.wrong.append(f"the lists differ: {brief(only(mine, other))}, and in TensorFlow "
                                  f"{brief(only(other, mine))}")
            elif mine != other:
                self.allowed("the list", theirs.Refusal("other names", brief(only(mine, other))))
        elif not other.silent:
            self.allowed("the list", other)

    def all_true(self):
        return all(refused(each[2]) or self.is_true(name, *each) for name, each in self.answer.tensors.items())

    def slice(self, name, ranges, mine, other):
        dtype = self.answer.tensors[name][0] if name in self.answer.tensors else None
        what = f"slice {ranges} of {name!r}"
        if refused(mine):
            if mine.code not in CODES | {"Invalid"}:
                self.wrong.append(f"an answer that is none: {mine}")
            if not refused(other):
                self.stricter(mine, what)
        elif refused(other):
            truth = self.truth(name)
            if truth and not same(dtype, mine, part_of(truth, ranges)):
                self.wrong.append(f"{what} is not what was written; TensorFlow: {other}")
            elif not other.silent:
                self.allowed(what, other)
        elif not same(dtype, mine, other[2]):
            self.wrong.append(f"{what} is {brief(mine)}, and TensorFlow reads {brief(other)}")

    def full(self):
        """Verify::Full finds something just where reading all tensors does."""
        found = [value for _, _, value in self.answer.tensors.values() if isinstance(value, ours.Refusal)]
        if self.answer.full is None and any("damaged" in each.sentence for each in found):
            self.wrong.append(f"Verify::Full passes over {found[0]}")
        if self.answer.full is not None and not found:
            self.wrong.append(f"Verify::Full finds what nobody else does: {self.answer.full}")


def only(one, other):
    return {name: what for name, what in one.items() if other.get(name) != what}


def brief(thing, size=300):
    text = thing if isinstance(thing, str) else repr(thing)
    return text if len(text) < size else text[:size] + "…"


def expected(tensors):
    """The answer of a library that does everything right; for the judge's own tests."""
    return ours.Answer(tensors={name: (each.dtype, each.shape, as_stored(each)) for name, each in tensors.items()})

