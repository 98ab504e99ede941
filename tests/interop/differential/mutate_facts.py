"""Mutations of the facts: what header and entries say, and the bytes of tensors."""
import struct
from dataclasses import replace

from bundle import crc32c, masked, varint
from differential.encode import DTYPES, Entry, count_of, slice_key, stored_strings
from differential.mutation import edge, mutation


def some_entry(rng, facts, wanted=lambda entry: True):
    found = [entry for entry in facts.entries if wanted(entry)]
    return rng.choice(found) if found else None


def stored_bytes(facts, entry):
    shard = facts.shards.get(entry.shard, b"")
    return bytes(shard[entry.offset:entry.offset + entry.size]) if min(entry.offset, entry.size) >= 0 else b""


def doubt(facts, entry):
    """Takes the truth away from the name of an entry, or of the tensor whose slice it is. Gives the entry back."""
    facts.doubtful |= {entry.key} | {each.key for each in facts.entries for extents in each.slices
                                     if slice_key(each.key, extents) == entry.key}
    return entry


def doubt_bytes(facts, number, begin, end):
    """The same for every entry that holds one of these bytes of a shard."""
    for entry in facts.entries:
        if not entry.slices and entry.shard == number and entry.offset < end and begin < entry.offset + entry.size:
            doubt(facts, entry)


# --- facts: header and entries --------------------------------------------------------------------------------------

@mutation("facts")
def header(rng, facts):
    name = rng.choice(("num_shards", "endianness", "producer", "min_consumer", "bad_consumers"))
    if name == "bad_consumers":
        facts.header.bad_consumers = rng.choice(([1], [0], [2, 1], [-1], [2**32 + 1], [7] * 20))
        return f"{name} {facts.header.bad_consumers}"
    value = edge(rng, getattr(facts.header, name))
    if name == "num_shards" and not 0 <= value < 10_000 and rng.random() < 0.5:
        value = rng.randint(0, 20)
    setattr(facts.header, name, value)
    if name == "endianness":
        facts.doubtful |= facts.tensors.keys()
    return f"{name} {value}"


@mutation("facts")
def dtype(rng, facts):
    entry = doubt(facts, some_entry(rng, facts))
    same = [number for number, width, _ in DTYPES.values() if width == width_of(entry) and number != entry.dtype]
    entry.dtype = rng.choice((*same, 0, 7, 20, 21, 34, 101, 133, 2**32 + entry.dtype, -1, 99))
    return f"{entry.key!r} has the dtype {entry.dtype}"


def width_of(entry):
    return next(width for number, width, _ in DTYPES.values() if number == entry.dtype)


@mutation("facts")
def shape(rng, facts):
    entry = doubt(facts, some_entry(rng, facts))
    sizes = list(entry.shape)
    kind = rng.randrange(9)
    if kind == 0:
        entry.shape = None
    elif kind == 1:
        entry.shape = sizes + [1] * rng.choice((1, 3, 254 - len(sizes), 255 - len(sizes), 300))
    elif kind == 2:
        entry.shape = sizes[:-1]
    elif kind == 3:
        entry.shape = sizes[::-1]
    elif kind == 4:
        entry.shape = rng.choice(([2**62, 4], [0, 2**62, 4], [2**62, 4, 0], [2**63 - 1], [2**32, 2**32], [2**31, 2**32],
                                  [0, -1], [-1, -1], [2**33, 0], [2**63 - 1, 1], [2**61, 2, 2, 0]))
    elif kind == 5 and rng.random() < 0.5:
        entry.shape, entry.size, entry.crc = sizes + [0], 0, masked(0)
    elif sizes:
        at = rng.randrange(len(sizes))
        sizes[at] = edge(rng, sizes[at])
        entry.shape = sizes
    else:
        entry.shape = [rng.choice((0, 1, 2, -1, 2**40))]
    return f"{entry.key!r} has the shape {entry.shape}"


@mutation("facts")
def place(rng, facts):
    entry = doubt(facts, some_entry(rng, facts, lambda each: not each.slices))
    name = rng.choice(("shard", "offset", "size"))
    setattr(entry, name, edge(rng, getattr(entry, name)))
    about = f"{entry.key!r} has the {name} {getattr(entry, name)}"
    if rng.random() < 0.5:
        entry.crc = masked(crc32c(stored_bytes(facts, entry)))
        about += ", its sum renewed"
    return about


@mutation("facts")
def checksum(rng, facts):
    entry = some_entry(rng, facts, lambda each: not each.slices)
    entry.crc = rng.choice((0, entry.crc ^ 1 << rng.randrange(32), masked(entry.crc), masked(0)))
    return f"{entry.key!r} has the sum {entry.crc:08x}"


@mutation("facts")
def key(rng, facts):
    entry = some_entry(rng, facts)
    doubt(facts, entry)
    other = rng.choice(facts.entries).key
    before, entry.key = entry.key, rng.choice((b"", other, b"\0" + entry.key, entry.key + b"\0", b"new", b"\xff" * 3))
    return f"{before!r} is called {entry.key!r}"


@mutation("facts")
def gone(rng, facts):
    entry = some_entry(rng, facts)
    facts.entries.remove(entry)
    return f"{entry.key!r} is not there"


@mutation("facts")
def long_name(rng, facts):
    entry = some_entry(rng, facts)
    facts.doubtful |= {entry.key}
    before, entry.key = entry.key, rng.randbytes(3) + b"n" * rng.choice((2**20 - 3, 2**20 - 2, 2**21))
    return f"{before!r} has a name of {len(entry.key)} bytes"


@mutation("facts")
def slices(rng, facts):
    entry = some_entry(rng, facts, lambda each: each.slices)
    if entry is None:
        return None
    facts.doubtful |= {entry.key}
    at = rng.randrange(len(entry.slices))
    kind = rng.choice(("drop", "repeat", "extent", "extent", "extent", "whole", "rank", "none", "spelling", "order"))
    extents = list(entry.slices[at])
    if kind == "drop":
        del entry.slices[at]
    elif kind == "repeat":
        entry.slices.append(extents)
    elif kind == "order":
        entry.slices.reverse()
    elif kind == "rank":
        entry.slices[at] = rng.choice(([], extents + [None], extents[1:]))
    elif kind == "none":
        entry.slices.clear()
    else:
        d = rng.randrange(len(extents))
        start, length = extents[d] or (0, entry.shape[d])
        if kind == "whole":
            entry.slices[at] = [None] * len(extents)
        elif kind == "spelling":
            extents[d] = (0, entry.shape[d]) if extents[d] is None else None
        else:
            extents[d] = rng.choice(((start, edge(rng, length)), (edge(rng, start), length)))
        if kind != "whole":
            entry.slices[at] = extents
    about = f"{kind} of slice {at} of {entry.key!r}: {entry.slices[:3]}"
    if kind != "order" and rng.random() < 0.5:
        return about + add_piece(rng, facts, entry)
    return about


def add_piece(rng, facts, entry):
    """Gives every slice that is listed an entry of its own, where it has none."""
    keys = {each.key for each in facts.entries}
    width = width_of(entry) or 1
    for extents in entry.slices:
        sizes = [extent[1] if extent else size for extent, size in zip(extents, entry.shape)]
        count = 1
        for size in sizes:
            count *= max(0, size)
        try:
            key_wanted = slice_key(entry.key, extents)
        except (ValueError, OverflowError):
            continue
        if key_wanted in keys or count * width > 4096:
            continue
        shard = facts.shards.setdefault(0, bytearray())
        data = rng.randbytes(count * width)
        facts.entries.append(Entry(key_wanted, entry.dtype, sizes, 0, len(shard), len(data), masked(crc32c(data))))
        shard += data
        return ", which has an entry"
    return ""


@mutation("facts")
def slice_entry(rng, facts):
    owners = {slice_key(entry.key, extents) for entry in facts.entries for extents in entry.slices if entry.slices}
    entry = some_entry(rng, facts, lambda each: each.key in owners)
    if entry is None:
        return None
    doubt(facts, entry)
    kind = rng.choice(("dtype", "shape", "slices"))
    if kind == "dtype":
        entry.dtype = rng.choice([number for number, width, _ in DTYPES.values() if width == width_of(entry)])
    elif kind == "shape":
        entry.shape = rng.choice((entry.shape[::-1], entry.shape + [1], [1] + entry.shape, entry.shape[:-1]))
    else:
        entry.slices = [[None] * len(entry.shape)]
    return f"a slice's entry has the {kind} {getattr(entry, kind)}"


@mutation("facts")
def needless_slices(rng, facts):
    entry = some_entry(rng, facts, lambda each: not each.slices)
    if entry is None:
        return None
    facts.doubtful |= {entry.key}
    entry.slices = [rng.choice(([None] * len(entry.shape), [(0, size) for size in entry.shape], []))]
    if rng.random() < 0.5:
        key_wanted = slice_key(entry.key, entry.slices[0])
        facts.entries.append(replace(entry, key=key_wanted, slices=[]))
    return f"{entry.key!r} lists the slice {entry.slices}"


# --- facts: payload -------------------------------------------------------------------------------------------------

@mutation("facts")
def payload_bit(rng, facts):
    number = rng.choice([number for number, data in facts.shards.items() if data] or [None])
    if number is None:
        return None
    bit = rng.randrange(8 * len(facts.shards[number]))
    doubt_bytes(facts, number, bit // 8, bit // 8 + 1)
    facts.shards[number][bit // 8] ^= 1 << bit % 8
    if rng.random() < 0.6:
        return f"bit {bit} of shard {number}"
    for entry in facts.entries:  # right for raw tensors alone
        if not entry.slices:
            entry.crc = masked(crc32c(stored_bytes(facts, entry)))
    return f"bit {bit} of shard {number}, all sums renewed as of raw tensors"


def appended(facts, entry, data, crc):
    """The entry's bytes are these, behind all others."""
    entry.shard = min(facts.shards, default=0)
    shard = facts.shards.setdefault(entry.shard, bytearray())
    entry.offset, entry.size, entry.crc = len(shard), len(data), masked(crc)
    shard += data
    doubt(facts, entry)


def encoded_entry(rng, facts, dtype_name):
    number = DTYPES[dtype_name][0]
    return some_entry(rng, facts, lambda each: each.dtype == number and not each.slices)


@mutation("facts")
def string_payload(rng, facts):
    """Strings with a damage inside and an outer sum that is right for what stands there."""
    entry = encoded_entry(rng, facts, "string")
    if entry is None:
        return None
    order = ">" if facts.header.endianness == 1 else "<"
    count = count_of(entry.shape)
    values = [rng.randbytes(rng.randint(0, 6)) for _ in range(count)]
    data, crc = stored_strings(values, order)
    kind = rng.choice(("length", "spelling", "inner sum", "size", "sum of bytes", "cut", "tail", "other order"))
    lengths = [len(value) for value in values]
    if kind == "length" and values:
        lengths[rng.randrange(count)] = rng.choice((0, 1, 7, 2**31, 2**32 - 1, 2**32, 2**63 - 1, 2**64 - 1))
    fixed = b"".join(struct.pack(order + ("I" if length < 2**32 else "Q"), length) for length in lengths)
    inner = crc32c(fixed)
    head = b"".join(varint(length) for length in lengths)
    if kind == "spelling" and values:
        head = b"".join(struct.pack("BBB", length | 0x80, 0x80, 0) for length in lengths)
    stored_inner = masked(inner) ^ (1 << rng.randrange(32) if kind == "inner sum" else 0)
    big = (order == ">") != (kind == "other order")
    rest = stored_inner.to_bytes(4, "big" if big else "little")
    rest += b"".join(values)
    data, crc = head + rest, crc32c(rest, inner)
    if kind == "sum of bytes":
        crc = crc32c(data)
    if kind == "cut":
        data = data[:rng.randint(0, len(data))]
    if kind == "tail":
        data += rng.randbytes(3)
    appended(facts, entry, data, crc)
    if kind == "size":
        entry.size += rng.choice((-4, -1, 1, 5))
    return f"strings of {entry.key!r}: {kind}"


@mutation("facts")
def variant_payload(rng, facts):
    entry = encoded_entry(rng, facts, "variant")
    if entry is None:
        return None
    count = count_of(entry.shape)
    out, crc = b"", 0
    kind, at = rng.choice(("size", "inner sum", "no proto", "cut", "tail")), rng.randrange(max(1, count))
    for i in range(count):
        value = b"\x0a\x03int\x12\x04" + rng.randbytes(4)
        if kind == "no proto" and i == at:
            value = rng.randbytes(9)
        length = len(value) + (rng.choice((-1, 1, 40, 2**32, 2**63)) if kind == "size" and i == at else 0)
        crc = crc32c(struct.pack("<Q", length) + value, crc)
        total = struct.pack("<I", masked(crc) ^ (4 if kind == "inner sum" and i == at else 0))
        out, crc = out + varint(length) + value + total, crc32c(total, crc)
    if kind == "cut":
        out = out[:rng.randint(0, len(out))]
    if kind == "tail":
        out += rng.randbytes(2)
    appended(facts, entry, out, crc)
    return f"variants of {entry.key!r}: {kind}"
