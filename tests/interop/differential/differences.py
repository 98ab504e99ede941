"""Where the library answers differently from TensorFlow on purpose: title in docs/tensorflow.md → how it is known."""
import re

# By the library's sentence.
STRICTER = {
    "a known field of another wire type": re.compile("a known field has another wire type"),
    "unknown fields that are groups": re.compile("unknown pbf field type"),
    "an index without a header": re.compile("the index has no header"),
    "keys that do not ascend": re.compile("has the key .* after "),
    "slices that contradict their entries": re.compile(
        "is listed but has no entry|is listed twice|has a different dtype or shape in its own entry"),
    "slices without elements": re.compile("lists a slice, number [0-9]+, that does not fit its shape"),
    "a header that counts no shards": re.compile("the index's header says that there are -?[0-9]+ shards"),
    "a shard beyond the header's count": re.compile("is in shard -?[0-9]+ of -?[0-9]+"),
    "strings and variants of another size than stored": re.compile(
        "the strings and their checksum need|bytes come after the last of [0-9]+ variants|"
        "bytes and [0-9]+ elements, but they need at least|but tensor .* needs [0-9]+ at byte|"
        "has [0-9]{19} bytes at offset"),
    "blocks out of order": re.compile("does not lead to a block after the previous one"),
    "blocks that reach into the footer": re.compile("ends after the end of the file of"),
    "numbers of a table beyond 32 bits": re.compile(
        "holds an entry that is cut off|holds a key that shares [0-9]{10,} bytes"),
    "names longer than a mebibyte": re.compile("is longer than 1048576 bytes"),
    "partitioned variants": re.compile("only as a whole|is partitioned into [0-9]+ slices"),
}

# By the mutation and TensorFlow's error.
READS_MORE = {
    "names that are not UTF-8": re.compile("UnicodeDecodeError"),
    "slices of every dtype": re.compile(r"Dtype \w+ not supported"),
    "shards that are counted and were never written": re.compile("-of-[0-9]+; No such file or directory"),
    "empty blocks": re.compile("^empty_block"),
    "restart points that lie": re.compile("^restarts|^entry_numbers: shared"),
    "dimensions whose names are not UTF-8": re.compile("^unread_field: a dimension"),
    "variants whose contents nobody can parse": re.compile("Unable to parse VariantTensorDataProto|"
                                                           "Could not decode variant"),
}
