"""Cases by number: makes them, asks the library and TensorFlow, and judges.

A case is known by its seed and its number, so that it can be made again alone.
"""
import os
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass

from differential import ours
from differential.generate import random_facts
from differential.judge import Case, Judge, brief, questions, theirs_of
from differential.mutate import mutated

BATCH = 500
STEPS = {"nothing": 25, "facts": 35, "records": 18, "table": 16, "files": 6}  # where a mutation is, in percent


@dataclass
class Outcome:
    case: Case
    answer: object  # None where the driver crashed
    other: object


def made(seed, number, folder):
    rng = random.Random(f"{seed} {number}")
    facts = random_facts(rng)
    step, = rng.choices(list(STEPS), STEPS.values())
    files, said = mutated(rng, facts, step)
    os.makedirs(folder)
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    return Case(number, os.path.join(folder, "p"), facts, said)


def answers_of(driver, cases):
    """The library's answers; in place of one at which the driver crashed, the Crash."""
    answers = []
    while len(answers) < len(cases):
        rest = cases[len(answers):]
        try:
            answers += ours.ask(driver, [(case.prefix, case.facts.slices) for case in rest])
        except ours.Crash as crash:
            answers += [*crash.answers, crash]
    return answers


def outcomes_of(driver, tensorflow, cases):
    answers = answers_of(driver, cases)
    asked = [questions(case, answer) for case, answer in zip(cases, answers)]
    # Listing is what TensorFlow dies of, and a child that only lists is soon replaced.
    told = iter(tensorflow.ask([question for each in asked for question in each[:-1]]))
    lists = tensorflow.ask([each[-1] for each in asked])
    return [Outcome(case, answer, theirs_of(case, answer, [*(next(told) for _ in each[:-1]), listed]))
            for case, answer, each, listed in zip(cases, answers, asked, lists)]


class Rounds:
    """Runs cases, leaves those that are wrong in a directory, and counts what it met."""

    def __init__(self, driver, tensorflow, seed):
        self.driver, self.tensorflow, self.seed = driver, tensorflow, seed
        self.failures = []  # sentences
        self.met = Counter()
        self.left = None  # the directory of those that failed

    def run(self, numbers, keep=lambda outcome: None):
        """`keep` sees each outcome while its files are there."""
        numbers = list(numbers)
        for begin in range(0, len(numbers), BATCH):
            scratch = "/dev/shm" if os.path.isdir("/dev/shm") else None
            with tempfile.TemporaryDirectory(prefix="cairn-differential-", dir=scratch) as folder:
                batch = [made(self.seed, number, os.path.join(folder, str(number)))
                         for number in numbers[begin:begin + BATCH]]
                for outcome in outcomes_of(self.driver, self.tensorflow, batch):
                    self.judge(outcome)
                    keep(outcome)
        return self

    def judge(self, outcome):
        self.count(outcome)
        judge = Judge(outcome.case, outcome.answer, outcome.other)
        wrong = judge.judge()
        self.met.update(judge.used)
        if wrong:
            self.failures.append(self.report(outcome, wrong))

    def count(self, outcome):
        self.met["checkpoints"] += 1
        self.met["checkpoints that are mutated"] += outcome.case.mutation is not None
        self.met["tensors"] += len(outcome.other.tensors)
        self.met["questions without TensorFlow's verdict"] += sum(
            getattr(each, "silent", False) for each in [*outcome.other.tensors.values(), outcome.other.listed])
        if isinstance(outcome.answer, ours.Answer):
            self.met["checkpoints that open"] += outcome.answer.refused is None

    def report(self, outcome, wrong):
        case = outcome.case
        if self.left is None:
            self.left = tempfile.mkdtemp(prefix="cairn-differential-failed-")
        folder = os.path.join(self.left, f"seed-{self.seed}-case-{case.number}")
        shutil.copytree(os.path.dirname(case.prefix), folder)
        lines = [f"--seed={self.seed} --case={case.number}: {case.mutation or 'as it was made'}, left in {folder}",
                 *("  " + brief(sentence, 1500) for sentence in wrong)]
        with open(os.path.join(folder, "what is wrong"), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return "\n".join(lines)
