"""Damage, step by step: what a mutation changes is stored as it stands, with sums that are right again.

A mutation takes what its step of encode.py has made, changes it in place and says in words what it did; None where the
bundle has nothing of the kind. Those that change what a tensor is worth put its name among the doubtful.
"""
STEPS = {"facts": [], "records": [], "table": [], "files": []}
EDGES = (0, 1, 2, 7, 127, 128, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**53, 2**62, 2**63 - 1,
         -1, -2, -2**31, -2**63)


def mutation(step):
    def register(function):
        STEPS[step].append(function)
        return function
    return register


def edge(rng, true):
    """A number that is not the true one: beside it, or at an edge."""
    return rng.choice([each for each in (*EDGES, true + 1, true - 1, true * 2, -true) if each != true])
