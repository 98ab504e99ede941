#pragma once

// What a checkpoint holds, to the last byte, so that one generation cannot pass for another.

#include <cairn/cairn.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace power {

struct Value {
  cairn::DType dtype{};
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;      // as stored
  std::vector<std::string> strings;  // of a String tensor, instead of bytes
  friend bool operator==(const Value&, const Value&) = default;
};

using Contents = std::map<std::string, Value>;

// Four tensors, small ones and one of about 200 KB. Shapes and every value follow from the seed.
Contents made(std::uint64_t seed);

cairn::Result<Contents> contents_of(const cairn::Checkpoint& checkpoint);

// The same as a Saver and a Writer take it. Borrows the contents.
class Named {
 public:
  explicit Named(const Contents& contents);
  std::span<const cairn::NamedTensor> tensors() const { return tensors_; }

 private:
  std::vector<std::vector<std::string_view>> strings_;
  std::vector<cairn::NamedTensor> tensors_;
};

// A description as marks carry it: "made:7", or "golden:PREFIX" below the directory of the golden
// files. Dies where there is no such thing.
Contents described(std::string_view description, const std::filesystem::path& golden);

}  // namespace power
