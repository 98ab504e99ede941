"""Thousands of generated checkpoints, whole and damaged, read by the library and by TensorFlow.

`differential/run.py` runs more of them, and single ones again.
"""
import os
from dataclasses import replace

import command
from command import Case
from differential import ours, theirs
from differential.differences import READS_MORE, STRICTER
from differential.encode import DTYPES
from differential.judge import Judge, expected
from differential.rounds import Rounds, answers_of, made

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT = 2000
# The same each time: what other seeds find concerns whoever works on this, with differential/run.py.
SEED = 5


# --- readers that are wrong on purpose, as what they would answer -----------------------------------------------------

def ignores_checksums(outcome):
    """Tensors whose sum is wrong are given as they lie."""
    answer = replace(outcome.answer, tensors=dict(outcome.answer.tensors), full=None)
    entries = {entry.key: entry for entry in outcome.case.facts.entries}
    for name, (dtype, shape, value) in answer.tensors.items():
        damaged = isinstance(value, ours.Refusal) and "damaged: bytes" in value.sentence
        if damaged and DTYPES[dtype][1] and name in entries:
            entry = entries[name]
            shard = outcome.case.facts.shards.get(entry.shard, b"")
            answer.tensors[name] = (dtype, shape, bytes(shard[entry.offset:entry.offset + entry.size]))
    return answer


def swaps_two_tensors(outcome):
    tensors = dict(outcome.answer.tensors)
    if len(tensors) >= 2:
        one, other = list(tensors)[:2]
        tensors[one], tensors[other] = tensors[other], tensors[one]
    return replace(outcome.answer, tensors=tensors)


def accepts_wrong_sizes(outcome):
    refused = outcome.answer.refused
    if refused is None or "elements, but they need" not in refused.sentence:
        return outcome.answer
    return expected(outcome.case.facts.tensors)


def stops_at_a_bad_block(outcome):
    refused = outcome.answer.refused
    return ours.Answer() if refused and "block" in refused.sentence else outcome.answer


def forgets_a_tensor(outcome):
    return replace(outcome.answer, tensors=dict(list(outcome.answer.tensors.items())[:-1]))


def reads_slices_from_the_start(outcome):
    return replace(outcome.answer, slices=[each if isinstance(each, ours.Refusal) else bytes(len(each))
                                           for each in outcome.answer.slices])


def fails_for_no_reason(outcome):
    return ours.Answer(refused=ours.Refusal("Corrupt", "p.index: byte 0: is damaged somehow"))


def blames_the_machine(outcome):
    refused = outcome.answer.refused
    return replace(outcome.answer, refused=refused and replace(refused, code="Io"))


WRONG = (ignores_checksums, swaps_two_tensors, accepts_wrong_sizes, stops_at_a_bad_block, forgets_a_tensor,
         reads_slices_from_the_start, fails_for_no_reason, blames_the_machine)


class Differential(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        print(f"seed {SEED}", flush=True)
        tensorflow = theirs.TensorFlow()
        cls.addClassCleanup(tensorflow.close)
        cls.outcomes = []
        cls.rounds = Rounds(command.READ_DRIVER, tensorflow, SEED).run(range(COUNT), cls.outcomes.append)

    def test_generated_checkpoints_are_read_or_refused_as_tensorflow_does(self):
        self.assertEqual(self.rounds.failures, [], "differential/run.py runs one case again")
        self.assertGreater(self.rounds.met["checkpoints that open"], COUNT / 3)
        self.assertGreater(self.rounds.met["checkpoints that are mutated"], COUNT / 2)
        print(", ".join(f"{count} {what}" for what, count in self.rounds.met.most_common()), end=" ", flush=True)

    def test_a_reader_that_is_wrong_is_noticed(self):
        for reader in WRONG:
            with self.subTest(reader=reader.__name__):
                judges = [Judge(outcome.case, reader(outcome), outcome.other) for outcome in self.outcomes]
                noticed = sum(bool(judge.judge()) for judge in judges)
                print(f"{reader.__name__}: {noticed}", end=", ", flush=True)
                self.assertGreater(noticed, 2, f"--seed={SEED}")

    def test_a_reader_that_dies_is_blamed_with_its_checkpoint(self):
        driver = self.path("driver")
        with open(driver, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nwhile IFS= read -r line; do case $line in */1/p*) kill -ABRT $$;; esac\n"
                       f"printf '%s\\n' \"$line\" | {command.READ_DRIVER}; done\n")
        os.chmod(driver, 0o755)
        cases = [made(SEED, number, os.path.join(self.folder, str(number))) for number in range(3)]
        answers = answers_of(driver, cases)
        self.assertEqual([isinstance(answer, ours.Crash) for answer in answers], [False, True, False])
        self.assertIn("the driver ended with -6", str(Judge(cases[1], answers[1], None).judge()))

    def test_a_case_is_made_again_from_its_number(self):
        for number in range(40):
            one, again = (made(SEED, number, os.path.join(self.folder, which, str(number))) for which in "ab")
            self.assertEqual(files_beside(one.prefix), files_beside(again.prefix))

    def test_every_difference_is_told_to_users(self):
        with open(os.path.join(HERE, "../../docs/tensorflow.md"), encoding="utf-8") as file:
            page = file.read()
        self.assertEqual([title for title in [*STRICTER, *READS_MORE] if title not in page.replace("\n", " ")], [])


def files_beside(prefix):
    folder = os.path.dirname(prefix)
    return {name: open(os.path.join(folder, name), "rb").read() for name in os.listdir(folder)}
