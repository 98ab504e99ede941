"""What `cairn diff --values` says is what numpy computes, for any two dtypes that safetensors or npz can hold."""
import json
import secrets

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from command import Case, Refused, cairn_json

SEED = secrets.randbits(32)
print(f"test_diff: seed {SEED}")
RNG = np.random.default_rng(SEED)
DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", "c8", "c16",
          ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)
STOCK = ("f2", "f4", "f8", "i4", "i8", ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2)


def filled(dtype, count):
    """Numbers of every size, some of them special."""
    if np.dtype(dtype).kind in "iub":
        return np.frombuffer(RNG.bytes(count * np.dtype(dtype).itemsize), dtype).copy() if dtype != "b1" else RNG.random(count) < 0.5
    numbers = RNG.normal(size=count) * 10.0 ** RNG.integers(-2, 3, count)
    if np.dtype(dtype).kind == "c":
        numbers = numbers + 1j * RNG.normal(size=count)
    with np.errstate(over="ignore"):
        numbers = numbers.astype(dtype)
    numbers[RNG.integers(0, count, 3)] = np.nan
    numbers[RNG.integers(0, count)] = 0
    if dtype is not ml_dtypes.float8_e4m3fn:
        numbers[RNG.integers(0, count, 2)] = np.inf
    return numbers


def changed(numbers):
    after = numbers.copy()
    for i in RNG.integers(0, len(after), RNG.integers(1, 20)):
        after[i] = filled(numbers.dtype if numbers.dtype.kind != "b" else "b1", 20)[0]
    return after


def wide(array):
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def expected(a, b):
    x, y = wide(a), wide(b)
    equal = (x == y) | (np.isnan(x) & np.isnan(y))
    exact = a.dtype == b.dtype and a.dtype in (np.int64, np.uint64)
    if exact:
        equal = a == b
    finite = np.isfinite(x) & np.isfinite(y)
    with np.errstate(invalid="ignore"):
        difference = np.abs(y - x)
    if exact:
        difference = np.array([float(abs(int(q) - int(p))) for p, q in zip(a, b)])
    x, y, difference, same = x[finite], y[finite], difference[finite], equal[finite]
    size = np.maximum(np.abs(x), np.abs(y))
    norms = np.linalg.norm(x), np.linalg.norm(y)
    return {"elements": len(a), "changed": int((~equal).sum()), "not_finite": int((~equal & ~finite).sum()),
            "max_abs": difference.max(initial=0), "max_rel": (difference / np.where(size == 0, 1, size)).max(initial=0),
            "norm_rel": np.linalg.norm(difference) / max(*norms) if max(norms) else 0,
            "cosine": np.vdot(x, y).real / (norms[0] * norms[1]) if all(norms) else float(norms[0] == norms[1])}


def differences(*paths):
    try:
        return cairn_json("diff", *paths, "--values")
    except Refused as differ:
        if differ.status != 1:
            raise
        return json.loads(differ.output)


class Diffs(Case):
    def assert_values(self, before, after, paths):
        found = differences(*paths)
        tensors = {tensor["name"]: tensor for tensor in found["tensors"]}
        for name, a in before.items():
            b = after[name]
            with self.subTest(name=name):
                if a.tobytes() == b.tobytes() and a.dtype == b.dtype:
                    self.assertNotIn(name, tensors)
                    continue
                values = tensors[name]["values"]
                for key, wanted in expected(a, b).items():
                    if isinstance(wanted, int):
                        self.assertEqual(values[key], wanted, key)
                    else:
                        self.assertAlmostEqual(values[key], wanted, delta=1e-9 * max(1, abs(wanted)), msg=key)
        order = [tensor["values"]["norm_rel"] for tensor in found["tensors"] if tensor["values"]]
        self.assertEqual(order, sorted(order, reverse=True))

    def test_the_numbers_of_one_dtype(self):
        before = {np.dtype(dtype).name: filled(dtype, 70_000) for dtype in DTYPES[:14]}
        after = {name: changed(array) for name, array in before.items()}
        paths = self.path("a.npz"), self.path("b.npz")
        np.savez(paths[0], **before)
        np.savez_compressed(paths[1], **after)
        self.assert_values(before, after, paths)

    def test_the_numbers_of_any_two_dtypes(self):
        before, after = {}, {}
        for one in STOCK:
            for other in STOCK:
                name = f"{np.dtype(one).name} {np.dtype(other).name}"
                before[name] = filled(one, 3_000)
                with np.errstate(over="ignore", invalid="ignore"):
                    after[name] = changed(before[name]).astype(other)
        paths = self.path("a.safetensors"), self.path("b.safetensors")
        save_file(before, paths[0])
        save_file(after, paths[1])
        self.assert_values(before, after, paths)
