"""Runs safetensors' own Python tests, from its source archive, against cairn_store.safetensors: those of numpy, and
where torch is installed those of torch.

usage: safetensors_suite.py EXTENSION [ARCHIVE]     ARCHIVE: safetensors-0.8.0.tar.gz; without it, it comes from PyPI

The test files are not changed. `import safetensors` gives our modules; `import torch` without torch gives a module at
which a case that uses it is skipped. The cases in EXPECTED may fail, each for the reason there; if one of them passes,
that is a failure too.
"""
import importlib
import os
import subprocess
import sys
import tarfile
import tempfile
import types
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = "0.8.0"
FILES = ["test_simple", "test_handle", "test_multithreaded", "test_threadable", "test_pread_backend", "test_pt_comparison",
         "test_pt_model"]

EXPECTED = {
    name: "compares a whole file byte for byte, and our files pad the header to 64 bytes instead of 8; save() is the same"
    for name in ("test_simple.TestCase.test_serialization", "test_pt_comparison.TorchTestCase.test_serialization")
}


def unpacked(folder, archive):
    """The folder with the tests."""
    if archive is None:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "safetensors",
                        f"safetensors=={VERSION}", "--dest", folder], check=True)
        archive = os.path.join(folder, f"safetensors-{VERSION}.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return os.path.join(folder, f"safetensors-{VERSION}", "bindings/python/tests")


class NoTorch(types.ModuleType):
    """What stands for torch where it is not installed: whatever is taken of it skips the case."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing()


class Missing:
    """Exists, so that modules can be imported; ends the case that calls it."""

    def __getattr__(self, name):
        return Missing()

    def __call__(self, *_, **__):
        raise unittest.SkipTest("torch is not installed")


def replace_modules():
    """Puts our modules under the names of safetensors'. Whether torch is there."""
    import cairn_store.safetensors as ours
    sys.modules["safetensors"] = ours
    sys.modules["safetensors.numpy"] = importlib.import_module("cairn_store.safetensors.numpy")
    try:
        import torch  # noqa: F401
    except ImportError:
        sys.modules["torch"] = NoTorch("torch")
        sys.modules["safetensors.torch"] = NoTorch("safetensors.torch")
        return False
    sys.modules["safetensors.torch"] = importlib.import_module("cairn_store.safetensors.torch")
    return True


def loaded(name):
    """The cases of a file; functions without a class, as pytest takes them, too."""
    try:
        module = importlib.import_module(name)
    except (unittest.SkipTest, ModuleNotFoundError) as why:
        print(f"{name}: skipped: {why}")
        return []
    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    cases = [case for group in suite for case in group]
    for key, function in vars(module).items():
        if key.startswith("test_") and callable(function):
            case = unittest.FunctionTestCase(function)
            case.id = lambda key=key: f"{name}.{key}"
            cases.append(case)
    return cases


def run(cases):
    """Prints a line for each case. How many passed, failed and were skipped."""
    counts = [0, 0, 0]
    for case in cases:
        result = unittest.TestResult()
        case.run(result)
        problems = result.errors + result.failures
        expected = EXPECTED.get(case.id())
        if any("ModuleNotFoundError" in text for _, text in problems):
            counts[2] += 1
            print(f"{case.id()}: skipped: {problems[0][1].strip().splitlines()[-1]}")
        elif result.skipped:
            counts[2] += 1
            print(f"{case.id()}: skipped: {result.skipped[0][1]}")
        elif problems and expected:
            counts[2] += 1
            print(f"{case.id()}: skipped: fails as expected: {expected}")
        elif problems or expected:
            counts[1] += 1
            print(f"{case.id()}: failed", *[text for _, text in problems], sep="\n")
            if expected:
                print("it passes, so EXPECTED is wrong: " + expected)
        else:
            counts[0] += 1
            print(f"{case.id()}: passed")
    return counts


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.path.insert(0, HERE)
    from run import stage
    with tempfile.TemporaryDirectory() as folder:
        stage(folder, sys.argv[1])
        replace_modules()
        tests = unpacked(folder, os.path.abspath(sys.argv[2]) if len(sys.argv) > 2 else None)
        sys.path.insert(0, tests)
        os.chdir(os.path.dirname(tests))
        passed, failed, skipped = run([case for name in FILES for case in loaded(name)])
        os.chdir("/")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
