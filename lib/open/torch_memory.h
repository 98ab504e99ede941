#pragma once

// What files of PyTorch do not hold as the plain bytes of a tensor: storages that are compressed,
// and elements that do not lie in order. They are put into memory when the file is opened.

#include <cstdint>
#include <string>

#include "format/facts.h"
#include "format/torch/tensors.h"
#include "format/torch/view.h"
#include "lib/open/decoded_shard.h"
#include "lib/os/file.h"

namespace cairn::internal {

class TorchMemory {
 public:
  // `path`: of the file that the values are decoded from.
  explicit TorchMemory(const std::string& path) : path_(path), decoded_(path) {}

  // OutOfMemory: so many bytes more do not fit half of the memory that is available.
  Result<void> reserve(std::uint64_t bytes);

  // Where the bytes go.
  DecodedShard& decoded() noexcept { return decoded_; }

  // Puts the bytes of a storage here that a pickle has as text. Returns where they begin.
  Result<std::uint64_t> add_pickled(const format::torch::Storage& storage);

  // Copies a tensor's elements here, in row-major order, each once for every place that it has.
  // `stored`: from the first element to the last, in the file. Returns where they are; the number
  // of the shard is the caller's to set.
  Result<format::Span> put_in_order(const format::torch::Rearranged& layout,
                                    const format::Span& stored, const os::File& file,
                                    bool big_endian);

 private:
  std::string path_;
  DecodedShard decoded_;
  std::uint64_t reserved_bytes_ = 0;
};

}  // namespace cairn::internal
