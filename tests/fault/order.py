"""The order in which a commit reaches the disk, checked over a trace of its system calls.

A power cut keeps what was synced and any part of what was not. So a checkpoint survives one only if every file is
synced before it gets its name, the shards' names are synced before an index names them, and the last name is synced
before the call returns. Whether that is so cannot be seen from the files afterwards; it can be seen from the calls.
"""
import os
import re
from dataclasses import dataclass

CALLS = ("openat,write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile,ftruncate,fallocate,fsync,fdatasync,"
         "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,msync,ioctl")
STRACE = ["strace", "-f", "-y", "-s", "4096", "-e", "trace=" + CALLS]

SHARD = re.compile(r"\.data-\d{5,}-of-\d{5,}$|\.safetensors$")
INDEX = re.compile(r"\.(index|cairn)$|/checkpoint$")
GRAPH = re.compile(r"\.meta$")


@dataclass
class Event:
    """One call that succeeded. `kind`: write, sync, name (rename or link), remove, mkdir."""
    kind: str
    path: str
    to: str = ""
    line: int = 0


def whole_lines(lines):
    """The calls of a trace, those that another thread interrupted put together again."""
    started = {}
    for number, line in enumerate(lines):
        found = re.match(r"(?:\[pid +)?(\d+)?\]? *(.*)$", line.rstrip("\n"))
        thread, call = found.group(1), found.group(2)
        if call.endswith("<unfinished ...>"):
            started[thread] = call.removesuffix("<unfinished ...>")
        elif resumed := re.match(r"<\.\.\. \w+ resumed>(.*)", call):
            yield number, started.pop(thread, "") + resumed.group(1)
        else:
            yield number, call


class Paths:
    """Which file each argument of a call means."""

    def __init__(self):
        self.descriptors = {}

    def see(self, call):
        for number, path in re.findall(r"(\d+)<(/[^>]*)>", call):
            self.descriptors[number] = path.removesuffix(" (deleted)")

    def of_descriptor(self, arguments):
        found = re.match(r"(\d+)<(/[^>]*)>", arguments)
        return found and found.group(2).removesuffix(" (deleted)")

    def of_names(self, arguments):
        """The paths that the arguments name, each relative to the directory descriptor in front of it, if any."""
        paths = []
        for folder, name in re.findall(r'(?:(?:AT_FDCWD|\d+)(?:<(/[^>]*)>)?, )?"((?:\\.|[^"\\])*)"', arguments):
            if own := re.match(r"/proc/(?:self|\d+)/fd/(\d+)$", name):
                paths.append(self.descriptors.get(own.group(1), name))
            else:
                paths.append(os.path.normpath(os.path.join(folder, name)))
        if re.match(r'\d+<[^>]*>, "", ', arguments):  # linkat(…, AT_EMPTY_PATH)
            paths[0] = self.of_descriptor(arguments)
        return paths


def events(lines):
    """The events of a trace, in order."""
    paths = Paths()
    for number, call in whole_lines(lines):
        found = re.match(r"(\w+)\((.*)\) += (-?\d+)", call)
        if not found:
            continue
        paths.see(call)
        name, arguments, status = found.group(1), found.group(2), int(found.group(3))
        if status < 0:
            continue
        if name in ("fsync", "fdatasync"):
            yield Event("sync", paths.of_descriptor(arguments), line=number)
        elif name.startswith(("rename", "link")):
            source, target = paths.of_names(arguments)[:2]
            yield Event("name", source, target, number)
        elif name.startswith("unlink"):
            yield Event("remove", paths.of_names(arguments)[0], line=number)
        elif name.startswith("mkdir"):
            yield Event("mkdir", paths.of_names(arguments)[0], line=number)
        elif name == "copy_file_range":
            target = re.search(r", (\d+<[^>]*>)", arguments)
            yield Event("write", paths.of_descriptor(target.group(1)), line=number)
        elif name == "openat" and "O_TRUNC" in arguments:
            yield Event("write", paths.of_names(arguments)[0], line=number)
        elif name not in ("openat", "ioctl", "msync") and (path := paths.of_descriptor(arguments)):
            yield Event("write", path, line=number)


def breaches(lines, durable_first=(), pair=None):
    """Sentences: where the order of this trace could lose a checkpoint in a power cut.

    `pair`: whether P.index stood there before beside the P.cairn, which spoke for it; None: there was no P.cairn.

    `durable_first`: files that somebody else wrote and an index is about to name; nobody has synced them yet. With a
    slash at the end: a directory whose names somebody else made.
    """
    trail = list(events(lines))
    named = [(at, e) for at, e in enumerate(trail) if e.kind == "name" and published(e.to)]
    if not named:
        return ["nothing is published"]
    return [*unsynced_contents(trail, named), *written_in_place(trail), *unsynced_shard_names(trail, named),
            *wrong_order(trail, named, pair), *unsynced_last_name(trail, named), *early_removal(trail, named),
            *unsynced_directories(trail), *not_durable_first(trail, named, durable_first)]


def published(path):
    return SHARD.search(path) or INDEX.search(path) or GRAPH.search(path)


def synced(trail, path, after, before):
    return any(e.kind == "sync" and e.path == path for e in trail[after + 1:before])


def last(trail, kind, path, before):
    return max((at for at, e in enumerate(trail[:before]) if e.kind == kind and e.path == path), default=-1)


def unsynced_contents(trail, named):
    for at, event in named:
        wrote = last(trail, "write", event.path, at)
        if wrote >= 0 and not synced(trail, event.path, wrote, at):
            yield f"{event.to} gets its name before its bytes are synced"


def written_in_place(trail):
    for event in trail:
        if event.kind == "write" and published(event.path):
            yield f"{event.path} is written under its published name"


def unsynced_shard_names(trail, named):
    """Between the last shard's name and the first index: a sync of the directory."""
    shards = [(at, e) for at, e in named if SHARD.search(e.to)]
    indexes = [at for at, e in named if INDEX.search(e.to)]
    for folder in {os.path.dirname(e.to) for _, e in shards}:
        at = max(at for at, e in shards if os.path.dirname(e.to) == folder)
        if indexes and not synced(trail, folder, at, min(indexes)):
            yield f"{folder} is not synced between its last shard and its first index"


def wrong_order(trail, named, pair):
    """P.cairn before P.index, and durable, or found where it waits; where both stood, P.index before P.cairn."""
    ranks = [0, 1, 2, 3] if pair else [0, 2, 1, 3]
    order = [ranks[rank(e.to)] for _, e in named]
    if order != sorted(order):
        yield f"the names come in another order than shards, {'P.index, P.cairn' if pair else 'P.cairn, P.index'}, checkpoint"
    indexes = [(at, e) for at, e in named if rank(e.to) in (1, 2)]
    for (at, first), (then, second) in zip(indexes, indexes[1:]):
        folder = os.path.dirname(first.to)
        if folder != os.path.dirname(second.to):
            continue
        if pair is None and not synced(trail, folder, at, then):
            yield f"{folder} is not synced between {first.to} and {second.to}"
        own = second if pair else first
        if pair is not None and not synced(trail, folder, last(trail, "write", own.path, at), at):
            yield f"{folder} is not synced between the temporary name of {own.to} and {first.to}"


def rank(path):
    endings = (r"\.index$", r"\.cairn$", r"/checkpoint$")
    return next((i + 1 for i, ending in enumerate(endings) if re.search(ending, path)), 0)


def unsynced_last_name(trail, named):
    for folder in {os.path.dirname(e.to) for _, e in named}:
        at = max(at for at, e in named if os.path.dirname(e.to) == folder)
        if not synced(trail, folder, at, len(trail)):
            yield f"{folder} is not synced after its last name"


def early_removal(trail, named):
    """An old index goes when the new ones are durable, and old shards when that is."""
    end = max(at for at, _ in named)
    for at, event in enumerate(trail):
        if event.kind != "remove" or not published(event.path):
            continue
        if SHARD.search(event.path):
            end = max([end, *(i for i, e in enumerate(trail[:at]) if e.kind == "remove" and INDEX.search(e.path))])
        if at < end or not synced(trail, os.path.dirname(event.path), end, at):
            yield f"{event.path} is removed before its successor is durable"


def unsynced_directories(trail):
    for at, event in enumerate(trail):
        if event.kind == "mkdir" and not synced(trail, os.path.dirname(event.path), at, len(trail)):
            yield f"{os.path.dirname(event.path)} is not synced after {os.path.basename(event.path)} was made in it"


def not_durable_first(trail, named, files):
    first = min((at for at, e in named if INDEX.search(e.to)), default=len(trail))
    for path in files:
        if not path.endswith("/") and not synced(trail, path, -1, first):
            yield f"{path} is not synced before an index names it"
    indexed = {os.path.dirname(e.to) for _, e in named if INDEX.search(e.to)}
    for folder in indexed & {os.path.dirname(path) for path in files}:
        if not synced(trail, folder, -1, first):
            yield f"{folder} is not synced before an index names files in it"


def without_each_sync(lines):
    """(the sync's line, the trace without it) for each sync that succeeded."""
    for event in list(events(lines)):
        if event.kind == "sync":
            yield lines[event.line].strip(), lines[:event.line] + lines[event.line + 1:]
