"""What the crash harnesses do to a checkpoint directory, and how they look at what is left.

A scene is two lines of shell: what is in the directory $D before, and the one command that is then disturbed. Nothing
else is written down: what the directory holds before and after the undisturbed command, fingerprint by fingerprint, is
what a disturbed one may leave.
"""
import concurrent.futures
import errno
import json
import os
import shutil
import string
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(HERE)), "golden", "tensorflow")
SKIPPED = 77
SECONDS_MAX = 60  # of one command: then it hangs


@dataclass(frozen=True)
class Scene:
    name: str
    before: str  # for sh, in $D
    command: str
    # When the first attempt did its work and was killed before it could say so, this is what does it again.
    again: str = ""
    between: str = ""  # a command that leaves the directory as this one does half-way
    spared: tuple = ()  # errors that are no failure of this command
    gone: str = ""  # what it says, and fails, where the first attempt has done all


BYSTANDER = "$ACT save $D/m-1 1"
FOREIGN = f"{BYSTANDER}; cp $GOLDEN/sharded/shard-42.* $D"
KEPT = f"{BYSTANDER}; $ACT keep $D/m-2 2; $ACT keep $D/m-3 3"
SHARED = "$ACT share $D/m-1 1; $ACT share $D/m-2 2; $ACT share $D/m-3 3"
KEPT_ALONE = KEPT.replace("keep", "keep-alone")
# A save that died when its first index, or its last, had its name: the one before that is the journal's.
DYING = f"{KEPT}; $INJECT kill-exit %d --call renameat --from $D -- $ACT keep $D/m-4 4"
# A rename in place that died between the names of P.index and P.cairn.
HALF_RENAMED = (f"{BYSTANDER}; $ACT save $D/m-2 2; $INJECT kill-exit 1 --call renameat --from $D -- "
                "$CAIRN rename $D/m-2 --map step=steps --replace")
SPLIT = "$CAIRN convert $D/shard-42 $D/hub --to safetensors --max-shard-size 200"
SETTLE = "$ACT prune $D 9"
REPLACE = " --replace"
GONE = "no checkpoint there"
TWICE = f"{KEPT}; cp $D/checkpoint $D/best_checkpoint"

SCENES = [
    # The longest first, so that the processors finish together.
    Scene("save with a Saver", KEPT, "$ACT keep $D/m-4 4"),
    Scene("save with a Saver over a checkpoint", f"{KEPT}; $ACT keep $D/m 4", "$ACT keep $D/m 5"),
    Scene("save incrementally", SHARED, "$ACT share $D/m-4 4"),
    Scene("save incrementally over the base", f"{SHARED}; $ACT share $D/m 4", "$ACT share $D/m 5"),
    Scene("save the first with a Saver", BYSTANDER, "$ACT keep $D/new/m-4 4"),
    Scene("save from the shell", KEPT, "$CAIRN save $D/m --step 4 --from $D --max-to-keep 2 v1:int32=10"),
    Scene("prune from the shell", KEPT, "$CAIRN prune $D --max-to-keep 1"),
    Scene("rebuild the catalog", f"{KEPT}; rm $D/checkpoint", "$CAIRN state $D --repair --all"),
    Scene("save with a Saver without P.index", KEPT_ALONE, "$ACT keep-alone $D/m-4 4"),
    Scene("save with a Saver over one without P.index", KEPT_ALONE, "$ACT keep-alone $D/m-3 4"),
    Scene("save with a Saver after one that died", DYING % 2, "$ACT keep $D/m-5 5", between=SETTLE),
    Scene("save with a Saver after one that died late", DYING % 3, "$ACT keep $D/m-5 5", between=SETTLE),
    Scene("save with a Saver beside a pinned one", f"{KEPT}; $ACT pin $D/m-2 0", "$ACT keep $D/m-4 4"),
    Scene("pin", KEPT, "$ACT pin $D/m-2 0"),
    Scene("prune", KEPT, "$ACT prune $D 1"),
    Scene("prune after a save that died", DYING % 3, "$ACT prune $D 1", between=SETTLE),
    Scene("save", BYSTANDER, "$ACT save $D/m-2 2"),
    Scene("save into a new directory", BYSTANDER, "$ACT save $D/new/deep/m-2 2"),
    Scene("save over a checkpoint", f"{BYSTANDER}; $ACT save $D/m-2 2", "$ACT save $D/m-2 3"),
    Scene("save over TensorFlow's", FOREIGN, "$ACT save $D/shard-42 3"),
    Scene("import", FOREIGN, "$CAIRN import $D/shard-42"),
    Scene("import of a copy", f"{FOREIGN}; $CAIRN import $D/shard-42; cp $D/shard-42.* $D/..; rm $D/shard-42.*;"
          " mv $D/../shard-42.* $D", "$CAIRN import $D/shard-42"),
    Scene("import elsewhere", FOREIGN, "$CAIRN import $D/shard-42 --output $D/out/p", REPLACE),
    Scene("import elsewhere by copying", FOREIGN, "$CAIRN import $D/shard-42 --output $D/out/p --link copy", REPLACE),
    Scene("import over a checkpoint", f"{FOREIGN}; $ACT save $D/p 2",
          "$CAIRN import $D/shard-42 --output $D/p --replace"),
    Scene("export over a checkpoint", f"{FOREIGN}; $ACT save $D/p 2",
          "$CAIRN export $D/shard-42 --to tensorflow --output $D/p --replace"),
    Scene("export to TensorFlow", f"{FOREIGN}; $CAIRN import $D/shard-42; rm $D/shard-42.index",
          "$CAIRN export $D/shard-42 --to tensorflow"),
    Scene("export to TensorFlow for the first time", f"{BYSTANDER}; $ACT alone $D/m-2 2",
          "$CAIRN export $D/m-2 --to tensorflow --allow-lossy"),
    Scene("save without P.index over one with it", f"{BYSTANDER}; $ACT save $D/m-2 2", "$ACT alone $D/m-2 3"),
    Scene("export to TensorFlow elsewhere", FOREIGN,
          "$CAIRN export $D/shard-42 --to tensorflow --output $D/out/p --link copy", REPLACE),
    Scene("export to safetensors", f"{BYSTANDER}; $CAIRN convert $D/m-1 $D/one --to safetensors --allow-lossy; "
          "$CAIRN convert $D/one.safetensors $D/two --to cairn",
          "$CAIRN export $D/two --to safetensors --allow-lossy", REPLACE),  # where a link was refused, the file is a copy
    Scene("convert", FOREIGN, "$CAIRN convert $D/shard-42 $D/out/p --to cairn", REPLACE),
    Scene("convert over a checkpoint", f"{FOREIGN}; $ACT save $D/p 2",
          "$CAIRN convert $D/shard-42 $D/p --to cairn --replace"),
    Scene("convert to one index over two", f"{FOREIGN}; $ACT save $D/p 2",
          "$CAIRN convert $D/shard-42 $D/p --to tensorflow --replace"),
    Scene("convert to safetensors", FOREIGN, "$CAIRN convert $D/shard-42 $D/p --to safetensors", REPLACE),
    Scene("convert to safetensors over a file", f"{FOREIGN}; $CAIRN convert $D/m-1 $D/p --to safetensors --allow-lossy",
          "$CAIRN convert $D/shard-42 $D/p --to safetensors --replace"),
    Scene("convert to npz", FOREIGN, "$CAIRN convert $D/shard-42 $D/p --to npz", REPLACE),
    Scene("convert to several files", FOREIGN, SPLIT, REPLACE),
    Scene("convert to several files over a model", f"{FOREIGN}; $CAIRN convert $D/m-1 $D/hub --to safetensors "
          "--max-shard-size 5GB --allow-lossy; echo mine > $D/hub/config.json; ln -s config.json $D/hub/link.json; "
          "mkdir -p $D/hub/more/deep; echo too > $D/hub/more/deep/file",
          f"{SPLIT} --replace"),
    # A disk that fails is what it is for: see tests/fault/test_salvage.py.
    Scene("salvage", FOREIGN, "$CAIRN salvage $D/shard-42 $D/out/p", REPLACE, spared=(errno.EIO,)),
    Scene("merge", FOREIGN, "$CAIRN merge $D/m-1 $D/shard-42 --output $D/out/p", REPLACE),
    Scene("merge by copying", FOREIGN, "$CAIRN merge $D/m-1 $D/shard-42 --output $D/p --link copy", REPLACE),
    Scene("merge over a checkpoint", f"{FOREIGN}; $ACT save $D/p 2",
          "$CAIRN merge $D/m-1 $D/shard-42 --output $D/p --replace"),
    Scene("rename", f"{BYSTANDER}; $ACT save $D/m-2 2", "$CAIRN rename $D/m-2 --regex ^(x_)?w=x_w --replace"),
    Scene("rename a pinned one", f"{BYSTANDER}; $ACT save $D/m-2 2; $CAIRN pin $D/m-2",
          "$CAIRN rename $D/m-2 --regex ^(x_)?w=x_w --replace"),
    Scene("pin after a rename that died", HALF_RENAMED, "$CAIRN pin $D/m-2"),
    Scene("save after a rename that died", HALF_RENAMED, "$ACT save $D/m-2 3"),
    Scene("rename TensorFlow's", FOREIGN, "$CAIRN rename $D/shard-42 --regex ^[wx]=x --replace"),
    Scene("rename elsewhere", FOREIGN, "$CAIRN rename $D/shard-42 --regex ^[wx]=x --output $D/out/p", REPLACE),
    Scene("copy", FOREIGN, "$CAIRN cp $D/shard-42 $D/out/p", REPLACE),
    Scene("copy over a checkpoint", f"{FOREIGN}; $ACT save $D/p 2", "$CAIRN cp $D/shard-42 $D/p --replace"),
    Scene("copy without P.index over one with it", f"{BYSTANDER}; $ACT alone $D/m-2 2; $ACT save $D/p 3",
          "$CAIRN cp $D/m-2 $D/p --replace"),
    Scene("copy of all views", f"{BYSTANDER}; $ACT save $D/m-2 2; ln $D/m-2.data-00000-of-00002 $D/m-2.safetensors; "
          "echo graph > $D/m-2.meta", "$CAIRN cp $D/m-2 $D/p", REPLACE),
    Scene("move", KEPT, "$CAIRN mv $D/m-2 $D/best", REPLACE, gone=GONE),
    Scene("move the latest", KEPT, "$CAIRN mv $D/m-3 $D/best", REPLACE, gone=GONE),
    Scene("move over a listed one", KEPT, "$CAIRN mv $D/m-2 $D/m-3 --replace", gone=GONE),
    Scene("move over one that is not listed", f"{KEPT}; $ACT save $D/p 4", "$CAIRN mv $D/m-3 $D/p --replace", gone=GONE),
    Scene("move into another directory", KEPT, "$CAIRN mv $D/m-3 $D/out/m-3", REPLACE, gone=GONE),
    Scene("move TensorFlow's", FOREIGN, "$CAIRN mv $D/shard-42 $D/shard-43", REPLACE, gone=GONE),
    Scene("move what two catalogs list", TWICE, "$CAIRN mv $D/m-2 $D/best", REPLACE, gone=GONE),
    Scene("move after a save that died", DYING % 3, "$CAIRN mv $D/m-4 $D/best", REPLACE, between=SETTLE, gone=GONE),
    Scene("remove", KEPT, "$CAIRN rm $D/m-2", gone=GONE),
    Scene("remove the latest", KEPT, "$CAIRN rm $D/m-3 --force", gone=GONE),
    Scene("remove what two catalogs list", TWICE, "$CAIRN rm $D/m-2 --force", gone=GONE),
    Scene("remove all that is listed", f"{BYSTANDER}; $CAIRN set-latest $D m-1", "$CAIRN rm $D/m-1 --force", gone=GONE),
    Scene("set-latest", f"{FOREIGN}; $CAIRN set-latest $D m-1", "$CAIRN set-latest $D $D/shard-42"),
]

# Each must be caught.
OVERWRITE = Scene("wrong: the index before its shard", f"{BYSTANDER}; $ACT save $D/m-2 2", "$ACT overwrite $D/m-2 3")
CARELESS = Scene("wrong: no result is looked at", BYSTANDER, "$ACT careless $D/m-2 2")


@dataclass(frozen=True)
class Programs:
    build: str

    @property
    def variables(self):
        return {"CAIRN": f"{self.build}/tools/cairn", "ACT": f"{self.build}/tests/crash/calls/crash_act",
                "INJECT": self.inject, "GOLDEN": GOLDEN}

    @property
    def inject(self):
        return f"{self.build}/tests/crash/calls/crash_inject"

    @property
    def check(self):
        return f"{self.build}/tests/crash/calls/crash_check"


@dataclass
class State:
    """What is in a directory."""
    facts: dict = field(default_factory=dict)  # (kind, name) → fingerprint
    temporaries: set = field(default_factory=set)
    leftovers: set = field(default_factory=set)
    remarks: set = field(default_factory=set)

    def add(self, kind, name, value):
        if kind == "temporary":
            self.temporaries.add(name)
        elif kind == "leftover":
            self.leftovers.add(name)
        elif kind == "remark":
            self.remarks.add((name, value))
        else:
            self.facts[kind, name] = value


@dataclass
class Ran:
    """What came of an injected command."""
    calls: int
    hit: str
    exit: int
    signal: int
    stderr: str = ""


class Stage:
    """One scene in a scratch directory, set up again and again."""

    def __init__(self, programs, scene, scratch=None):
        self.programs, self.scene = programs, scene
        self.scratch = scratch or tempfile.mkdtemp(prefix="cairn-crash-", dir=ram())
        self.dir = f"{self.scratch}/d"
        self.variables = {**programs.variables, "D": self.dir}
        self.checker = subprocess.Popen([programs.check], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        try:
            self._prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.checker.stdin.close()
        self.checker.wait()
        self.checker.stdout.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _prepare(self):
        os.mkdir(self.dir)
        done = subprocess.run(["sh", "-ec", self.scene.before], env={**os.environ, **self.variables},
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{self.scene.name}: cannot be set up: {done.stderr}")
        os.rename(self.dir, f"{self.scratch}/before")
        self.before = self._after("")
        self.between = self._after(self.scene.between)
        self.after = self._after(self.scene.command)

    def _after(self, command):
        """The state that an undisturbed command leaves."""
        self.reset()
        if command and (done := self.run(self.words(command))).returncode != 0:
            raise RuntimeError(f"{self.scene.name}: fails undisturbed: {done.stderr}")
        state = self.look()
        if errors := [value for value in state.facts.values() if value.startswith("error")]:
            raise RuntimeError(f"{self.scene.name}: is not whole to begin with: {errors}")
        return state

    def words(self, command=""):
        return string.Template(command or self.scene.command).substitute(self.variables).split()

    def reset(self):
        """The directory as before. Files are linked, not copied: they keep their identity, and none may be written."""
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.copytree(f"{self.scratch}/before", self.dir, copy_function=link)

    def run(self, words):
        return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX)

    def inject(self, action, at=0, *options):
        words = [self.programs.inject, action, str(at), *options, "--from", self.dir, "--", *self.words()]
        done = self.run(words)
        if done.returncode != 0:
            raise RuntimeError(f"{self.scene.name}: inject: {done.stdout}{done.stderr}")
        return Ran(**json.loads(done.stdout), stderr=done.stderr)

    def look(self):
        self.checker.stdin.write(self.dir + "\n")
        self.checker.stdin.flush()
        state = State()
        for line in self.checker.stdout:
            if line == "\n":
                return state
            state.add(*line.rstrip("\n").split("\t"))
        raise RuntimeError(f"{self.scene.name}: the checker died")

    # --- verdicts: sentences about what is wrong, none where all is well

    def losses(self, state):
        """Each name holds what it held before, or what it is to hold."""
        allowed = (self.before.facts, self.between.facts, self.after.facts)
        for key in set().union(*allowed, state.facts):
            found = state.facts.get(key)
            if found not in [facts.get(key) for facts in allowed]:
                yield f"{' '.join(key)}: {found or 'is gone'}"

    def unfinished(self, state, kept=frozenset()):
        """The state is that after the command, with nothing left over but of those that are `kept`."""
        yield from self.undone(state, waiting=kept)
        for name in sorted(state.temporaries | state.leftovers):
            if not any(os.path.basename(name).startswith(f"{each}.") for each in kept):
                yield f"{name} is left over"

    def undone(self, state, waiting):
        """What the command was to do is done; what it was to remove may be there, if its name is `waiting`."""
        for key in self.after.facts.keys() | state.facts.keys():
            if state.facts.get(key) != self.after.facts.get(key) and key[1] not in waiting:
                yield f"{' '.join(key)}: {state.facts.get(key)}, not {self.after.facts.get(key)}"
        for name, remark in sorted(state.remarks ^ self.after.remarks):
            if name not in waiting:
                yield f"{name}: a remark too few or too many: {remark}"

    def has_new_index(self):
        """Whether an index is another file than before, which nobody may see yet: another may still decide."""
        def inodes(directory):
            files = (os.path.join(folder, name) for folder, _, names in os.walk(directory) for name in names
                     if name.endswith((".index", ".cairn")))
            return {os.path.relpath(path, directory): os.stat(path).st_ino for path in files}
        return not inodes(self.dir).items() <= inodes(f"{self.scratch}/before").items()

    def to_remove(self):
        """The names of what the command removes."""
        return {name for _, name in self.before.facts.keys() - self.after.facts.keys()}

    def cannot_go_on(self, kept=frozenset()):
        """Done again, undisturbed, the command succeeds, and nothing is left over; `kept`: what may stay for ever."""
        done = self.run(self.words())
        if done.returncode != 0 and self.scene.again and " is there" in done.stderr:
            done = self.run(self.words(self.scene.command + self.scene.again))
        if done.returncode != 0 and self.scene.gone and self.scene.gone in done.stderr:
            done = self.run(self.words(SETTLE))  # what may be left over goes with the next change of the directory
        if done.returncode != 0:
            yield f"done again, it ends with {done.returncode}: {done.stderr.strip()}"
            return
        for sentence in self.unfinished(self.look(), kept):
            yield f"done again: {sentence}"


def link(source, target):
    """Locks are files that are written; linked, the next attempt would find the last one's."""
    copy = shutil.copy2 if os.path.basename(source).startswith(".") else os.link
    copy(source, target)


def ram():
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def why_not(programs):
    """Why nothing can be injected here; empty: it can."""
    done = subprocess.run([programs.inject, "count", "--", "true"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == SKIPPED else ""


def pin(counter):
    """One processor for a command and its tracer: they take turns anyway, and Cairn then uses one thread."""
    cpus = sorted(os.sched_getaffinity(0))
    with counter.get_lock():
        counter.value += 1
        os.sched_setaffinity(0, {cpus[counter.value % len(cpus)]})


def in_parallel(function, tasks):
    """The function's results, in the order of the tasks, from one process per processor."""
    import multiprocessing
    counter = multiprocessing.Value("i", 0)
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), initializer=pin,
                                                initargs=(counter,)) as pool:
        yield from pool.map(function, *zip(*tasks))


class Count:
    """Cases, and what is said about them."""

    def __init__(self, harness):
        self.harness = harness
        self.passed = self.failed = self.skipped = 0

    def case(self, name, failures, detail=""):
        failures = list(failures)
        self.passed, self.failed = self.passed + (not failures), self.failed + bool(failures)
        print(f"{self.harness}: {name}: {detail}{': failed' if failures else ''}", *failures[:20], sep="\n    ",
              flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"{self.harness}: {name}: skipped: {why}", flush=True)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        sys.exit(1 if self.failed else SKIPPED if not self.passed else 0)
