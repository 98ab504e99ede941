#pragma once

// Distributed checkpoints of PyTorch, put together from opcodes.

#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/open/torch_samples.h"

namespace cairn::test {

// Opcodes of an object of a class with these attributes, each its name and its opcodes.
inline std::string object(std::string_view module, std::string_view name,
                          const std::vector<std::pair<std::string, std::string>>& attributes) {
  std::string program = "c" + std::string(module) + "\n" + std::string(name) + "\n)\x81}(";
  for (const auto& [key, value] : attributes) program += text(key) + value;
  return program + "ub";
}
inline std::string metadata_object(
    std::string_view name, const std::vector<std::pair<std::string, std::string>>& attributes) {
  return object("torch.distributed.checkpoint.metadata", name, attributes);
}
inline std::string size(const std::vector<std::int64_t>& sizes) {
  return "ctorch\nSize\n" + tuple(sizes) + "\x85R";
}

// What torch.save writes of a tensor of float32.
inline std::string saved_tensor(const std::vector<std::int64_t>& shape, const std::string& data) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t d = shape.size(); d-- > 1;) strides[d - 1] = strides[d] * shape[d];
  return archive({{"data.pkl", "\x80\2" +
                                   tensor({.numel = static_cast<std::int64_t>(data.size()) / 4,
                                           .shape = shape,
                                           .strides = strides}) +
                                   "."},
                  {"data/0", data}});
}

struct SampleChunk {
  std::string file = "__0_0.distcp";
  std::vector<std::int64_t> offsets;
  std::vector<std::int64_t> sizes;
  std::int64_t offset_bytes = 0;
  std::int64_t size_bytes = 0;
  bool stored = true;      // its place is said
  std::string more = "N";  // its transform_descriptors
};
struct SampleTensor {
  std::string name = "w";
  std::vector<std::int64_t> shape;
  std::vector<SampleChunk> chunks;
  std::string dtype = "ctorch\nfloat32\n";
};

// The file .metadata.
inline std::string distributed_metadata(const std::vector<SampleTensor>& tensors) {
  std::string entries = "}(";
  std::string places = "}(";
  for (const SampleTensor& each : tensors) {
    std::string chunks = "](";
    for (const SampleChunk& chunk : each.chunks) {
      chunks += metadata_object("ChunkStorageMetadata",
                                {{"offsets", size(chunk.offsets)}, {"sizes", size(chunk.sizes)}});
      if (!chunk.stored) continue;
      places += metadata_object(
          "MetadataIndex",
          {{"fqn", text(each.name)}, {"index", "N"}, {"offset", size(chunk.offsets)}});
      places += object("torch.distributed.checkpoint.filesystem", "_StorageInfo",
                       {{"relative_path", text(chunk.file)},
                        {"offset", number(chunk.offset_bytes)},
                        {"length", number(chunk.size_bytes)},
                        {"transform_descriptors", chunk.more}});
    }
    const std::string properties =
        "ctorch.distributed.checkpoint.metadata\nTensorProperties\n)\x81(" + each.dtype + "tb";
    entries +=
        text(each.name) + metadata_object("TensorStorageMetadata", {{"properties", properties},
                                                                    {"size", size(each.shape)},
                                                                    {"chunks", chunks + "e"}});
  }
  return "\x80\2" +
         metadata_object("Metadata", {{"state_dict_metadata", entries + "u"},
                                      {"planner_data", "N"},
                                      {"storage_data", places + "u"}}) +
         ".";
}

}  // namespace cairn::test
