"""The examples of engines, as tests: MiniLM by each of them from one checkpoint, and the promises of each example.

usage: run.py [EXTENSION [PATTERN…]]     the built _cairn.abi3.so, and which cases (all)

With CAIRN_ENGINES=1, which `./dev engines` sets, it runs in the virtual environment .venv-engines, which that word makes.
Without, it only compiles the examples: the engines are 2 GB.
"""
import os
import pathlib
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
EXAMPLES = os.path.join(ROOT, "examples/engines")
PYTHON = os.path.join(ROOT, ".venv-engines/bin/python")
SKIPPED = 77


def compile_examples():
    sources = [*pathlib.Path(EXAMPLES).glob("*.py"), *pathlib.Path(HERE).glob("*.py")]
    for source in sources:
        compile(source.read_text(), str(source), "exec")
    print(f"{len(sources)} files compile; './dev engines' runs them")
    print("1 passed, 0 failed, 0 skipped")


def into_venv():
    """Starts again with the environment's Python."""
    if os.environ.get("CAIRN_ENGINES") == "inside":
        return
    why = None
    if len(sys.argv) < 2:
        why = "cairn_store was not built (-Dpython=enabled, and nanobind from PyPI)"
    elif not os.path.exists(PYTHON):
        why = "there is no .venv-engines (PyPI could not be reached)"
    if why:
        print(f"engines: skipped: {why}")
        print("0 passed, 0 failed, 1 skipped")
        sys.exit(SKIPPED)
    os.environ.update(CAIRN_ENGINES="inside", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu")
    os.execv(PYTHON, [PYTHON, *sys.argv])


def main():
    if "CAIRN_ENGINES" not in os.environ:
        return compile_examples()
    into_venv()
    sys.path[1:1] = [os.path.join(ROOT, "tests/interop"), os.path.join(ROOT, "tests/python"), EXAMPLES]
    import importlib.util
    spec = importlib.util.spec_from_file_location("python_suite", os.path.join(ROOT, "tests/python/run.py"))
    python_suite = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(python_suite)
    with tempfile.TemporaryDirectory() as folder:
        python_suite.stage(folder, sys.argv[1])
        from cases import run_cases
        return run_cases(HERE)


if __name__ == "__main__":
    sys.exit(main())
