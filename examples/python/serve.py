"""Serves a model that is replaced while it is served.

usage: serve.py DIR      a directory into which a training process saves

Requests are lines of stdin: the name of a tensor. The answer is the sum of its elements, and the checkpoint that it comes
from. A thread waits for newer checkpoints. A request that has begun ends with the model that it began with.
"""
import sys
import threading

import cairn_store


class Server:
    def __init__(self, directory):
        self.model = None  # an open checkpoint; arrays made of it keep it open
        self.ended = threading.Event()
        # No daemon thread: if one is in a call of Cairn when Python ends, the process may abort.
        self.thread = threading.Thread(target=self.follow, args=(directory,))
        self.thread.start()

    def follow(self, directory):
        watcher = cairn_store.Watcher(directory)
        while not self.ended.is_set():
            path = watcher.wait(1)
            while newer := watcher.wait(0):  # older ones that wait behind it are left out
                path = newer
            if path is not None:
                self.load(path)

    def load(self, path):
        try:
            restored = cairn_store.restore(path)  # all bytes, checked: no request waits for the disk
        except cairn_store.CairnError as error:
            print(error, file=sys.stderr)
            return  # the old model goes on
        print(f"serving {path}, {restored.method}", file=sys.stderr, flush=True)
        self.model = restored.checkpoint

    def close(self):
        self.ended.set()
        self.thread.join()

    def infer(self, request):
        model = self.model
        if model is None:
            return "no model yet"
        try:
            return f"{model.path}: {model[request].numpy().sum()}"
        except cairn_store.CairnError as error:
            return str(error)


def main(directory):
    server = Server(directory)
    try:
        for line in sys.stdin:
            print(server.infer(line.strip()), flush=True)
    finally:
        server.close()


if __name__ == "__main__":
    main(sys.argv[1])
