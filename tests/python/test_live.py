"""A model that is replaced while it is used."""
import gc
import threading
import time
import weakref

import numpy as np

import cairn_store
from support import Case


class Model:
    def __init__(self, number):
        self.number = number


def load(checkpoint):
    number = int(checkpoint["n"].numpy()[()])
    if number == 3:
        raise ValueError("no threes")
    return Model(number)


class LiveModels(Case):
    def save(self, number, shape=(1000,)):
        tensors = {"w": np.full(shape, number, "float32"), "n": np.int64(number)}
        return cairn_store.Saver(self.path("saved")).save("m", tensors, step=number).path

    def live(self, **options):
        return cairn_store.Live(self.path("saved"), bytes_per_second=None, poll=0.001, **options)

    def wait(self, live, done):
        end = time.monotonic() + 30
        while not done(live.status()):
            self.assertLess(time.monotonic(), end)
            live.poll(0.001)

    def test_checkpoints_are_published_with_their_models_and_rolled_back(self):
        live = self.live(prepare=load)
        self.assertIsNone(live.current())
        self.save(1)
        self.wait(live, lambda status: status.swaps == 1)
        one = live.current()
        self.assertEqual((one.generation, one.model.number, one.checkpoint.path), (1, 1, self.path("saved/m-1")))
        self.save(2)
        self.wait(live, lambda status: status.swaps == 2)
        array = live.current().checkpoint["w"].numpy()
        self.assertEqual(set(array.tolist()), {2.0})
        live.rollback()
        self.assertEqual(live.current().model.number, 1)
        self.assertIs(live.current().model, one.model)
        with self.assertRaises(cairn_store.NotFoundError):
            live.rollback()
        self.assertIn("cairn_live_rollbacks_total 1\n", live.prometheus())
        del live
        gc.collect()
        self.assertEqual(set(array.tolist()), {2.0})
        self.assertEqual(one.model.number, 1)

    def test_what_prepare_refuses_and_what_has_another_shape_is_in_quarantine(self):
        live = self.live(prepare=load)
        self.save(1)
        self.wait(live, lambda status: status.swaps == 1)
        three, four = self.save(3), None
        self.wait(live, lambda status: status.rejected == 1)
        four = self.save(4, (5,))
        self.wait(live, lambda status: status.rejected == 2)
        status = live.status()
        self.assertEqual([one.path for one in status.quarantine], [three, four])
        self.assertEqual(status.quarantine[0].why, "ValueError: no threes")
        self.assertEqual([one.code for one in status.quarantine], ["Invalid", "Invalid"])
        self.assertEqual((status.path, status.generation, status.state), (self.path("saved/m-1"), 1, "idle"))
        self.assertEqual(live.current().model.number, 1)

    def test_a_model_ends_with_its_last_snapshot(self):
        live = self.live(prepare=load)
        self.save(1)
        self.wait(live, lambda status: status.swaps == 1)
        ended = weakref.ref(live.current().model)
        for number in (2, 5):
            self.save(number)
            self.wait(live, lambda status: status.path.endswith(f"-{number}"))
        self.wait(live, lambda status: status.released == 1)
        gc.collect()
        self.assertIsNone(ended())

    def test_run_works_in_a_thread_beside_readers_and_ends_when_it_is_told_to(self):
        self.save(1)
        live = self.live(prepare=load)
        thread = threading.Thread(target=live.run)
        thread.start()
        wrong = []

        def read():
            end = time.monotonic() + 1
            while time.monotonic() < end:
                snapshot = live.current()
                if snapshot and set(snapshot.checkpoint["w"].numpy().tolist()) != {float(snapshot.model.number)}:
                    wrong.append(snapshot)
                time.sleep(0.001)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(4, 14):
            self.save(number)
            live.status()
        for reader in readers:
            reader.join()
        end = time.monotonic() + 30
        while live.status().path != self.path("saved/m-13"):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        live.stop()
        thread.join(30)
        self.assertFalse(thread.is_alive())
        self.assertEqual(wrong, [])

    def test_wrong_arguments_are_refused(self):
        with self.assertRaises(cairn_store.InvalidError):
            cairn_store.Live(self.path("saved"), poll=0)
        with self.assertRaises((TypeError, ValueError)):
            cairn_store.Live(self.path("saved"), bytes_per_second=-1)
