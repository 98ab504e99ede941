"""The mapping lives as long as any array made of it: whatever is collected first, in threads, after fork."""
import gc
import os
import random
import subprocess
import sys
import threading
import weakref

import numpy as np

import cairn_store
from support import Case, mapped_file, address


def mapped(name):
    with open("/proc/self/maps") as file:
        return sum(name in line for line in file)


def ticks_during(call, opened):
    """How often another thread ran during the call. Nobody gets the interpreter's lock unless it is released."""
    ticks, done = [], threading.Event()

    def tick():
        while not done.is_set():
            ticks.append(1)
            done.wait(0.0002)

    thread = threading.Thread(target=tick)
    old = sys.getswitchinterval()
    sys.setswitchinterval(100)
    try:
        thread.start()
        before = len(ticks)
        call(opened)
        return len(ticks) - before
    finally:
        done.set()
        sys.setswitchinterval(old)
        thread.join()


class Lifetimes(Case):
    def test_the_last_user_ends_the_mapping(self):
        path = self.saved({"w": np.arange(5000), "v": np.arange(5)}, "life-1")
        opened = cairn_store.open(path)
        tensor = opened["w"]
        array = tensor.numpy()
        part = array[10:20]
        shared = np.from_dlpack(tensor)
        del opened, tensor, array
        gc.collect()
        self.assertEqual(part.tolist(), list(range(10, 20)))
        self.assertEqual(int(shared[-1]), 4999)
        del part
        gc.collect()
        self.assertEqual(mapped_file(address(shared)), "life-1.data-00000-of-00001")
        del shared
        gc.collect()
        self.assertEqual(mapped("life-1.data"), 0)

    def test_a_capsule_that_nobody_takes_is_freed(self):
        tensor = cairn_store.open(self.saved({"w": np.zeros(10)}, "caps-1"))["w"]
        capsules = [tensor.__dlpack__(max_version=(1, 1)), tensor.__dlpack__(copy=True)]
        del tensor
        gc.collect()
        self.assertEqual(mapped("caps-1.data"), 1)
        del capsules
        gc.collect()
        self.assertEqual(mapped("caps-1.data"), 0)

    def test_in_cycles(self):
        class Node:
            pass

        opened = cairn_store.open(self.saved({"w": np.zeros(10)}, "ring-1"))
        node = Node()
        node.self, node.opened, node.array = node, opened, opened["w"].numpy()
        seen = weakref.ref(node)
        del node, opened
        gc.collect()
        self.assertIsNone(seen())
        self.assertEqual(mapped("ring-1.data"), 0)

    def test_in_random_order(self):
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"seed {seed}")
        choose = random.Random(seed)
        given = {f"t{i}": np.full(100 + i, i) for i in range(20)}
        path = self.saved(given, "rand-1")
        kept = []
        for _ in range(3000):
            step = choose.randrange(5)
            if step == 0 or not kept:
                kept.append(cairn_store.open(path, access=choose.choice(["shared", "private", "copy"])))
            elif step == 1:
                one = choose.choice(kept)
                if isinstance(one, cairn_store.Checkpoint):
                    kept.append(one[f"t{choose.randrange(20)}"])
                elif isinstance(one, cairn_store.Tensor):
                    kept.append(choose.choice([one.numpy, lambda: np.from_dlpack(one), lambda: one[5:9]])())
                else:
                    self.assertEqual(int(one[0]), int(one[-1]))
                    kept.append(one[1:])
            elif step == 2 and choose.randrange(20) == 0:
                gc.collect()
            else:
                del kept[choose.randrange(len(kept))]
            kept = [one for one in kept if not isinstance(one, np.ndarray) or one.size > 1][-40:]
        del kept, one
        gc.collect()
        self.assertEqual(mapped("rand-1.data"), 0)

    def test_in_threads(self):
        given = {f"t{i}": np.full(3000 + i, i) for i in range(40)}
        path = self.saved(given, "thread-1")
        failures = []

        def work(number):
            try:
                choose = random.Random(number)
                for _ in range(60):
                    opened = cairn_store.open(path)
                    names = choose.sample(list(opened), 5)
                    arrays = {name: opened[name].numpy() for name in names}
                    shared = np.from_dlpack(opened[names[0]])
                    del opened
                    for name, array in arrays.items():
                        np.testing.assert_array_equal(array, given[name])
                    np.testing.assert_array_equal(shared, given[names[0]])
            except BaseException as failure:
                failures.append(failure)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        gc.collect()
        self.assertEqual(mapped("thread-1.data"), 0)

    def test_other_threads_run_while_a_call_takes_long(self):
        path = self.saved({"w": np.ones(48 << 20, np.uint8)})
        for call in (lambda opened: opened.verify(), lambda opened: opened["w"].numpy(), lambda opened: opened["w"][:],
                     lambda opened: cairn_store.open(path, verify="full")):
            self.assertTrue(any(ticks_during(call, cairn_store.open(path)) for _ in range(20)))

    def test_after_fork(self):
        opened = cairn_store.open(self.saved({"w": np.arange(1000), "v": np.arange(5)}))
        array = opened["w"].numpy()
        child = os.fork()
        if child == 0:
            good = array[999] == 999 and opened["v"].numpy().tolist() == list(range(5))
            good = good and opened["w"][5:7].tolist() == [5, 6] and bool(opened.verify(threads=1))
            os._exit(0 if good else 1)
        self.assertEqual(os.waitpid(child, 0)[1], 0)
        self.assertEqual(array[999], 999)

    def test_at_the_end_of_the_process(self):
        path = self.saved({"w": np.arange(1000)})
        program = ("import sys, numpy, cairn_store\n"
                   "kept = cairn_store.open(sys.argv[1]); tensor = kept['w']; array = tensor.numpy()\n"
                   "shared = numpy.from_dlpack(tensor); capsule = tensor.__dlpack__(max_version=(1, 0))\n"
                   "watcher = cairn_store.Watcher('.'); print(array[7])\n")
        done = subprocess.run([sys.executable, "-X", "dev", "-c", program, path], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "7\n", ""))
