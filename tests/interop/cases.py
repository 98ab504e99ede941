"""How the cases of a folder are run, by each suite that has a run.py of its own."""
import sys
import unittest


def run_cases(folder):
    """The cases below the folder that the arguments choose; an exit status."""
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{pattern}*" for pattern in sys.argv[2:]] or None
    suite = loader.discover(folder, pattern="test_*.py")
    result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(suite)
    return 0 if result.wasSuccessful() else 1
