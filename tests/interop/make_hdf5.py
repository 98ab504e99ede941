"""Writes the files of tests/golden/hdf5 with h5py.

Every dataset but the named ones holds 0, 1, 2 … of its dtype, row-major, so that a test knows what to find.

earliest.h5, latest.h5: a dataset of each dtype (dtypes/), of each layout (layouts/), links, attributes, and what cannot
be read (odd/); by the oldest and by the newest structures of the format. many.h5: a group with so many links that they
lie in a heap, and attributes likewise. narrow.h5: addresses of four bytes, behind a user block. tiny_*.h5: small, for
tests of every bit. unwritten.h5: 64 GiB of zeros that are not there. model.weights.h5, bfloat16.weights.h5: as Keras
lays out its weights.

usage: make_hdf5.py OUT          (needs h5py, ml_dtypes and numpy)
"""
import os
import sys

import h5py
import ml_dtypes
import numpy as np

DTYPES = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 c8 c16 >f4 >i2 >u8 >c8".split()


def counted(shape, dtype="f4"):
    return np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)


def add_dtypes(group):
    for dtype in DTYPES:
        group[dtype.replace(">", "big_")] = counted((2, 3), dtype)
    group["bool"] = np.array([[True, False, True], [False, True, True]])
    group["opaque"] = np.frombuffer(b"abcdef", "V2")
    group["text"] = np.array([b"ab", b"c"])
    group["date"] = np.array(["2026-01-01"], "M8[D]").astype(h5py.opaque_dtype("M8[D]"))
    group.create_dataset("arrays", shape=(2,), dtype=np.dtype(("<i4", (3,))))[...] = counted((2, 3), "i4")
    group["named"] = np.dtype("<i8")
    group.create_dataset("of_named", data=counted((2, 3), "i8"), dtype=group["named"])


def add_layouts(group, many, shape=(20, 30)):
    data = counted(shape)
    group["scalar"] = np.float64(7)
    group["empty"] = np.zeros((0, 3), "f4")
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    made = h5py.h5d.create(group.id, b"compact", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((5,)), compact)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, counted((5,)))
    for name, how in {"one_chunk": {"chunks": shape}, "few": {"chunks": (8, 7)},
                      "gzip": {"chunks": (8, 7), "compression": "gzip"},
                      "all_filters": {"chunks": (8, 30), "compression": 9, "shuffle": True, "fletcher32": True},
                      "sums": {"chunks": (8, 7), "fletcher32": True}, "grows": {"chunks": (8, 7), "maxshape": (None, 30)},
                      "grows_last": {"chunks": (8, 7), "maxshape": (20, None)},
                      "grows_gzip": {"chunks": (3, 7), "maxshape": (None, 30), "compression": 1},
                      "grows_all": {"chunks": (8, 7), "maxshape": (None, None)},
                      "grows_all_gzip": {"chunks": (8, 7), "maxshape": (None, None), "compression": 1},
                      "room": {"chunks": (8, 7), "maxshape": (40, 50)}}.items():
        group.create_dataset(name, data=data, **how)
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_chunk((8, 7))
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    made = h5py.h5d.create(group.id, b"implicit", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple(shape), early)
    made.write(h5py.h5s.ALL, h5py.h5s.ALL, data)
    group.create_dataset("many_chunks", data=counted((many,), "i2"), chunks=(1,))
    group.create_dataset("many_grow", data=counted((many,), "i2"), chunks=(1,), maxshape=(None,))
    group.create_dataset("never", shape=(2, 3), dtype="f4", fillvalue=1.5)
    holes = group.create_dataset("holes", shape=(4, 6), dtype="f4", chunks=(2, 3), fillvalue=-1)
    holes[2:4, 0:3] = 5


def add_odd(file):
    group = file.create_group("odd")
    group.create_dataset("lzf", data=np.zeros(400, "i4"), chunks=(100,), compression="lzf")
    group.create_dataset("scaleoffset", data=counted((400,), "i4"), chunks=(100,), scaleoffset=0)
    group.create_dataset("words", data=["a", "bcd"], dtype=h5py.string_dtype())
    group.create_dataset("ragged", shape=(2,), dtype=h5py.vlen_dtype(np.int32))
    group.create_dataset("no_shape", data=h5py.Empty("f4"))
    group.create_dataset("records", data=np.zeros(2, [("a", "i4"), ("b", "f4")]))
    group.create_dataset("reference", data=np.array([file.ref]), dtype=h5py.ref_dtype)
    group.create_dataset("away", shape=(2,), dtype="f4", external=[("raw.bin", 0, 8)])
    layout = h5py.VirtualLayout((20, 30), "f4")
    layout[...] = h5py.VirtualSource(file["layouts/few"])
    group.create_virtual_dataset("virtual", layout)


def add_links(file):
    file["links/tied"] = file["dtypes/f4"]
    file["links/soft"] = h5py.SoftLink("/dtypes/f4")
    file["links/outside"] = h5py.ExternalLink("other.h5", "/x")
    file["links/again"] = file["dtypes"]
    file["links/cycle"] = file["links"]


def add_attributes(file):
    file.attrs["text"] = "gr\u00fc\u00df \"x\""
    file.attrs["fixed"] = np.bytes_(b"abc")
    file.attrs["words"] = ["a", "\u00fc"]
    file.attrs["fixed_words"] = np.array([b"ab", b"c"])
    file.attrs["number"] = 7
    file.attrs["big"] = np.array([1, -2], ">i2")
    file.attrs["half"] = np.array([0.5, -65504, 6e-8], "f2")
    file.attrs["third"] = np.float32(1 / 3)
    file.attrs["table"] = counted((2, 3), "u1")
    file.attrs["yes"] = True
    file.attrs["nothing"] = h5py.Empty("f4")
    file.attrs["none"] = np.zeros((0, 2), "f4")
    file.attrs["record"] = np.zeros((), [("a", "i4")])
    file["dtypes"].attrs["of group"] = "g"
    file["dtypes/f4"].attrs["of dataset"] = "d"


def write_all(path, libver):
    with h5py.File(path, "w", libver=libver) as file:
        add_dtypes(file.create_group("dtypes"))
        add_layouts(file.create_group("layouts"), 3000 if libver == "latest" else 150)
        add_odd(file)
        add_links(file)
        add_attributes(file)


def write_many(path):
    with h5py.File(path, "w", libver="latest") as file:
        group = file.create_group("g", track_order=True)
        for i in range(200):
            group[f"dataset_{i:03}" + "x" * (i % 40)] = np.float32(i)
        for i in range(100):
            file.attrs[f"note_{i}"] = "n" * i
        file.attrs["long"] = np.array([b"l" * 6_000])


def write_narrow(path):
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_sizes(4, 4)
    creation.set_userblock(1024)
    with h5py.File(h5py.h5f.create(path.encode(), h5py.h5f.ACC_TRUNC, creation)) as file:
        file["a/b"] = counted((2, 3))
        file.create_dataset("c", data=counted((6, 6)), chunks=(4, 4), compression="gzip")


def write_tiny(path, libver):
    with h5py.File(path, "w", libver=libver) as file:
        file["a"] = counted((2, 2))
        file.create_dataset("c", data=counted((4, 4)), chunks=(2, 2), compression="gzip")
        file.attrs["k"] = "v"


def write_unwritten(path):
    with h5py.File(path, "w", libver="latest") as file:
        file.create_dataset("w", shape=(1 << 34,), dtype="f4")


def write_keras(path, dtype):
    with h5py.File(path, "w") as file:
        for layer, name, shapes in (("dense", "first", ((2, 3), (3,))), ("dense_1", "head", ((3, 1), (1,)))):
            group = file.create_group(f"layers/{layer}/vars")
            group.attrs["name"] = name
            for i, shape in enumerate(shapes):
                made = group.create_dataset(str(i), data=counted(shape).astype(dtype))
                if dtype != "f4":
                    made.attrs["dtype"] = "bfloat16"
        file.create_group("vars")


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)

    os.chdir(out)
    for libver in ("earliest", "latest"):
        write_all(libver + ".h5", libver)
        write_tiny(f"tiny_{libver}.h5", libver)
    write_many("many.h5")
    write_narrow("narrow.h5")
    write_unwritten("unwritten.h5")
    write_keras("model.weights.h5", "f4")
    write_keras("bfloat16.weights.h5", ml_dtypes.bfloat16)


if __name__ == "__main__":
    main()
