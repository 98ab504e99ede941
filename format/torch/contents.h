#pragma once

// What a pickle of PyTorch holds: its tensors by their names, and numbers and texts as metadata.
// FORMAT.md, "PyTorch files".

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/decode_error.h"
#include "format/facts.h"
#include "format/limits.h"
#include "format/pickle/machine.h"
#include "format/plain_tensors.h"
#include "format/torch/tensors.h"

namespace cairn::format::torch {

// A list of references of two bytes may name a tensor of 300 again and again.
constexpr std::uint64_t pickle_memory_max(std::uint64_t pickle_bytes) {
  return std::max(std::uint64_t{1} << 18, pickle_bytes * limits::kPickleRatioMax);
}

struct ReadOptions {
  // Not: a tensor that is broken is left out, and the others are read.
  bool whole = true;
  // Of what is made of the pickle: pickle_memory_max() of its size.
  std::uint64_t memory_max = 0;
  // What the names begin with, and what the pickle's one value is called; empty: only keys name.
  std::string_view name = {};
  // Tensors that repeat their elements may take any memory.
  bool expand = false;
  // If all tensors are plain, they are in Contents::plain.
  bool plain = false;
};

struct Contents {
  std::vector<Storage> storages;      // what the pickle names or has; texts are the pickle's
  std::vector<StoredTensor> tensors;  // sorted by name
  PlainTensors plain;                 // in place of `tensors`, which are none then
  KeyValues metadata;                 // sorted by key
  // What is in the pickle and not above, a sentence without a full stop for each.
  std::vector<std::string> left_out;
  std::uint64_t left_out_count = 0;  // with those that are in no sentence
  // What a reader of the names should know.
  std::vector<std::string> warnings;
  bool is_lone = false;  // the pickle is one tensor, which has no name
};

// The tensors are called by the keys that lead to them, joined by dots; where two ways give one
// name, both are called by their JSON pointers. Errors: Corrupt (a call that makes no tensor of its
// arguments, or one outside of its storage); Unsupported (a limit of limits.h, references to
// something beside the pickle that is no storage).
// Cost: memory of at most 64 times the pickle's bytes, or 256 KiB.
Decoded<Contents> read_contents(const pickle::Pickle& pickle, const ReadOptions& options);

}  // namespace cairn::format::torch
