#pragma once

// What a checkpoint says beside its tensors, as `ls` and `info` print it.

#include "cairn/checkpoint.h"
#include "output.h"

namespace cairn::tools {

// "metadata" and "safetensors_metadata": arrays of {"key","value"}.
void add_metadata(Json& json, const Checkpoint& checkpoint);

// What the checkpoint is: "prefix", "format", "step", "warnings" and "shards".
void add_files(Json& json, const Checkpoint& checkpoint);

// A line for each value. Long ones have their beginning only: they may be documents of their own.
void print_metadata(const Checkpoint& checkpoint);

}  // namespace cairn::tools
