"""One directory, two writers at once: TensorFlow, which knows no lock, and Cairn.

CAIRN_ROUNDS=N and CAIRN_SEED=N: so many rounds of each case, and which.
"""
import collections
import glob
import json
import os
import random
import re
import threading
import time

import numpy as np
import tensorflow as tf

from command import Case, Refused, cairn, cairn_json

ROUNDS = int(os.environ.get("CAIRN_ROUNDS", "40"))
SEED = int(os.environ.get("CAIRN_SEED", random.SystemRandom().randrange(2**32)))
NAMES = [f"t{i}" for i in range(6)]
ELEMENTS = 5000
OF_A_GENERATION = re.compile(r"(x_)?t\d/")  # also where it was renamed


def attribute(name):
    return name + "/.ATTRIBUTES/VARIABLE_VALUE"


class Beside(Case):
    def setUp(self):
        super().setUp()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.folder)
        self.rng = random.Random(SEED)
        self.seen = collections.Counter()
        self.variables = {name: tf.Variable(tf.zeros(ELEMENTS, tf.int32)) for name in NAMES}
        self.checkpoint = tf.train.Checkpoint(**self.variables)
        print(f"{self._testMethodName}: seed {SEED}")
        self.addCleanup(lambda: print(f"{self._testMethodName}: {ROUNDS} rounds, {dict(self.seen)}"))

    def assign(self, value):
        for variable in self.variables.values():
            variable.assign(tf.fill([ELEMENTS], value))

    def arrays(self, value):
        """What `cairn save` takes for this generation."""
        np.save("value.npy", np.full(ELEMENTS, value, np.int32))
        return [attribute(name) + "=value.npy" for name in NAMES]

    def at_once(self, by_tensorflow, by_us):
        """Runs both, one in a thread, a little apart. What ours returned; a Refused, if it was refused."""
        came = []

        def ours():
            time.sleep(max(0.0, apart))
            try:
                came.append(by_us())
            except Refused as refused:
                came.append(refused)

        apart = self.rng.uniform(-0.02, 0.02)
        thread = threading.Thread(target=ours)
        thread.start()
        time.sleep(max(0.0, -apart))
        try:
            by_tensorflow()
        finally:
            thread.join()
        return came[0]

    def generation(self, prefix):
        """The one value that all tensors hold for TensorFlow; an error of its, where it finds damage."""
        reader = tf.train.load_checkpoint(prefix)
        values = {int(v) for name in reader.get_variable_to_dtype_map() if OF_A_GENERATION.match(name)
                  for v in np.unique(reader.get_tensor(name))}
        self.assertEqual(len(values), 1, f"{prefix} is silently mixed")
        return values.pop()

    def our_generation(self, prefix):
        """The same for us, every byte checked; a Refused, where damage is found."""
        cairn("verify", prefix)
        names = [tensor["name"] for tensor in cairn_json("ls", prefix)["tensors"]]
        values = {int(v) for name in names if OF_A_GENERATION.match(name)
                  for v in np.unique(np.frombuffer(cairn("cat", prefix, name, "--raw"), np.int32))}
        self.assertEqual(len(values), 1, f"{prefix} is silently mixed")
        return values.pop()


class AnotherPrefix(Beside):
    """Everything acknowledged that nobody has removed, and said so, is there."""

    def setUp(self):
        super().setUp()
        self.there = {}  # prefix → generation
        self.manager = tf.train.CheckpointManager(self.checkpoint, "run", max_to_keep=3, checkpoint_name="tf")

    def by_tensorflow(self, value):
        self.assign(value)
        if self.rng.random() < 0.3:
            self.saved = self.checkpoint.save("run/plain")  # lists itself alone, and deletes nothing
        else:
            self.saved = self.manager.save(checkpoint_number=value)

    def save(self, value):
        given = self.arrays(value)
        done = json.loads(cairn("save", "run/ours", "--step", str(value), "--max-to-keep", "4", "--json", *given))
        return {done["prefix"]: value}, done["deleted"]

    def prune(self, value):
        verdicts = cairn_json("prune", "run", "--max-to-keep", "3")["checkpoints"]
        return {}, [verdict["prefix"] for verdict in verdicts if not verdict["kept"]]

    def rename(self, value):
        ours = [prefix for prefix in self.there if prefix.startswith("run/ours")]
        if not ours:
            return self.save(value)
        cairn("rename", self.rng.choice(ours), "--regex", "^(x_)?t=x_t", "--replace")
        return {}, []

    def take_in(self, value):
        cairn("import", self.rng.choice(list(self.there)))
        return {}, []

    def test_nothing_acknowledged_is_lost(self):
        os.mkdir("run")
        self.by_tensorflow(1)
        self.there = {self.saved: 1}
        verbs = (self.save, self.save, self.take_in, self.rename, self.prune)
        for value in range(2, 2 * ROUNDS + 2, 2):
            verb = self.rng.choice(verbs)
            with self.subTest(value=value, verb=verb.__name__):
                came = self.at_once(lambda: self.by_tensorflow(value), lambda: verb(value + 1))
                self.there[self.saved] = value
                if isinstance(came, Refused):
                    self.seen["refused"] += 1
                else:
                    self.there.update(came[0])
                    for prefix in came[1]:
                        self.there.pop(prefix, None)
                kept = set(self.manager.checkpoints)
                self.there = {prefix: v for prefix, v in self.there.items() if "/tf-" not in prefix or prefix in kept}
                for prefix in {self.saved, *self.rng.sample(sorted(self.there), min(10, len(self.there)))}:
                    if prefix in self.there:
                        self.assertEqual(self.generation(prefix), self.there[prefix], prefix)
                listed = [entry["prefix"] for entry in cairn_json("state", "run")["checkpoints"]]
                self.seen[verb.__name__] += 1
                self.seen["not listed"] += len(set(self.there) - set(listed))
        for prefix, its in self.there.items():
            self.assertEqual((self.generation(prefix), self.our_generation(prefix)), (its, its), prefix)
        cairn("state", "run", "--repair", "--all")
        state = cairn_json("state", "run")["checkpoints"]
        self.assertEqual({entry["prefix"] for entry in state if entry["whole"]} & set(self.there), set(self.there))
        self.assertTrue(all(entry["whole"] for entry in state), state)


class SamePrefix(Beside):
    """One of the two is whole, or damage is found: no reader gets some of one and some of the other."""

    def by_tensorflow(self, value):
        self.assign(value)
        self.checkpoint.write("run/m")

    def save(self, value):
        cairn("save", "run/m", "--replace", *self.arrays(value))

    def convert(self, value):
        cairn("save", "from/m", "--replace", *self.arrays(value))
        cairn("convert", "from/m", "run/m", "--to", "cairn", "--replace")

    def take_in(self, value):
        cairn("import", "run/m", "--replace")

    def put_out(self, value):
        cairn("export", "run/m", "--to", "tensorflow", "--replace")

    def look(self, who, generation, allowed):
        try:
            value = generation("run/m")
        except (Refused, tf.errors.OpError, ValueError, RuntimeError) as error:
            self.seen[f"{who} finds damage"] += 1
            self.assertNotEqual(str(error), "")
            return
        self.assertIn(value, allowed)
        self.seen[f"{who} reads {'one of them' if value in allowed[:2] else 'what was there'}"] += 1

    def test_no_reader_gets_a_mixture(self):
        os.mkdir("run")
        verbs = (self.save, self.convert, self.take_in, self.put_out)
        for value in range(1, 3 * ROUNDS, 3):
            verb = self.rng.choice(verbs)
            with self.subTest(value=value, verb=verb.__name__):
                for path in glob.glob("run/m.*"):
                    os.unlink(path)
                self.by_tensorflow(value)
                if self.rng.random() < 0.5:
                    cairn("import", "run/m")
                came = self.at_once(lambda: self.by_tensorflow(value + 1), lambda: verb(value + 2))
                self.seen[verb.__name__ + (" refused" if isinstance(came, Refused) else "")] += 1
                allowed = (value + 1, value + 2, value)
                self.look("TensorFlow", self.generation, allowed)
                self.look("Cairn", self.our_generation, allowed)

    def test_a_mixture_is_noticed(self):
        os.mkdir("run")
        self.assign(1)
        self.variables[NAMES[-1]].assign(tf.fill([ELEMENTS], 2))
        self.checkpoint.write("run/m")
        for generation in (self.generation, self.our_generation):
            with self.assertRaisesRegex(AssertionError, "silently mixed"):
                generation("run/m")
