"""What the library makes of checkpoints, by way of read_driver.cc."""
import re
import subprocess
import tempfile
from dataclasses import dataclass, field


@dataclass
class Refusal:
    code: str
    sentence: str


@dataclass
class Answer:
    """Of one checkpoint. A value is bytes, a list of strings, or a Refusal."""
    refused: Refusal = None
    tensors: dict = field(default_factory=dict)  # name → (dtype, shape, value)
    slices: list = field(default_factory=list)  # of values, in the order of the requests
    full: Refusal = None  # of an open that verifies everything


class Crash(Exception):
    """The driver ended before it had answered; `answers` are those before."""

    refused, tensors, slices, full = None, {}, [], None

    def __init__(self, message, answers):
        super().__init__(message)
        self.answers = answers


def request(prefix, slices):
    asked = [name.hex() + " " + ":".join(f"{start},{count}" for start, count in ranges) for name, ranges in slices]
    return "\t".join([prefix, *asked]) + "\n"


def ask(driver, cases):
    """An Answer for each case (prefix, slices). Raises Crash."""
    with tempfile.TemporaryFile("w+") as errors:
        done = subprocess.run([driver], input="".join(request(*case) for case in cases), stdout=subprocess.PIPE,
                              stderr=errors, encoding="utf-8", errors="surrogateescape", check=False)
        errors.seek(0)
        told = errors.read()
    parts = re.split("^end\n", done.stdout, flags=re.M)[:-1]  # sentences may end with that word
    answers = [answer_of(part) for part in parts]
    if done.returncode != 0 or len(answers) != len(cases):
        raise Crash(f"the driver ended with {done.returncode}\n{told}", answers)
    return answers


def answer_of(text):
    answer = Answer()
    for line in text.splitlines():
        what, *rest = line.split("\t")
        if what == "open":
            answer.refused = refusal(rest)
        elif what == "tensor":
            name, dtype, shape, *outcome = rest
            sizes = [int(size) for size in shape.split(",") if size]
            answer.tensors[bytes.fromhex(name)] = (dtype, sizes, value(dtype, outcome))
        elif what == "slice":
            answer.slices.append(value(rest[0], rest[1:]))
        elif what == "full":
            answer.full = refusal(rest)
        else:
            raise ValueError(f"a line that is none: {line!r}")
    return answer


def refusal(outcome):
    return None if outcome[0] == "ok" else Refusal(*outcome)


def value(dtype, outcome):
    if outcome[0] != "ok":
        return Refusal(*outcome)
    if dtype == "string":
        return [bytes.fromhex(each) for each in outcome[1].split(",")[1:]]
    return bytes.fromhex(outcome[1])
