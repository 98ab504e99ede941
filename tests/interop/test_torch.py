"""We read what torch.save writes, where it lies: every tensor bit for bit, by random files. Needs PyTorch, which is too
large for the environment of this suite: without it the cases are skipped, and the unit tests read files that it wrote."""
import io
import json
import os
import random
import unittest
import zipfile

from command import Case, cairn, cairn_json

try:
    import torch
except ImportError:
    torch = None

SEED = int(os.environ.get("CAIRN_SEED", random.randrange(2**32)))
PLAIN = """float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128 uint16 uint32 uint64
    float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz""".split()


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, str(number)))
    else:
        yield ".".join(path), value


def bytes_of(tensor):
    plain = tensor.detach().resolve_conj().resolve_neg()
    plain = plain.contiguous().clone(memory_format=torch.contiguous_format)
    return bytes(plain.untyped_storage())[:plain.numel() * plain.element_size()]


@unittest.skipIf(torch is None, "PyTorch is not installed (bench/requirements-torch.txt)")
class ReadsTorch(Case):
    def setUp(self):
        super().setUp()
        print(f"CAIRN_SEED={SEED}")
        self.random = random.Random(SEED)
        torch.manual_seed(SEED)

    def shape(self, rank):
        return tuple(self.random.randrange(0 if self.random.random() < 0.05 else 1, 6) for _ in range(rank))

    def tensor(self, dtype=None, rank=None):
        dtype = getattr(torch, dtype or self.random.choice(PLAIN))
        shape = self.shape(self.random.randrange(4) if rank is None else rank)
        count = torch.Size(shape).numel() * dtype.itemsize
        values = torch.randint(0, 2 if dtype is torch.bool else 256, (count,), dtype=torch.uint8)
        return values.view(dtype).reshape(shape) if count else torch.zeros(shape, dtype=dtype)

    def view(self):
        """A view of a storage that is larger."""
        base = self.tensor(self.random.choice(["float32", "int16", "complex64", "bfloat16", "uint8"]), 3)
        choice = self.random.randrange(7)
        if choice == 0:
            return base.permute(2, 0, 1)
        if choice == 1:
            return base[base.shape[0] // 2:, :, ::2]
        if choice == 2:
            return base[:, :1].expand(-1, self.random.randrange(1, 5), -1)
        if choice == 3 and base.is_complex():
            return base.conj()
        if choice == 4 and base.is_complex():
            return base.conj().imag
        if choice == 5:
            return torch.nn.Parameter(base.float().transpose(0, 2), requires_grad=True)
        return base.transpose(0, 1)

    def checkpoint(self):
        plain = {f"layer.{i}": self.tensor() for i in range(self.random.randrange(1, 12))}
        views = [self.view() for _ in range(self.random.randrange(6))]
        state = {"model": plain, "views": views, "tied": plain["layer.0"], "epoch": self.random.randrange(100),
                 "lr": self.random.random(), "name": "ü", "flag": True, "none": None, "big": 2**80 + self.random.randrange(9)}
        module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        state["optimizer"] = torch.optim.Adam(module.parameters(), lr=self.random.random()).state_dict()
        state["module"] = module.state_dict()
        return state

    def assert_read(self, path, value):
        listed = cairn_json("ls", path)
        self.assertEqual((listed["format"], listed["warnings"]), ("pytorch", []))
        tensors = {name: leaf for name, leaf in leaves(value) if isinstance(leaf, torch.Tensor)}
        others = {name: leaf for name, leaf in leaves(value) if not isinstance(leaf, torch.Tensor)}
        entries = {entry["name"]: entry for entry in listed["tensors"]}
        self.assertEqual(sorted(entries), sorted(tensors))
        for name, tensor in tensors.items():
            with self.subTest(tensor=name):
                self.assertEqual(entries[name]["dtype"], str(tensor.dtype).removeprefix("torch."))
                self.assertEqual(entries[name]["shape"], list(tensor.shape))
                self.assertEqual(cairn("cat", path, name, "--raw"), bytes_of(tensor))
        metadata = {entry["key"]: entry["value"] for entry in listed["metadata"]}
        self.assertEqual(sorted(metadata), sorted(others))
        for name, leaf in others.items():
            self.assertEqual(metadata[name] if isinstance(leaf, str) else json.loads(metadata[name]), leaf)

    def test_archives_of_every_protocol(self):
        for protocol in (1, 2, 3, 4, 5):
            value = self.checkpoint()
            torch.save(value, self.path("m.pt"), pickle_protocol=protocol)
            self.assert_read(self.path("m.pt"), value)

    def test_files_of_before_the_archives(self):
        for protocol in (1, 2, 3, 4, 5):
            value = self.checkpoint()
            torch.save(value, self.path("m.pth"), pickle_protocol=protocol, _use_new_zipfile_serialization=False)
            self.assert_read(self.path("m.pth"), value)

    def test_archives_that_were_packed_again(self):
        value = self.checkpoint()
        saved = io.BytesIO()
        torch.save(value, saved)
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with zipfile.ZipFile(saved) as old, zipfile.ZipFile(self.path("m.pt"), "w", method) as new:
                for name in old.namelist():
                    new.writestr(name, old.read(name))
            self.assert_read(self.path("m.pt"), value)

    def test_what_is_converted_has_the_same_values(self):
        from safetensors import safe_open
        value = {name: self.tensor(dtype) for name, dtype in (("a", "float32"), ("b", "bfloat16"), ("c", "int64"))}
        value["d"] = self.tensor("float16", 3).transpose(0, 2)
        torch.save(value, self.path("m.pt"))
        cairn("convert", self.path("m.pt"), self.path("out"), "--to", "safetensors")
        with safe_open(self.path("out.safetensors"), "pt") as opened:
            for name, tensor in value.items():
                self.assertEqual(bytes_of(opened.get_tensor(name)), bytes_of(tensor))

    def test_distributed_checkpoints(self):
        import torch.distributed.checkpoint as dcp
        model = {f"layer.{i}": self.tensor() for i in range(self.random.randrange(1, 12))}
        model["columns"] = self.tensor("float32", 2).t()
        value = {"model": model, "step": self.random.randrange(100), "name": "ü", "betas": [0.9, 0.999]}
        dcp.save(value, checkpoint_id=self.path("d"))
        self.assert_read(self.path("d"), value)

    def test_numpy_arrays_and_numbers(self):
        import numpy
        arrays = {"f": numpy.asfortranarray(numpy.arange(6, dtype="<f4").reshape(2, 3)), "b": numpy.arange(3, dtype=">i2"),
                  "u": numpy.arange(256, dtype="u1")}
        for protocol in (2, 3, 4, 5):
            torch.save({**arrays, "n": numpy.float64(0.5)}, self.path("m.pt"), pickle_protocol=protocol)
            for name, array in arrays.items():
                native = numpy.ascontiguousarray(array.astype(array.dtype.newbyteorder("=")))
                self.assertEqual(cairn("cat", self.path("m.pt"), name, "--raw"), native.tobytes())
            metadata = {entry["key"]: entry["value"] for entry in cairn_json("ls", self.path("m.pt"))["metadata"]}
            self.assertEqual(metadata, {"n": "0.5"})

    def test_torchscript(self):
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = torch.nn.Linear(3, 4)

            def forward(self, x):
                return self.inner(x)

        net = Net()
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3)), self.path("m.pt"))
        for name, tensor in net.state_dict().items():
            self.assertEqual(cairn("cat", self.path("m.pt"), name, "--raw"), bytes_of(tensor))

    def test_frozen_torchscript(self):
        net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).eval()
        torch.jit.save(torch.jit.freeze(torch.jit.script(net)), self.path("m.pt"))
        names = [tensor["name"] for tensor in cairn_json("ls", self.path("m.pt"))["tensors"]]
        values = [cairn("cat", self.path("m.pt"), name, "--raw") for name in names]
        self.assertEqual(sorted(values), sorted(bytes_of(tensor) for tensor in net.state_dict().values()))
