"""Writes small TensorFlow bundles and safetensors files with contents of the test's choice."""

import json
import struct


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def block(entries):
    """A table block: no shared key prefixes, one restart point, no compression."""
    out = b"".join(
        varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries
    )
    return out + struct.pack("<II", 0, 1)


def table(entries):
    out = b""

    def add(contents):
        nonlocal out
        handle = varint(len(out)) + varint(len(contents))
        out += contents + b"\0" + struct.pack("<I", masked(crc32c(contents + b"\0")))
        return handle

    data = add(block(entries))
    meta = add(block([]))
    index = add(block([(entries[-1][0] + b"\xff", data)]))
    return out + (meta + index).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def write_bundle(prefix, tensors, tied=None):
    """Writes uint8 vectors: {name as bytes: contents}; `tied`: {another name: whose bytes it shares}."""
    shard = b""
    entries = [(b"", b"\x08\x01\x1a\x02\x08\x01")]  # one shard, producer 1
    for name, contents in sorted(tensors.items()):
        shape = b"\x12" + varint(len(varint(len(contents))) + 1) + b"\x08" + varint(len(contents))
        entry = b"\x08\x04\x12" + varint(len(shape)) + shape
        entry += b"\x20" + varint(len(shard)) + b"\x28" + varint(len(contents))
        entry += b"\x35" + struct.pack("<I", masked(crc32c(contents)))
        entries.append((name, entry))
        entries += [(other, entry) for other, same_as in (tied or {}).items() if same_as == name]
        shard += contents
    with open("%s.index" % prefix, "wb") as file:
        file.write(table(sorted(entries)))
    with open("%s.data-00000-of-00001" % prefix, "wb") as file:
        file.write(shard)


def write_safetensors(path, tensors, metadata=None):
    """Writes tensors: {name: (safetensors dtype, shape, contents)}; `metadata`: the __metadata__."""
    header, payload = {"__metadata__": metadata} if metadata is not None else {}, b""
    for name, (dtype, shape, contents) in tensors.items():
        offsets = [len(payload), len(payload) + len(contents)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        payload += contents
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + payload)
