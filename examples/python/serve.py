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
        threading.Thread(target=self.follow, args=(directory,), daemon=True).start()

    def follow(self, directory):
        watcher = cairn_store.Watcher(directory)
        for path in watcher:
            while newer := watcher.wait(0):  # older ones that wait behind it are left out
                path = newer
            try:
                restored = cairn_store.restore(path)  # all bytes, checked: no request waits for the disk
            except cairn_store.CairnError as error:
                print(error, file=sys.stderr)
                continue  # the old model goes on
            print(f"serving {path}, {restored.method}", file=sys.stderr, flush=True)
            self.model = restored.checkpoint

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
    for line in sys.stdin:
        print(server.infer(line.strip()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
