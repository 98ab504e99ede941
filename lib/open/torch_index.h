#pragma once

// From what a pickle of PyTorch says, and the places of its storages, to an index. Archives and the
// files before them differ only in where the storages lie.

#include <cstdint>
#include <string>
#include <vector>

#include "format/torch/contents.h"
#include "lib/open/decoded_shard.h"
#include "lib/open/file_formats.h"

namespace cairn::internal {

// The bytes of a storage, in a shard.
struct StoragePlace {
  std::uint32_t shard = 0;  // 0: the file, 1: what was decoded
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
  std::string missing;  // not empty: it is not there, and why
};

class TorchIndex {
 public:
  TorchIndex(const os::File& file, const FileReadOptions& how)
      : file_(file), how_(how), decoded_(file.path()) {}

  // Of numbers of more than one byte: they are big-endian.
  void set_big_endian() noexcept { big_endian_ = true; }

  // OutOfMemory: so many bytes more do not fit half of the memory that is available.
  Result<void> reserve(std::uint64_t bytes);

  // Where storages go that have to be decoded.
  DecodedShard& decoded() noexcept { return decoded_; }

  // Adds the tensors, whose storages lie in `places`. Errors: Corrupt: a storage is missing or too
  // short, and the checkpoint is to be whole.
  Result<void> add(format::torch::Contents contents, const std::vector<StoragePlace>& places);

  // What is in the file beside that; a sentence.
  void leave_out(std::string sentence) { left_out_.push_back(std::move(sentence)); }

  // Once. `file`: the one that was read.
  Result<FileIndex> finish(OpenShard file);

 private:
  using StoredTensor = format::torch::StoredTensor;

  Result<bool> place(StoredTensor& stored, const std::vector<StoragePlace>& places);
  Result<bool> lacks(const StoredTensor& stored, const std::string& why);
  Result<void> rearrange(StoredTensor& stored);
  std::uint64_t live_bytes() const;

  const os::File& file_;
  const FileReadOptions& how_;
  DecodedShard decoded_;
  bool big_endian_ = false;
  format::IndexFacts facts_;
  std::vector<std::string> left_out_;
  std::vector<std::string> warnings_;
  std::uint64_t reserved_bytes_ = 0;
};

// Why no tensor of a file can be read where none is and something was left out; the file's name is
// its first word.
Error nothing_readable(const std::string& path, const std::vector<std::string>& left_out);

}  // namespace cairn::internal
