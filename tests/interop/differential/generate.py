"""Random bundles, of everything that TensorFlow's format allows and much that TensorFlow never writes."""
import itertools

from bundle import masked
from differential.encode import DTYPES, Entry, Facts, Header, Tensor, count_of, slice_key, stored

RAW = [name for name, (_, width, _) in DTYPES.items() if width]
ODD = [b"*", b"?", b"[a]", b" ", b"a b", b"\n", b"\t\r", b"\xff\xfe", b"\x80", b"\0", b"\0\0\1", b"\0a\0\1\1\1\x80\x81",
       "변수/имя:0".encode(), b"..", b"/", b"a/.ATTRIBUTES/VARIABLE_VALUE", b"checkpoint", b"\\x00", b'"', b"%s"]


def random_name(rng):
    kind = rng.random()
    if kind < 0.6:
        return b"layer_%d/%s" % (rng.randrange(30), rng.choice([b"kernel", b"bias", b"m", b"v"]))
    if kind < 0.8:
        return rng.choice(ODD) + rng.choice([b"", b"", rng.choice(ODD), b"x"])
    if kind < 0.97:
        return rng.randbytes(rng.randint(1, 12))
    return rng.choice([b"n" * 1000, b"deep/" * 800, rng.randbytes(3000), b"\xff" * 2000]) + rng.randbytes(2)


def random_shape(rng):
    kind = rng.random()
    if kind < 0.15:
        return []
    if kind < 0.25:
        shape = [rng.randint(0, 4) for _ in range(rng.randint(1, 4))]
        shape[rng.randrange(len(shape))] = 0
        return shape
    if kind < 0.30:
        shape = [1] * rng.choice([9, 32, 64, 254])
        shape[rng.randrange(len(shape))] = rng.randint(1, 6)
        return shape
    if kind < 0.31:
        return [rng.randint(1000, 3000)]
    return [rng.randint(1, 7) for _ in range(rng.randint(1, 4))]


def random_string(rng):
    kind = rng.random()
    if kind < 0.2:
        return b""
    if kind < 0.98:
        return rng.randbytes(rng.randint(1, 20))
    return rng.randbytes(rng.choice([127, 128, 300, 17_000 if rng.random() < 0.1 else 200]))


def variant(rng):
    """A VariantTensorDataProto: an int, or now and then of a type that TensorFlow does not know."""
    kind = b"int" if rng.random() < 0.97 else b"ant"
    return b"\x0a\x03" + kind + b"\x12\x04" + rng.randbytes(4)


def random_value(rng, dtype, count):
    if dtype == "string":
        return [random_string(rng) for _ in range(count)]
    if dtype == "variant":
        return [variant(rng) for _ in range(count)]
    if dtype == "bool":
        return bytes(rng.choices((0, 1), k=count))
    return rng.randbytes(count * DTYPES[dtype][1])


def random_dtype(rng):
    kind = rng.random()
    return "string" if kind < 0.15 else "variant" if kind < 0.19 else rng.choice(RAW)


# --- where bytes lie ------------------------------------------------------------------------------------------------

class Layout:
    """Places the tensors' bytes in shards: in any order, with gaps, now and then on bytes that are there already."""

    def __init__(self, rng, facts):
        self.rng, self.facts = rng, facts
        self.gaps = rng.random() < 0.3
        self.sharing = rng.random() < 0.3

    def place(self, data):
        """The shard and the offset."""
        number = self.rng.randrange(self.facts.header.num_shards)
        shard = self.facts.shards.setdefault(number, bytearray())
        found = shard.find(data) if self.sharing and data else -1
        if found >= 0:
            return number, found
        if self.gaps:
            shard += self.rng.randbytes(self.rng.choice((0, 1, 7, 64)))
        offset = len(shard)
        shard += data
        return number, offset

    def raw(self, dtype, count):
        """Bytes for a tensor, now and then some that another tensor has."""
        size = count * DTYPES[dtype][1]
        long = [shard for shard in self.facts.shards.values() if len(shard) >= size]
        if not (self.sharing and long and dtype in RAW and dtype != "bool" and not self.facts.header.endianness):
            return random_value(self.rng, dtype, count)
        shard = self.rng.choice(long)
        at = self.rng.randint(0, len(shard) - size)
        return bytes(shard[at:at + size])


def add_stored(facts, layout, key, tensor):
    data, crc = stored(tensor.dtype, tensor.value, facts.header.endianness == 1)
    shard, offset = layout.place(data)
    facts.entries.append(Entry(key, DTYPES[tensor.dtype][0], tensor.shape, shard, offset, len(data), masked(crc)))


# --- partitioned tensors --------------------------------------------------------------------------------------------

def random_grid(rng, shape):
    """Slices that cover the shape once, in any order; a dimension that is not cut is None or (0, size)."""
    cuts = []
    for size in shape:
        inner = rng.sample(range(1, size), min(size - 1, rng.choice((0, 1, 1, 2, 3)))) if size > 1 else []
        cuts.append(sorted([0, *inner, size]))
    if all(len(each) == 2 for each in cuts):
        return None

    def extents(cut):
        if len(cut) == 2:
            return [rng.choice((None, (0, cut[1])))]
        return [(start, end - start) for start, end in itertools.pairwise(cut)]

    grid = [list(each) for each in itertools.product(*map(extents, cuts))]
    rng.shuffle(grid)
    return grid if len(grid) <= 40 else None


def ranges_of(extents, shape):
    return [extent or (0, size) for extent, size in zip(extents, shape)]


def part_of(tensor, ranges):
    """The elements of a slice of `tensor`: bytes, or a list."""
    width = DTYPES[tensor.dtype][1] or 1
    strides = [count_of(tensor.shape[d + 1:]) for d in range(len(tensor.shape))]
    starts = [sum(at * stride for at, stride in zip(each, strides))
              for each in itertools.product(*(range(start, start + count) for start, count in ranges))]
    if isinstance(tensor.value, list):
        return [tensor.value[at] for at in starts]
    return b"".join(tensor.value[at * width:(at + 1) * width] for at in starts)


def random_ranges(rng, shape):
    starts = [rng.randrange(size) for size in shape]
    return [(start, rng.randint(1, size - start)) for start, size in zip(starts, shape)]


def add_partitioned(rng, facts, layout, name):
    shape = [rng.randint(1, 9) for _ in range(rng.randint(1, 3))]
    dtype = rng.choice([*RAW, "string"])
    grid = random_grid(rng, shape)
    if grid is None:
        return False
    tensor = Tensor(dtype, shape, random_value(rng, dtype, count_of(shape)))
    entry = Entry(name, DTYPES[dtype][0], shape, rng.choice((0, 0, 1)), slices=grid)
    facts.entries.append(entry)
    for extents in grid:
        ranges = ranges_of(extents, shape)
        part = Tensor(dtype, [count for _, count in ranges], part_of(tensor, ranges))
        add_stored(facts, layout, slice_key(name, extents), part)
    facts.tensors[name] = tensor
    wanted = [random_ranges(rng, shape), ranges_of(rng.choice(grid), shape)]
    facts.slices += [(name, ranges) for ranges in wanted]
    return True


# --- bundles --------------------------------------------------------------------------------------------------------

def random_facts(rng):
    facts = Facts(Header(num_shards=rng.choice((1, 1, 1, 2, 3, 5, 12))))
    facts.header.endianness = int(rng.random() < 0.15)
    facts.header.producer = rng.choice((1, 1, 1, 0, 999))
    layout = Layout(rng, facts)
    for _ in range(rng.choice((0, 1, 2, 3, 4, 5, 6, 8, 40 if rng.random() < 0.2 else 3))):
        name = random_name(rng)
        if not name or name in facts.tensors:
            continue
        if rng.random() < 0.15 and add_partitioned(rng, facts, layout, name):
            continue
        dtype, shape = random_dtype(rng), random_shape(rng)
        count = count_of(shape)
        value = layout.raw(dtype, count) if dtype in RAW else random_value(rng, dtype, count)
        add_stored(facts, layout, name, Tensor(dtype, shape, value))
        facts.tensors[name] = Tensor(dtype, shape, value)
        if shape and 0 not in shape and rng.random() < 0.1 and dtype in RAW:
            facts.slices.append((name, random_ranges(rng, shape)))
    if facts.header.num_shards == 1:
        facts.shards.setdefault(0, bytearray())
    facts.table = {"block_bytes": rng.choice((262_144, 262_144, 1, 200, 4096)),
                   "interval": rng.choice((16, 16, 1, 2, 5, 32)), "short_keys": rng.random() < 0.7}
    if rng.random() < 0.2:
        facts.table["snappy_blocks"] = lambda: rng.random() < 0.7
    return facts
