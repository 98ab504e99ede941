#pragma once

// The keys of a pickle's dicts.

#include <string>
#include <utility>
#include <vector>

#include "format/pickle/graph.h"

namespace cairn::format::torch {

// Whether a value of this kind can be a part of a name.
bool is_key(pickle::Kind kind) noexcept;

// As Python's str() has it; empty where a key is no text and no number.
std::string key_text(const pickle::Graph& graph, pickle::Ref key);

// What a dict holds, each key once, with the value that it was given last.
using Items = std::vector<std::pair<pickle::Ref, pickle::Ref>>;
Items items_of(const pickle::Graph& graph, pickle::Ref dict);

}  // namespace cairn::format::torch
