#pragma once

// The checkpoints that are measured: one of few large tensors, one of many small ones.
//
// Each is stored once and opened through three indexes, that lie beside names of the same inode:
//
//     DIR/cairn/NAME               NAME.cairn and NAME.index beside the shard
//     DIR/tensorflow/NAME          NAME.index alone
//     DIR/safetensors/NAME.safetensors

#include <array>
#include <string>

namespace cairn::bench {

struct Payload {
  const char* name;
  const char* one_tensor;  // the one that is asked for alone: small, from the middle
};

inline constexpr std::array<Payload, 2> kPayloads = {{
    {"gpt2", "model/h6/attn/c_attn/b"},
    {"rows", "table/shard-050/row-000"},
}};

inline std::string cairn_path(const std::string& directory, const Payload& payload) {
  return directory + "/cairn/" + payload.name;
}

inline std::string tensorflow_path(const std::string& directory, const Payload& payload) {
  return directory + "/tensorflow/" + payload.name;
}

inline std::string safetensors_path(const std::string& directory, const Payload& payload) {
  return directory + "/safetensors/" + payload.name + ".safetensors";
}

}  // namespace cairn::bench
