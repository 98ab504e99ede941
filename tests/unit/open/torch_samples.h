#pragma once

// Archives of PyTorch, put together from opcodes.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "format/le.h"
#include "tests/unit/open/zip_samples.h"

namespace cairn::test {

struct TorchRecord {
  std::string name;
  std::string data;
};

// In the folder "m".
inline std::string archive(const std::vector<TorchRecord>& records) {
  std::vector<ZipMember> members;
  for (const TorchRecord& record : records)
    members.push_back({.name = "m/" + record.name, .data = record.data});
  return zip_of(members);
}

// Opcodes of a text, a number, and a tuple of numbers.
inline std::string text(std::string_view value) {
  std::string program = "X";
  format::append_le(program, static_cast<std::uint32_t>(value.size()));
  return program + std::string(value);
}
inline std::string number(std::int64_t value) {
  std::string program = "\x8a\x08";
  format::append_le(program, value);
  return program;
}
inline std::string tuple(const std::vector<std::int64_t>& values) {
  std::string program = "(";
  for (const std::int64_t value : values) program += number(value);
  return program + "t";
}

// Opcodes of a tensor of float32.
struct TensorCall {
  std::string key = "0";
  std::int64_t numel = 4;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> strides;
};
inline std::string tensor(const TensorCall& call) {
  return "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + "ctorch\nFloatStorage\n" +
         text(call.key) + text("cpu") + number(call.numel) + "tQ" + number(call.offset) +
         tuple(call.shape) + tuple(call.strides) + "\x89" + "ccollections\nOrderedDict\n)RtR";
}

}  // namespace cairn::test
