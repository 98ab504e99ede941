#pragma once

// What the other rooms ask of a Writer and users need not.

#include <functional>

#include "cairn/writer.h"

namespace cairn {

struct WriterAccess {
  // commit() asks this first, when it holds the prefix's lock: an Error ends it, and nothing has
  // happened. For who makes a checkpoint of what it replaces.
  static void before_publishing(Writer& writer, std::function<Result<void>()> check);
};

}  // namespace cairn
