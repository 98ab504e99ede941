"""What TensorFlow makes of checkpoints, in processes that may be lost.

TensorFlow aborts on some of what is asked here. Importing it takes longer than thousands of questions, so one process
imports it and answers nothing: it forks. A child answers questions until it dies; the next one goes on behind the
question that killed it.
"""
import os
import pickle
import resource
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass

HERE = os.path.dirname(os.path.abspath(__file__))
MEMORY_BYTES = 3 << 30  # above what TensorFlow has mapped: a length of 2^60 must not take the machine
QUESTION_S = 30


@dataclass
class Refusal:
    error: str  # the exception's class; "abort" where TensorFlow gave none
    message: str = ""

    @property
    def silent(self):
        return self.error == "abort"


class TensorFlow:
    """Asks questions: ("restore", prefix, name, spec, dtype number) and ("list", prefix)."""

    def __init__(self):
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "",
                                    "TF_ENABLE_ONEDNN_OPTS": "0", "PYTHONPATH": os.path.dirname(HERE)}
        self.process = subprocess.Popen([sys.executable, "-c", "from differential import theirs; theirs.serve()"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        env=environment)

    def ask(self, questions):
        """An answer for each: (dtype number, shape, value), name → (dtype number, shape), or a Refusal."""
        send(self.process.stdin, questions)
        return receive(self.process.stdout)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def send(stream, thing):
    data = pickle.dumps(thing)
    stream.write(struct.pack("<Q", len(data)) + data)
    stream.flush()


def receive(stream):
    head = stream.read(8)
    return pickle.loads(stream.read(struct.unpack("<Q", head)[0])) if len(head) == 8 else None


# --- the process that forks -----------------------------------------------------------------------------------------

def serve():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions_in, answers_out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import tensorflow as tf  # pylint: disable=import-outside-toplevel
    while (questions := receive(questions_in)) is not None:
        answers = []
        while len(answers) < len(questions):
            answers += answered(tf, questions[len(answers):])
            if len(answers) < len(questions):
                answers.append(Refusal("abort"))
        send(answers_out, answers)


def answered(tf, questions):
    """The answers of one child, up to the question that it died of."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "wb") as stream:
            answer_all(tf, questions, stream)
        os._exit(0)
    os.close(writing)
    answers = []
    with os.fdopen(reading, "rb") as stream:
        while (answer := receive(stream)) is not None:
            answers.append(answer)
    os.waitpid(child, 0)
    return answers


def answer_all(tf, questions, stream):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    with open("/proc/self/statm", encoding="ascii") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_BYTES,) * 2)
    for what, *arguments in questions:
        signal.alarm(QUESTION_S)
        try:
            answer = restored(tf, *arguments) if what == "restore" else listed(tf, *arguments)
        except Exception as error:  # whatever it is, it is the answer
            answer = Refusal(type(error).__name__, str(error)[:500])
        send(stream, answer)


def restored(tf, prefix, name, spec, dtype):
    (value,) = tf.raw_ops.RestoreV2(prefix=prefix, tensor_names=[name], shape_and_slices=[spec],
                                    dtypes=[tf.dtypes.as_dtype(dtype)])
    shape = value.shape.as_list()
    if value.dtype == tf.variant:
        return dtype, shape, None
    if not 0 < len(shape) <= 32:  # numpy makes 0 or 1 of a bool alone, and some of its functions end at 32
        value = tf.reshape(value, [-1])
    array = value.numpy()
    if value.dtype == tf.string:
        return dtype, shape, array.ravel().tolist()
    return dtype, shape, array.tobytes()


def listed(tf, prefix):
    reader = tf.compat.v1.train.NewCheckpointReader(prefix)
    dtypes = reader.get_variable_to_dtype_map()
    return {name.encode("utf-8"): (dtypes[name].as_datatype_enum, shape)
            for name, shape in reader.get_variable_to_shape_map().items()}

