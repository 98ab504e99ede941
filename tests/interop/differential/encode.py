"""A bundle from its facts to its files, in four steps: facts, records, table, files.

Each step leaves the next one something that a mutation can change. What is changed is written as it stands, with sums
that are right again, so that damage gets as far into a reader as it can.
"""
import struct
from dataclasses import dataclass, field

from bundle import crc32c, masked, varint

# name → (TensorFlow's number, stored bytes per element, bytes that swap together; 0: refused big-endian)
DTYPES = {
    "float32": (1, 4, 4), "float64": (2, 8, 8), "int32": (3, 4, 4), "uint8": (4, 1, 1), "int16": (5, 2, 2),
    "int8": (6, 1, 1), "string": (7, 0, 1), "complex64": (8, 8, 4), "int64": (9, 8, 8), "bool": (10, 1, 1),
    "qint8": (11, 1, 1), "quint8": (12, 1, 1), "qint32": (13, 4, 4), "bfloat16": (14, 2, 2), "qint16": (15, 2, 2),
    "quint16": (16, 2, 2), "uint16": (17, 2, 2), "complex128": (18, 16, 8), "float16": (19, 2, 2),
    "variant": (21, 0, 0), "uint32": (22, 4, 4), "uint64": (23, 8, 8), "float8_e5m2": (24, 1, 0),
    "float8_e4m3fn": (25, 1, 0), "float8_e4m3fnuz": (26, 1, 0), "float8_e4m3b11fnuz": (27, 1, 0),
    "float8_e5m2fnuz": (28, 1, 0), "int4": (29, 1, 0), "uint4": (30, 1, 0), "int2": (31, 1, 0), "uint2": (32, 1, 0),
    "float4_e2m1fn": (33, 1, 0)}
DTYPE_NAMES = {number: name for name, (number, _, _) in DTYPES.items()}

MAGIC = 0xDB4775248B80FB57
BLOCK_BYTES = 262_144  # TensorFlow's


def count_of(shape):
    count = 1
    for size in shape:
        count *= size
    return count


# --- facts ----------------------------------------------------------------------------------------------------------

@dataclass
class Tensor:
    """What a reader must make of a tensor: raw bytes, row-major and little-endian, or a list of strings or variants."""
    dtype: str
    shape: list
    value: object


@dataclass
class Header:
    num_shards: int = 1
    endianness: int = 0
    producer: int = 1
    min_consumer: int = 0
    bad_consumers: list = field(default_factory=list)


@dataclass
class Entry:
    """`crc` is the masked sum; a slice is a list of (start, length), or None for a whole dimension."""
    key: bytes
    dtype: int
    shape: list
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: list = field(default_factory=list)


@dataclass
class Facts:
    header: Header
    entries: list = field(default_factory=list)
    shards: dict = field(default_factory=dict)  # number → bytearray
    tensors: dict = field(default_factory=dict)  # name → Tensor: the truth
    slices: list = field(default_factory=list)  # (name, ranges) to be read beside the whole
    doubtful: set = field(default_factory=set)  # names whose truth a mutation took away
    table: dict = field(default_factory=dict)  # keywords of table_of


def swapped(data, width):
    return b"".join(data[i:i + width][::-1] for i in range(0, len(data), width)) if width > 1 else data


def stored_strings(values, order="<"):
    """The bytes of a string tensor, and its unmasked sum."""
    head = b"".join(varint(len(value)) for value in values)
    crc = crc32c(b"".join(struct.pack(order + "I", len(value)) for value in values))
    rest = struct.pack(order + "I", masked(crc)) + b"".join(values)
    return head + rest, crc32c(rest, crc)


def stored_variants(values):
    out, crc = b"", 0
    for value in values:
        crc = crc32c(struct.pack("<Q", len(value)) + value, crc)
        total = struct.pack("<I", masked(crc))
        out, crc = out + varint(len(value)) + value + total, crc32c(total, crc)
    return out, crc


def stored(dtype, value, big_endian):
    if dtype == "string":
        return stored_strings(value, ">" if big_endian else "<")
    if dtype == "variant":
        return stored_variants(value)
    data = swapped(value, DTYPES[dtype][2] if big_endian else 1)
    return data, crc32c(data)


def number_increasing(number):
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([len(data)]) + data


def number_signed(number):
    length = 1
    while not -1 << 7 * length - 1 <= number < 1 << 7 * length - 1:
        length += 1
    bits = number & (1 << 8 * length) - 1
    header = (0xFFFF << 16 - length & 0xFFFF) << 8 * length >> 16
    return (bits ^ header).to_bytes(length, "big")


def slice_key(name, extents):
    text = b"".join({0: b"\0\xff", 255: b"\xff\0"}.get(byte, bytes([byte])) for byte in name)
    key = b"\0" + text + b"\0\1" + number_increasing(len(extents))
    for extent in extents:
        start, length = extent or (0, -1)
        key += number_signed(start) + number_signed(length)
    return key


# --- records --------------------------------------------------------------------------------------------------------

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass
class Field:
    """One field of a message. The paddings lengthen varints without changing them; `lie` is added to the length."""
    number: int
    wire: int
    value: object  # int, bytes, or a list of Fields
    pad_tag: int = 0
    pad: int = 0
    lie: int = 0


@dataclass
class Record:
    key: bytes
    message: object  # a list of Fields, or bytes

    def value(self):
        return self.message if isinstance(self.message, bytes) else serialized(self.message)


def padded(number, pad):
    out = varint(number & (1 << 64) - 1)
    return out if pad == 0 else out[:-1] + bytes([out[-1] | 0x80]) + b"\x80" * (pad - 1) + b"\0"


def serialized(message):
    out = b""
    for each in message:
        out += padded(each.number << 3 | each.wire, each.pad_tag)
        if each.wire == BYTES:
            value = serialized(each.value) if isinstance(each.value, list) else each.value
            out += padded(max(0, len(value) + each.lie), each.pad) + value
        elif each.wire in (FIXED32, FIXED64):
            width = 4 if each.wire == FIXED32 else 8
            out += (each.value & (1 << 8 * width) - 1).to_bytes(width, "little")
        else:
            out += padded(each.value, each.pad)
    return out


def numbers(*pairs):
    """Fields that are left out where they are 0."""
    return [Field(number, VARINT, value) for number, value in pairs if value]


def header_message(header):
    version = numbers((1, header.producer), (2, header.min_consumer))
    if header.bad_consumers:
        packed = b"".join(padded(number, 0) for number in header.bad_consumers)
        version.append(Field(3, BYTES, packed))
    return numbers((1, header.num_shards), (2, header.endianness)) + [Field(3, BYTES, version)]


def slice_message(extents):
    def extent_message(extent):
        return [] if extent is None else numbers((1, extent[0])) + [Field(2, VARINT, extent[1])]
    return [Field(1, BYTES, extent_message(extent)) for extent in extents]


def entry_message(entry):
    message = numbers((1, entry.dtype))
    if entry.shape is not None:
        message.append(Field(2, BYTES, [Field(2, BYTES, numbers((1, size))) for size in entry.shape]))
    message += numbers((3, entry.shard), (4, entry.offset), (5, entry.size))
    if entry.crc:
        message.append(Field(6, FIXED32, entry.crc))
    return message + [Field(7, BYTES, slice_message(extents)) for extents in entry.slices]


def records_of(facts):
    records = [Record(entry.key, entry_message(entry)) for entry in facts.entries]
    return [Record(b"", header_message(facts.header))] + sorted(records, key=lambda record: record.key)


# --- table ----------------------------------------------------------------------------------------------------------

@dataclass
class Item:
    """An entry of a block. Where a mutation set one, a number is written in place of the true one."""
    key: bytes
    value: bytes
    shared: int = None
    unshared: int = None
    value_size: int = None


@dataclass
class Block:
    items: list
    interval: int = 16
    snappy: bool = False
    kind: int = None  # the type byte, where it lies
    restarts: list = None  # in place of the true ones
    restart_count: int = None
    behind: bytes = b""  # behind the restarts
    stored: bytes = None  # in place of all the block's bytes
    damage_sum: int = 0  # XORed into the sum

    def contents(self):
        out, restarts, previous = b"", [], b""
        for i, item in enumerate(self.items):
            shared = 0
            if i % self.interval == 0:
                restarts.append(len(out))
            else:
                while shared < min(len(previous), len(item.key)) and previous[shared] == item.key[shared]:
                    shared += 1
            tail = item.key[shared:]
            for true, set_by_mutation in ((shared, item.shared), (len(tail), item.unshared),
                                          (len(item.value), item.value_size)):
                out += varint(true if set_by_mutation is None else set_by_mutation)
            out, previous = out + tail + item.value, item.key
        restarts = (restarts or [0]) if self.restarts is None else self.restarts
        count = len(restarts) if self.restart_count is None else self.restart_count
        return out + struct.pack(f"<{len(restarts) + 1}I", *restarts, count) + self.behind

    def bytes(self):
        """The block as it is stored, with its trailer; its size counts no trailer."""
        data = self.contents()
        if self.snappy:
            data = snappy(data)
        if self.stored is not None:
            data = self.stored
        kind = bytes([int(self.snappy) if self.kind is None else self.kind])
        return data + kind + struct.pack("<I", masked(crc32c(data + kind)) ^ self.damage_sum)


def snappy(data):
    """Snappy's raw format, of literals alone."""
    out = varint(len(data))
    for at in range(0, len(data), 65_536):
        literal = data[at:at + 65_536]
        out += b"\xf4" + struct.pack("<H", len(literal) - 1) + literal
    return out


@dataclass
class Table:
    blocks: list
    order: list = None  # in which the blocks lie in the file
    index_keys: list = None
    handle_changes: dict = field(default_factory=dict)  # block → (to its offset, to its size)
    listed: list = None  # the blocks that the index lists
    index: Block = field(default_factory=lambda: Block([], 1))
    metaindex: tuple = None  # a handle
    index_change: tuple = (0, 0)
    padding: bytes = b"\0"
    magic: int = MAGIC
    front: bytes = b""
    back: bytes = b""


def separator(last, following):
    """The shortest key k with last <= k < following."""
    at = 0
    while at < min(len(last), len(following)) and last[at] == following[at]:
        at += 1
    if at < min(len(last), len(following)) and last[at] < 0xFF and last[at] + 1 < following[at]:
        return last[:at] + bytes([last[at] + 1])
    return last


def successor(last):
    for at, byte in enumerate(last):
        if byte != 0xFF:
            return last[:at] + bytes([byte + 1])
    return last


def table_of(records, block_bytes=BLOCK_BYTES, interval=16, snappy_blocks=lambda: False, short_keys=True):
    blocks = [Block([], interval, snappy_blocks())]
    size = 0
    for record in records:
        if size >= block_bytes:
            blocks.append(Block([], interval, snappy_blocks()))
            size = 0
        item = Item(record.key, record.value())
        blocks[-1].items.append(item)
        size += len(item.key) + len(item.value) + 3
    table = Table(blocks)
    table.index.snappy = snappy_blocks()
    lasts = [block.items[-1].key for block in blocks if block.items]
    if short_keys:
        firsts = [block.items[0].key for block in blocks[1:] if block.items]
        table.index_keys = [separator(last, first) for last, first in zip(lasts, firsts)]
        table.index_keys += [successor(last) for last in lasts[-1:]]
    else:
        table.index_keys = lasts
    return table


def table_bytes(table):
    out, handles = table.front, {}
    for i in table.order or range(len(table.blocks)):
        data = table.blocks[i].bytes()
        handles[i] = (len(out), len(data) - 5)
        out += data

    def appended(block):
        nonlocal out
        data = block.bytes()
        out += data
        return len(out) - len(data), len(data) - 5

    def handle(place, change=(0, 0)):
        return varint(max(0, place[0] + change[0])) + varint(max(0, place[1] + change[1]))

    metaindex = handle(table.metaindex or appended(Block([])))
    listed = range(len(table.blocks)) if table.listed is None else table.listed
    table.index.items = [Item(table.index_keys[i], handle(handles[i], table.handle_changes.get(i, (0, 0))))
                         for i in listed]
    footer = (metaindex + handle(appended(table.index), table.index_change)).ljust(40, table.padding)
    return out + footer[:40] + struct.pack("<Q", table.magic) + table.back


# --- files ----------------------------------------------------------------------------------------------------------

def shard_name(number, count):
    return f"p.data-{number:05d}-of-{count:05d}"


def files_of(facts, table):
    files = {shard_name(number, facts.header.num_shards): bytes(data) for number, data in facts.shards.items()}
    return files | {"p.index": table_bytes(table)}
