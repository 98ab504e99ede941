"""What is asked, of what, and how the answers are to be read. run.py asks it; the pages quote it."""
from dataclasses import dataclass, field

# In docs/benchmarks/README.md, for those who would repeat or doubt a figure.
PAYLOADS = {
    "gpt2": "the 148 tensors of the smallest GPT-2, float32, 498 MB",
    "lora": "1,000 tensors of 4 KiB",
    "many": "100,000 tensors of 256 bytes; `many-N` has N of them",
    "llm": "the 291 tensors of an 8-billion-parameter Llama, one byte a parameter, 8.0 GB; `llm-3`, `llm-9` and `llm-28`"
           " are 3, 9 and 28 times narrower: 0.9 GB, 99 MB, 10 MB",
}

PEERS = ("tensorflow", "safetensors", "safetensors-rust", "torch", "torch-mmap", "tensorstore")

LABELS = {
    "cairn": "Cairn",
    "cairn-tensorflow": "Cairn over TensorFlow's `P.index`",
    "cairn-safetensors": "Cairn over safetensors' header",
    "cairn-prefetch": "Cairn, prefetched",
    "cairn-checked": "Cairn, checked",
    "cairn-restore": "Cairn, restored (populate)",
    "cairn-map": "Cairn, map",
    "cairn-populate": "Cairn, populate",
    "cairn-read": "Cairn, read",
    "cairn-direct": "Cairn, direct",
    "cairn-memory": "Cairn, in memory",
    "tensorflow": "TensorFlow",
    "safetensors": "safetensors (Python)",
    "safetensors-rust": "safetensors (Rust)",
    "torch": "PyTorch",
    "torch-mmap": "PyTorch, mmap",
    "tensorstore": "tensorstore OCDBT",
    "plain-written-64k": "written in 64 KiB",
    "plain-written-256k": "written in 256 KiB",
    "plain-written-1m": "written in 1 MiB",
    "plain-written-2m": "written in 2 MiB",
    "plain-written-4m": "written in 4 MiB",
    "plain-read": "read",
    "plain-advised": "advised, then read",
    "plain-touched": "touched",
    "plain-touched-huge": "touched, MADV_HUGEPAGE",
    "plain-mmap": "plain mmap, touched",
    "plain-populate": "plain MAP_POPULATE, touched",
    "plain-pread": "plain pread",
    "plain-pread-sum": "plain pread + CRC32C",
    "plain-sum": "plain CRC32C of memory",
    "plain-write": "plain write",
    "plain-memcpy": "plain memcpy from a mapping",
}


def label(contender, question=None):
    if contender.endswith("-unchecked") and contender not in LABELS:
        return label(contender.removesuffix("-unchecked"), question) + ", unchecked"
    return (question.labels if question else {}).get(contender) or LABELS.get(contender, contender)


@dataclass(frozen=True)
class Part:
    """One program's ask: a table for each payload."""
    program: str
    ask: str
    words: str
    payloads: tuple
    quick: tuple = None          # payloads of the short form; None: the same
    peers: str = ""              # the word that peers are asked with; "": they are not
    only: tuple = ()             # contenders that are asked; (): all


@dataclass(frozen=True)
class Question:
    name: str                    # of its page, of its raw figures, on the command line
    title: str
    about: str                   # what is timed; whether bytes are touched, checked, synced
    fill: str                    # see FILLS
    parts: tuple
    repetitions: int = 15
    quick_repetitions: int = 3   # one: without a round before that warms
    in_a_row: int = 1            # in each repetition each is asked so often, and the median counts
    first: bool = False          # each figure is the first call of a new process, of a peer's too
    fio: bool = False
    syncs: bool = False          # before each figure, so that nobody waits for what another has written
    reference: str = "cairn"     # whom the tables compare with
    labels: dict = field(default_factory=dict)


# How the page cache came to be what it is when the question is asked.
FILLS = {
    "index": "The shards were dropped from the page cache (`fsync`, `posix_fadvise`), the index files are warm: a round"
             " before is not counted.",
    "read": "The page cache holds everything. It was dropped, then filled by reading the file from beginning to end in"
            " blocks of 1 MiB.",
    "written": "The page cache holds everything, as the writer left it: nobody has read the file.",
    "folios": "Before each figure the file is written anew and synced in blocks of the size named, or dropped from the page"
              " cache and brought in by `read` in blocks of 1 MiB, after `POSIX_FADV_WILLNEED` (advised), or by touching a"
              " mapping, without and with `MADV_HUGEPAGE`.",
    "dropped": "The page cache holds nothing of the shard: before each single figure the file is synced and dropped"
               " (`fsync`, `posix_fadvise(DONTNEED)`), and `cachestat` must say that at most a hundredth of it stayed.",
}

COUNTS = tuple(f"many-{10 ** n}" for n in range(2, 7))
SIZES = ("llm-28", "llm-9", "llm-3", "llm")
GROWTH = COUNTS + SIZES
GROWTH_QUICK = COUNTS[:4] + SIZES[:2]

QUESTIONS = (
    Question(
        "open", "Opening a checkpoint",
        "Until each tensor can be had, and until each tensor's name, dtype and shape are known. No tensor byte is"
        " touched, none checked, nothing synced. Cairn compares its index's digest and validates every entry each time."
        " TensorFlow: `NewCheckpointReader`; to list, `get_variable_to_shape_map`. safetensors: `safe_open`; to list,"
        " `keys()`, which gives no shapes.",
        "index",
        (Part("open", "open", "open", ("gpt2", "lora", "many", "llm"), ("gpt2", "many"), peers="open"),
         Part("open", "list", "open and list", ("gpt2", "lora", "many"), ("many",), peers="list")),
        repetitions=15,
        labels={"cairn": "Cairn, `P.cairn`"}),
    Question(
        "first", "Opening in a new process",
        "As [open](open.md), but each figure is the first call of a process that has just started, as in a server that was"
        " restarted: it has no memory from calls before, and its code was never run. Starting the process and importing a"
        " peer is not timed. The files are in the page cache.",
        "index", (Part("open", "open", "the first open", ("gpt2", "many"), peers="open"),),
        repetitions=21, first=True, labels={"cairn": "Cairn, `P.cairn`"}),
    Question(
        "lookup", "One tensor of 100,000",
        "`one`: from nothing to the bytes of one small tensor: open, find, read. Cairn and TensorFlow compare the"
        " tensor's CRC32C, safetensors has none. `lookup`: finding a tensor by its name in a checkpoint that is open,"
        " the mean over all names in an order that no cache foresees; no byte is touched."
        " `read`: a thousand times, the bytes of one of them into the caller's memory, out of a checkpoint that is open,"
        " unchecked; beside it plain pread of the same bytes.",
        "index",
        (Part("lookup", "one", "from nothing to its bytes", ("many",), peers="one"),
         Part("lookup", "lookup", "look-up in an open checkpoint", ("many", "gpt2")),
         Part("lookup", "read", "1,000 reads of one tensor", ("many",))),
        repetitions=15,
        labels={"cairn": "Cairn, `P.cairn`"}),
    Question(
        "touch", "First touch of everything, warm",
        "From nothing until one byte of each page has been read, each time in a new mapping; by one thread, nothing is"
        " checked. Unmapping is not timed. TensorFlow, safetensors in Python and tensorstore have no mapped tensors: they"
        " read all into new memory.",
        "read", (Part("touch", "touch", "open and touch", ("gpt2",), peers="touch"),), quick_repetitions=1,
        reference="cairn-restore"),
    Question(
        "touch-written", "First touch of what was just written",
        "As [touch](touch.md), of a file that its writer left in the page cache. How it was written decides in how large"
        " pieces the kernel holds it, and so what each page fault brings.",
        "written", (Part("touch", "touch", "open and touch", ("gpt2",)),), reference="cairn-restore"),
    Question(
        "verify", "Every byte checked, warm",
        "Every byte is compared with its checksum, on all cores. By descriptor the file is read block by block, which"
        " cannot fault. Plain: CRC32C by ISA-L, the same blocks of 256 KiB and the same cores. TensorFlow: `RestoreV2` of"
        " all tensors, which checks and copies.",
        "read",
        (Part("verify", "verify", "check every byte", ("gpt2",), peers="restore",
              only=("cairn", "cairn-memory", "plain-pread-sum", "plain-sum", "tensorflow")),),
        quick_repetitions=2, labels={"cairn": "Cairn, by descriptor", "cairn-memory": "Cairn, over its own memory"}),
    Question(
        "copy", "Copied into the caller's memory, warm",
        "Every tensor into memory that was touched before, on all cores; peers into memory of their own choice."
        " `Cairn` does not check, `Cairn, checked` compares every byte with its checksum on the way.",
        "read", (Part("copy", "copy", "copy all tensors", ("gpt2", "lora", "many"), ("gpt2",), peers="copy"),),
        repetitions=11, quick_repetitions=1),
    Question(
        "cold", "Cold restore",
        "From nothing until every byte is in memory and one byte of each page has been read. Cairn compares every byte"
        " with its checksum, but where it says `unchecked`. fio reads the very file with direct"
        " I/O in several settings: the best of them is what the disk gives. Peers restore as their users do: all"
        " tensors, in memory, touched.",
        "dropped", (Part("cold", "cold", "restore", ("gpt2",), peers="restore"),),
        repetitions=5, quick_repetitions=1, in_a_row=3, fio=True,
        labels={"cairn": "Cairn, its own choice", "plain-pread": "plain pread into new memory"}),
    Question(
        "folios", "First touch, by how the page cache was filled",
        "One byte of each page of a new, plain mapping, by one thread: what a page fault brings depends on how large the"
        " pieces (folios) are in which the kernel keeps the file, and that on who brought it in and how.",
        "folios", (Part("folios", "folios", "map and touch", ("gpt2",)),), repetitions=5, quick_repetitions=1,
        reference="plain-touched-huge"),
    Question(
        "save", "Saving",
        "The tensors lie in memory; the file is new each time. `save` ends when the bytes are in the page cache, `synced`"
        " when they survive a power cut. Cairn sums and hashes every byte. The plain write reserves its space and writes in blocks of 4 MiB."
        " `save_async` is measured of a Saver that has saved once. A step writes every weight five times, on all cores.",
        "read",
        (Part("save", "save", "save, without sync", ("gpt2", "many"), peers="save"),
         Part("save", "save_sync", "save, synced", ("gpt2",), peers="save_sync"),
         Part("save", "async_blocked", "save_async, until it returns", ("gpt2",)),
         Part("save", "async_step", "save_async, the caller's next step", ("gpt2",)),
         Part("save", "async_durable", "save_async, until durable", ("gpt2",))),
        repetitions=4, quick_repetitions=1, in_a_row=3, syncs=True,
        labels={"plain": "a step without a save", "plain-memcpy": "plain memcpy", "cairn-busy": "Cairn, the caller goes on"}),
    Question(
        "transfer", "What another index costs",
        "Import writes `P.cairn` over TensorFlow's `P.index`, export writes `P.index` over `P.cairn`, each anew. No tensor"
        " byte is read: in memory the shard is one hole. On disk both end with their syncs, in memory (`/dev/shm`) a sync"
        " costs nothing: that is what the library itself takes. TensorFlow has neither; beside import stands its listing"
        " (`get_variable_to_shape_map`).",
        "index",
        (Part("transfer", "import", "import", ("llm-28", "llm", "gpt2", "many"), ("llm-28", "gpt2"), peers="list",
              only=("cairn", "cairn-memory", "tensorflow")),
         Part("transfer", "export", "export", ("llm-28", "llm", "gpt2", "many"), ("llm-28", "gpt2"))),
        labels={"cairn": "Cairn, on disk, synced", "tensorflow": "TensorFlow, listing"}),
    Question(
        "processes", "Many processes, one checkpoint",
        "N processes start at once to open the warm checkpoint and touch every page; the time is the last one's. While"
        " all hold it, each asks the kernel what it gained (`/proc/PID/smaps_rollup`). Nothing is checked. `plain pread`"
        " is the way of those who copy.",
        "read",
        tuple(Part("processes", f"processes-{n}", f"{n} process{'es' if n > 1 else ''}", ("gpt2",)) for n in (1, 2, 4, 8)),
        repetitions=7, quick_repetitions=1),
    Question(
        "growth", "Growth",
        "Time and memory against the number of tensors (256 bytes each) and against bytes (always the same 291 tensors)."
        " `restore` is one process that opens and touches every page, unchecked; `import` is in memory, without syncs.",
        "read",
        (Part("open", "open", "open", GROWTH, GROWTH_QUICK, peers="open",
              only=("cairn", "tensorflow", "safetensors", "safetensors-rust")),
         Part("processes", "processes-1", "restore", GROWTH, GROWTH_QUICK, only=("cairn",)),
         Part("verify", "verify", "verify", GROWTH, GROWTH_QUICK, only=("cairn",)),
         Part("transfer", "import", "import", GROWTH, GROWTH_QUICK, only=("cairn-memory",))),
        repetitions=3, quick_repetitions=1),
)


def question(name):
    return next(q for q in QUESTIONS if q.name == name)
