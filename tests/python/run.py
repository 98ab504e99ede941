"""The tests of the Python package: arrays, lifetimes, errors, the names of safetensors and TensorFlow.

usage: run.py [EXTENSION [PATTERN…]]     the built _cairn.abi3.so, and which cases (all)

An extension that was built with sanitizers (`./dev python-asan`) runs under them.

Runs in the virtual environment .venv at the root of the repository, which `./dev test` makes. Without it, or without the
extension (it needs nanobind from PyPI), it is skipped.
"""
import os
import platform
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
PYTHON = os.path.join(ROOT, ".venv/bin/python")
SKIPPED = 77


def into_venv():
    """Starts again with the environment's Python, with every warning on."""
    if os.environ.get("CAIRN_PYTHON") == "inside":
        return
    why = None
    if len(sys.argv) < 2:
        why = "cairn_store was not built (-Dpython=enabled, and nanobind from PyPI)"
    elif not os.path.exists(PYTHON):
        why = "there is no .venv with numpy and safetensors (PyPI could not be reached)"
    if why:
        print(f"python: skipped: {why}")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(SKIPPED)
    os.environ["CAIRN_PYTHON"] = "inside"
    with open(sys.argv[1], "rb") as file:
        if b"__asan_init" in file.read():
            os.environ.update(sanitizers())
    os.execv(PYTHON, [PYTHON, "-X", "dev", "-W", "error::DeprecationWarning:cairn_store", *sys.argv])


def sanitizers():
    """What an extension needs that clang built with sanitizers: their runtime, loaded first, because Python is built without;
    memory of Python that they see, too. At its end Python forgets what it holds, so nobody looks for leaks then."""
    name = f"libclang_rt.asan-{platform.machine()}.so"
    runtime = subprocess.check_output(["clang++-19", f"-print-file-name={name}"], text=True).strip()
    options = ["detect_leaks=1", "leak_check_at_exit=0", os.environ.get("ASAN_OPTIONS", "")]
    return {"LD_PRELOAD": runtime, "PYTHONMALLOC": "malloc", "ASAN_OPTIONS": ":".join(filter(None, options)),
            "UBSAN_OPTIONS": "print_stacktrace=1"}


def stage(folder, extension):
    """The package as it is installed: its Python files, and the extension beside them."""
    package = os.path.join(folder, "cairn_store")
    source = os.path.join(ROOT, "python/cairn_store")
    for place, _, files in os.walk(source):
        made = os.path.join(package, os.path.relpath(place, source))
        os.makedirs(made)
        for name in files:
            if name.endswith((".py", ".pyi", ".typed")):
                os.symlink(os.path.join(place, name), os.path.join(made, name))
    os.symlink(os.path.abspath(extension), os.path.join(package, "_cairn.abi3.so"))
    sys.path.insert(0, folder)
    # For the processes that tests start.
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])


def memory_folder():
    """Where many small files cost little: a file system in memory, if there is one with room; else None."""
    place = "/dev/shm"
    if not os.access(place, os.W_OK):
        return None
    status = os.statvfs(place)
    return place if status.f_bavail * status.f_frsize > 256 << 20 else None


def main():
    into_venv()
    with tempfile.TemporaryDirectory() as folder:
        stage(folder, sys.argv[1])
        sys.path.append(os.path.join(ROOT, "tests/interop"))
        from cases import run_cases
        return run_cases(HERE)


if __name__ == "__main__":
    sys.exit(main())
