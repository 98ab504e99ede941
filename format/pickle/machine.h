#pragma once

// The machine that a pickle is a program of, protocols 0 to 5. FORMAT.md, "Pickles".
//
// Python's own machine imports what a pickle names and calls what it wants called. This one builds
// the graph of what the pickle says and does nothing: who reads the graph decides what a name
// means.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "format/decode_error.h"
#include "format/pickle/graph.h"

namespace cairn::format::pickle {

struct Pickle {
  Graph graph;
  Ref root = kNone;
  std::uint64_t size_bytes = 0;  // up to its end, behind which more may follow
  std::vector<Ref> persistent;   // every Persistent of the graph
};

enum class Input : std::uint8_t {
  Whole,  // nothing follows: a pickle that does not end is cut off
  Head,   // the first bytes of more
};

// Runs the program that the bytes begin with; they must outlive the result. Nothing: the program
// goes on behind them (Input::Head only). Errors: Corrupt (no such operation, a stack or memo that
// does not hold what an operation takes, a text that cannot be read, the end); Unsupported (a limit
// of limits.h, extension codes, buffers out of band, a newer protocol).
// Cost: memory of at most 64 times the bytes, and 64 KiB.
Decoded<std::optional<Pickle>> decode(std::span<const std::byte> bytes, Input input);

}  // namespace cairn::format::pickle
