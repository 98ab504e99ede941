"""Mutations of the index behind its facts: protobuf records, the table around them, and files as a whole."""
import random
import struct

from bundle import varint
from differential.encode import BYTES, FIXED32, FIXED64, VARINT, Block, Field, Item, serialized
from differential.mutation import edge, mutation


# --- records: protobuf ----------------------------------------------------------------------------------------------

def messages_of(message):
    """All messages of a record, itself first."""
    found, pending = [], [message]
    while pending:
        each = pending.pop()
        found.append(each)
        pending += [field.value for field in each if isinstance(field.value, list)]
    return found


def some_message(rng, records):
    record = rng.choice(records)
    return record, rng.choice(messages_of(record.message))


def some_field(rng, records, wanted=lambda field: True):
    found = [(record, message, field) for record in records for message in messages_of(record.message)
             for field in message if wanted(field)]
    return rng.choice(found) if found else (None, None, None)


@mutation("records")
def wire_type(rng, records):
    record, _, field = some_field(rng, records)
    wire = rng.choice([each for each in (VARINT, FIXED64, BYTES, FIXED32) if each != field.wire])
    field.wire = wire
    field.value = (rng.randbytes(rng.choice((0, 2))) if wire == BYTES else rng.randrange(100))
    return f"field {field.number} of {record.key!r} has the wire type {wire}"


@mutation("records")
def length_of_field(rng, records):
    record, _, field = some_field(rng, records, lambda each: each.wire == BYTES)
    field.lie = rng.choice((-1, 1, 2, 100, 2**31, 2**32, 2**62))
    return f"field {field.number} of {record.key!r} says that it is {field.lie} bytes longer"


@mutation("records")
def cut_record(rng, records):
    record = rng.choice(records)
    data = record.value()
    record.message = data[:rng.randint(0, max(0, len(data) - 1))]
    return f"{record.key!r} is cut to {len(record.message)} bytes"


@mutation("records")
def record_byte(rng, records):
    record = rng.choice(records)
    data = bytearray(record.value())
    if not data:
        return None
    bit = rng.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    record.message = bytes(data)
    return f"bit {bit} of the value of {record.key!r}: {record.message[:80].hex()}"


@mutation("records")
def unknown_field(rng, records):
    record, message = some_message(rng, records)
    number, wire = rng.choice((4, 8, 9, 15, 16, 1000, 2**29 - 1)), rng.choice((VARINT, FIXED64, BYTES, FIXED32))
    if number in {each.number for each in message} or number == 4:
        number = 77
    value = rng.randbytes(5) if wire == BYTES else rng.randrange(2**32)
    message.insert(rng.randint(0, len(message)), Field(number, wire, value))
    return f"{record.key!r} has an unknown field {number} of wire type {wire}"


@mutation("records")
def odd_tag(rng, records):
    """Field 0, groups, tags beyond 32 bits."""
    record, message = some_message(rng, records)
    tag = rng.choice((0, 2, 3, 4, 6, 7, 8 * 99 + 3, 8 * 99 + 4, 8 * 99 + 6, 2**32 + 8, 2**35))
    data = serialized(message) + varint(tag) + rng.choice((b"", b"\x01", varint(8 * 99 + 4)))
    if message is record.message:
        record.message = data
    else:
        parent = next(each for other in messages_of(record.message) for each in other if each.value is message)
        parent.value = data
    return f"{record.key!r} has the tag {tag}"


@mutation("records")
def repeated_field(rng, records):
    """Of a scalar the last one counts, messages are merged."""
    record, message, field = some_field(rng, records)
    value = field.value
    if field.wire == VARINT:
        value = edge(rng, value)
    elif field.wire == BYTES and isinstance(value, list):
        value = [Field(each.number, each.wire, each.value) for each in value] if rng.random() < 0.5 else []
    elif field.wire == FIXED32:
        value ^= 1
    message.insert(rng.choice((message.index(field), len(message))), Field(field.number, field.wire, value))
    return f"field {field.number} of {record.key!r} comes twice, once as {str(value)[:80]}"


@mutation("records")
def long_varint(rng, records):
    name = rng.choice(("pad_tag", "pad"))
    record, _, field = some_field(rng, records, lambda each: name == "pad_tag" or each.wire in (VARINT, BYTES))
    setattr(field, name, rng.choice((1, 2, 3, 4, 5, 8, 9, 10)))
    return f"field {field.number} of {record.key!r}: {name} {getattr(field, name)}"


@mutation("records")
def wide_number(rng, records):
    record, _, field = some_field(rng, records, lambda each: each.wire == VARINT)
    field.value += rng.choice((2**32, 2**33, 2**40, 2**63, -2**63))
    return f"field {field.number} of {record.key!r} is {field.value}"


@mutation("records")
def order_of_fields(rng, records):
    record, message = some_message(rng, records)
    numbers = list(dict.fromkeys(each.number for each in message))
    rng.shuffle(numbers)
    message.sort(key=lambda each: numbers.index(each.number))
    return f"fields of {record.key!r} in another order"


@mutation("records")
def unread_field(rng, records):
    """A dimension's name, unknown_rank."""
    record, _, shape_field = some_field(rng, records[1:], lambda each: each.number == 2 and isinstance(each.value, list)
                                        and all(isinstance(inner.value, list) for inner in each.value))
    if shape_field is None:
        return None
    if shape_field.value and rng.random() < 0.7:
        name = rng.choice((b"rows", "행".encode(), b"\xff\xfe", b"\xc0\x80", b""))
        rng.choice(shape_field.value).value.append(Field(2, BYTES, name))
        return f"a dimension of {record.key!r} is called {name!r}"
    shape_field.value.append(Field(3, VARINT, rng.choice((0, 1, 1))))
    return f"{record.key!r} has unknown_rank {shape_field.value[-1].value}"


# --- table ----------------------------------------------------------------------------------------------------------

def some_block(rng, table):
    return rng.choice([*table.blocks, table.index])


@mutation("table")
def restarts(rng, table):
    block = rng.choice(table.blocks)
    count = max(1, -(-len(block.items) // block.interval))
    true_block = Block(block.items, block.interval).contents()
    true = list(struct.unpack(f"<{count}I", true_block[-4 * (count + 1):-4]))
    kind = rng.choice(("count", "one", "all 0", "order", "too many"))
    if kind == "count":
        block.restart_count = rng.choice((0, count + 1, count - 1, 2**31, 2**32 - 1))
        return f"{block.restart_count} restarts instead of {count}"
    if kind == "one":
        true[rng.randrange(count)] = rng.choice((1, 3, len(true_block), 2**32 - 1))
    elif kind == "all 0":
        true = [0] * count
    elif kind == "order":
        true.reverse()
    else:
        true += [true[-1]] * 3
    block.restarts = true
    return f"restarts {kind}: {true[:9]}"


@mutation("table")
def entry_numbers(rng, table):
    item = rng.choice(rng.choice(table.blocks).items)
    name = rng.choice(("shared", "unshared", "value_size"))
    setattr(item, name, rng.choice((0, 1, len(item.key), len(item.value), len(item.key) + 1, len(item.value) + 1,
                                    2**31, 2**32 - 1, 2**32)))
    return f"{name} of {item.key!r} is {getattr(item, name)}"


@mutation("table")
def order_of_keys(rng, table):
    block = rng.choice(table.blocks)
    if len(block.items) < 2:
        return None
    at = rng.randrange(len(block.items) - 1)
    block.items[at:at + 2] = block.items[at + 1], block.items[at]
    return f"{block.items[at].key!r} stands before {block.items[at + 1].key!r}"


@mutation("table")
def key_twice(rng, table):
    block = rng.choice(table.blocks)
    at = rng.randrange(len(block.items))
    value = rng.choice((block.items[at].value, rng.choice(block.items).value))
    block.items.insert(at + rng.randint(0, 1), Item(block.items[at].key, value))
    return f"{block.items[at].key!r} stands there twice"


@mutation("table")
def no_header(rng, table):
    del table.blocks[0].items[0]
    return "no header"


@mutation("table")
def block_trailer(rng, table):
    block = some_block(rng, table)
    which = "index" if block is table.index else table.blocks.index(block)
    kind = rng.choice(("kind", "sum", "behind", "Snappy", "Snappy's size"))
    if kind == "kind":
        block.kind = rng.choice((1 - int(block.snappy), 2, 4, 255))
    elif kind == "sum":
        block.damage_sum = 1 << rng.randrange(32)
    elif kind == "behind":
        block.behind = rng.randbytes(rng.choice((1, 4, 8)))
    elif block is table.index:
        return None
    elif kind == "Snappy":
        block.snappy, block.stored = True, rng.choice((b"", b"\0", rng.randbytes(30), b"\xff" * 9))
    else:
        size = len(block.contents())
        block.snappy = True
        block.stored = varint(rng.choice((0, size - 1, size + 1, 2**31, 2**32 - 1))) + block.contents()
    return f"block {which}: {kind}"


@mutation("table")
def handle_of_block(rng, table):
    at = rng.randrange(len(table.index_keys))
    table.handle_changes[at] = rng.choice(((1, 0), (-1, 0), (0, 1), (0, -1), (2**40, 0), (0, 2**40), (2**63, 2**63),
                                           (0, 2**64 - 1)))
    return f"the handle of block {at} is {table.handle_changes[at]} off"


@mutation("table")
def index_key(rng, table):
    at = rng.randrange(len(table.index_keys))
    before = table.index_keys[at]
    table.index_keys[at] = rng.choice((b"", before[:-1], before + b"\0", b"\0", b"\xff" * 9,
                                       rng.choice(table.index_keys),
                                       before[:-1] + bytes([before[-1] ^ 1]) if before else b"x"))
    return f"the index ends block {at} at {table.index_keys[at]!r} instead of {before!r}"


@mutation("table")
def listed_blocks(rng, table):
    count = len(table.blocks)
    listed = list(range(count))
    kind = rng.choice(("drop", "twice", "order", "none"))
    if kind == "drop":
        del listed[rng.randrange(count)]
    elif kind == "twice":
        listed.insert(rng.randrange(count), rng.randrange(count))
    elif kind == "order":
        random.Random(rng.random()).shuffle(listed)
    else:
        listed = []
    table.listed = listed
    return f"the index lists the blocks {listed[:12]}"


@mutation("table")
def order_of_blocks(rng, table):
    if len(table.blocks) < 2:
        return None
    table.order = list(range(len(table.blocks)))
    random.Random(rng.random()).shuffle(table.order)
    return f"the blocks lie in the order {table.order[:12]}"


@mutation("table")
def empty_block(rng, table):
    at = rng.randint(0, len(table.blocks))
    table.blocks.insert(at, Block([]))
    before = table.index_keys[at - 1] if at else b""
    table.index_keys.insert(at, before + b"\0" if rng.random() < 0.8 else before)
    return f"an empty block {at}"


@mutation("table")
def footer(rng, table):
    kind = rng.choice(("magic", "metaindex", "index", "padding", "front", "back"))
    if kind == "magic":
        table.magic ^= 1 << rng.randrange(64)
    elif kind == "metaindex":
        table.metaindex = rng.choice(((0, 0), (2**40, 2**40), (2**64 - 1, 2**64 - 1), (1, 1)))
    elif kind == "index":
        table.index_change = rng.choice(((1, 0), (-1, 0), (0, 1), (0, -1), (2**40, 0), (0, 2**40), (2**63, 2**63)))
    elif kind == "padding":
        table.padding = b"\xaa"
    elif kind == "front":
        table.front = rng.randbytes(rng.choice((1, 5, 100)))
    else:
        table.back = rng.randbytes(rng.choice((1, 48)))
    return kind


# --- files ----------------------------------------------------------------------------------------------------------

def some_shard(rng, files):
    return rng.choice([name for name in files if ".data-" in name] or [None])


@mutation("files")
def shard_gone(rng, files, facts):
    name = some_shard(rng, files)
    if name:
        del files[name]
    return name and f"{name} is not there"


@mutation("files")
def shard_cut(rng, files, facts):
    name = some_shard(rng, files)
    if not name or not files[name]:
        return None
    files[name] = files[name][:rng.randrange(len(files[name]))]
    return f"{name} is cut to {len(files[name])} bytes"


@mutation("files")
def shard_longer(rng, files, facts):
    name = some_shard(rng, files)
    if name:
        files[name] += rng.randbytes(100)
    return name and f"{name} has 100 bytes more"


@mutation("files")
def shard_renamed(rng, files, facts):
    name = some_shard(rng, files)
    if name:
        files[name[:-1] + "9"] = files.pop(name)
    return name and f"{name} is called {name[:-1]}9"


@mutation("files")
def shards_swapped(rng, files, facts):
    names = [name for name in files if ".data-" in name]
    if len(names) < 2:
        return None
    one, other = rng.sample(names, 2)
    files[one], files[other] = files[other], files[one]
    facts.doubtful |= facts.tensors.keys()
    return f"{one} and {other} are swapped"


@mutation("files")
def index_cut(rng, files, facts):
    files["p.index"] = files["p.index"][:rng.choice((0, 1, 47, 48, rng.randrange(len(files["p.index"]))))]
    return f"the index is cut to {len(files['p.index'])} bytes"


@mutation("files")
def index_bits(rng, files, facts):
    data = bytearray(files["p.index"])
    bits = [rng.randrange(8 * len(data)) for _ in range(rng.choice((1, 1, 2, 8)))]
    for bit in bits:
        data[bit // 8] ^= 1 << bit % 8
    files["p.index"] = bytes(data)
    return f"bits {bits} of the index"


@mutation("files")
def index_stretch(rng, files, facts):
    data = files["p.index"]
    at = rng.randrange(len(data))
    size = rng.choice((1, 4, 64))
    files["p.index"] = rng.choice((data[:at] + data[at + size:], data[:at] + rng.randbytes(size) + data[at:],
                                   data[:at] + bytes(size) + data[at + size:]))
    return f"{size} bytes at {at} of the index"
