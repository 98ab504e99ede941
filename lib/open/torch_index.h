#pragma once

// From what a pickle of PyTorch says, and the places of its storages, to an index. Archives and the
// files before them differ only in where the storages lie.

#include <cstdint>
#include <string>
#include <vector>

#include "format/torch/contents.h"
#include "lib/open/file_formats.h"
#include "lib/open/torch_archive.h"
#include "lib/open/torch_memory.h"

namespace cairn::internal {

class TorchIndex {
 public:
  TorchIndex(const os::File& file, const FileReadOptions& how)
      : file_(file), how_(how), memory_(file.path()) {}

  // Of numbers of more than one byte: they are big-endian.
  void set_big_endian() noexcept { big_endian_ = true; }

  // What goes into memory, where storages go that have to be decoded.
  TorchMemory& memory() noexcept { return memory_; }

  // Adds the tensors, whose storages lie in `places`; metadata is that of the last call. Errors:
  // Corrupt: a storage is missing or too short, and the checkpoint is to be whole.
  Result<void> add(format::torch::Contents contents, const std::vector<StoragePlace>& places);

  // What is in the file beside that; a sentence.
  void leave_out(std::string sentence) { left_out_.push_back(std::move(sentence)); }

  // Once. `file`: the one that was read.
  Result<FileIndex> finish(OpenShard file);

 private:
  using StoredTensor = format::torch::StoredTensor;

  static bool place_all(format::PlainTensors& plain, const std::vector<StoragePlace>& places);
  bool is_empty() const noexcept { return plain_.size() == 0 && facts_.tensors.empty(); }
  Result<bool> place(StoredTensor& stored, const std::vector<StoragePlace>& places);
  Result<bool> lacks(const StoredTensor& stored, const std::string& why);

  const os::File& file_;
  const FileReadOptions& how_;
  TorchMemory memory_;
  bool big_endian_ = false;
  bool is_of_several_ = false;  // pickles, each sorted by name
  format::IndexFacts facts_;
  format::PlainTensors plain_;  // the tensors, if all so far are plain and of one pickle
  std::vector<std::string> left_out_;
  std::vector<std::string> warnings_;
};

// Why no tensor of a file can be read where none is and something was left out; the file's name is
// its first word.
Error nothing_readable(const std::string& path, const std::vector<std::string>& left_out);

}  // namespace cairn::internal
