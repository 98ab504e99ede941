// model.safetensors.index.json: what is decoded is sorted, each name once, each file used.

#include <algorithm>
#include <vector>

#include "format/safetensors/hub_index.h"
#include "fuzz.h"

using namespace cairn;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto index = format::safetensors::decode_hub_index(std::as_bytes(std::span(data, size)));
  if (!index) return 0;
  fuzz::demand(
      std::ranges::adjacent_find(index->files, std::ranges::greater_equal()) == index->files.end(),
      "files ascend, each once");
  std::vector<bool> used(index->files.size());
  for (std::size_t i = 0; i < index->tensors.size(); ++i) {
    const auto& [name, file] = index->tensors[i];
    fuzz::demand(file < used.size(), "a tensor's file is one of them");
    used[file] = true;
    fuzz::demand(i == 0 || index->tensors[i - 1].first < name, "names ascend");
  }
  fuzz::demand(std::ranges::find(used, false) == used.end(), "each file has a tensor");
  return 0;
}
