"""Where the library answers differently from TensorFlow on purpose: title in docs/tensorflow.md → how it is known."""
import re

# By the library's sentence.
STRICTER = {
    "a known field of another wire type": re.compile("a known field has another wire type"),
    "unknown fields that are groups": re.compile("unknown pbf field type"),
    "an index without a header": re.compile("the index has no header"),
    "keys that do not ascend": re.compile("holds the key .* behind "),
    "slices that contradict their entries": re.compile(
        "is listed but has no entry|is listed twice|has another dtype or shape in its own entry"),
    "slices without elements": re.compile("lists a slice, number [0-9]+, that does not fit into its shape"),
    "a header that counts no shards": re.compile("the index's header counts -?[0-9]+ shards"),
    "a shard beyond the header's count": re.compile("lies in shard -?[0-9]+ of -?[0-9]+"),
    "strings and variants of another size than stored": re.compile(
        "the strings' lengths and their checksum ask for|bytes stand behind the last of [0-9]+ variants|"
        "bytes and [0-9]+ elements, which take at least|but tensor .* needs [0-9]+ at byte|"
        "has [0-9]{19} bytes at offset"),
    "blocks out of order": re.compile("leads to no block behind the one before"),
    "blocks that reach into the footer": re.compile("leaves the file of"),
    "numbers of a table beyond 32 bits": re.compile(
        "holds an entry that is cut off|holds a key that shares [0-9]{10,} bytes"),
    "names longer than a mebibyte": re.compile("is longer than 1048576 bytes"),
    "partitioned variants": re.compile("only where it is stored whole|is partitioned into [0-9]+ slices"),
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
