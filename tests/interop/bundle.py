"""A bundle written byte by byte: for what TensorFlow reads, but on this machine never writes."""
import struct

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def masked(crc):
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(number):
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number, payload):
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def entry(dtype_number, shape, offset, data):
    dims = b"".join(field(2, field(1, size)) for size in shape)
    return (field(1, dtype_number) + field(2, dims) + field(4, offset) + field(5, len(data))
            + varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(data))))


def block(records):
    body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in records)
    restarts, at = [], 0
    for key, value in records:
        restarts.append(at)
        at += len(varint(len(key)) + varint(len(value)) + key + value) + 1
    restarts = restarts or [0]
    return body + b"".join(struct.pack("<I", r) for r in restarts) + struct.pack("<I", len(restarts))


def table(records):
    """An SSTable of one data block."""
    out = b""

    def append(content):
        nonlocal out
        handle = varint(len(out)) + varint(len(content))
        out += content + b"\0" + struct.pack("<I", masked(crc32c(content + b"\0")))
        return handle

    data = append(block(records))
    metaindex = append(block([]))
    index = append(block([(records[-1][0], data)]))
    return out + (metaindex + index).ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def write_big_endian(prefix, tensors):
    """tensors: name → (TensorFlow's dtype number, shape, bytes as a big-endian machine stores them)."""
    header = field(1, 1) + field(2, 1) + field(3, field(1, 1))
    records, payload = [(b"", header)], b""
    for name, (number, shape, data) in sorted(tensors.items()):
        records.append((name.encode(), entry(number, shape, len(payload), data)))
        payload += data
    with open(prefix + ".index", "wb") as file:
        file.write(table(records))
    with open(prefix + ".data-00000-of-00001", "wb") as file:
        file.write(payload)
