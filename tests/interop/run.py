"""The interoperability suite: what we write, TensorFlow and safetensors read, and the other way round, value for value.

usage: run.py CAIRN [PATTERN…]     the command, and which cases (all)

Runs in the virtual environment .venv at the root of the repository, which `./dev test` makes; without one it is
skipped. One process, because importing TensorFlow takes longer than most cases.
"""
import os
import sys

from cases import run_cases

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = os.path.join(HERE, "../../.venv/bin/python")
SKIPPED = 77


def into_venv():
    """Starts again with the environment's Python, where this is another."""
    if os.environ.get("CAIRN_INTEROP") == "inside":
        return
    if not os.path.exists(PYTHON):
        print("interop: skipped: there is no .venv with TensorFlow and safetensors (PyPI could not be reached)")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(SKIPPED)
    os.environ.update(CAIRN_INTEROP="inside", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="",
                      TF_ENABLE_ONEDNN_OPTS="0")
    os.execv(PYTHON, [PYTHON, *sys.argv])


def main():
    into_venv()
    import command
    command.CAIRN = os.path.abspath(sys.argv[1])
    beside = os.path.join(os.path.dirname(command.CAIRN), "../tests/interop/retention_driver")
    command.RETENTION_DRIVER = os.environ.get("CAIRN_RETENTION_DRIVER", beside)
    command.READ_DRIVER = os.environ.get("CAIRN_READ_DRIVER", os.path.join(os.path.dirname(beside), "read_driver"))
    return run_cases(HERE)


if __name__ == "__main__":
    sys.exit(main())
