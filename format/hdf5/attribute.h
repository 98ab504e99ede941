#pragma once

// Attributes of groups and datasets as text.

#include <string>
#include <vector>

#include "format/hdf5/heap.h"
#include "format/hdf5/object.h"

namespace cairn::format::hdf5 {

struct Attribute {
  std::string name;
  // A string stands as it is. Anything else is JSON, as in the metadata of a GGUF file: numbers in
  // the shortest form that reads back, true and false, arrays of all of it, null for no value.
  std::string text;
  std::string left_out;  // why there is no text; empty: there is
};

// Reads the attributes of one object after another. Together they are at most so long as
// limits.h says; what is too long is left out.
class Attributes {
 public:
  explicit Attributes(File& file) : file_(file), heaps_(file) {}

  // In the object's order. Errors: Corrupt; Unsupported.
  Decoded<std::vector<Attribute>> read(const Object& object);

 private:
  File& file_;
  GlobalHeaps heaps_;
  std::uint64_t text_bytes_ = 0;
};

}  // namespace cairn::format::hdf5
