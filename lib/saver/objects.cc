#include "cairn/object_graph.h"

#include <algorithm>
#include <cstdint>

#include "cairn/saver.h"
#include "lib/try.h"

namespace cairn {
namespace {

constexpr std::string_view kSaveCounter = "save_counter";

bool is_save_counter(const NamedTensor& tensor) { return tensor.spec.name == kSaveCounter; }

}  // namespace

Result<Saved> save_objects(Saver& saver, std::string_view name,
                           std::span<const NamedTensor> tensors,
                           const SaveOptions& options) noexcept {
  return at_boundary([&]() -> Result<Saved> {
    std::vector<NamedTensor> stored(tensors.begin(), tensors.end());
    const std::int64_t counter = options.step.value_or(0);
    if (std::ranges::none_of(tensors, is_save_counter)) {
      stored.push_back({{std::string(kSaveCounter), DType::Int64, {}},
                        std::as_bytes(std::span(&counter, 1)),
                        {}});
    }
    std::vector<std::string> paths;
    for (const NamedTensor& tensor : stored) paths.push_back(tensor.spec.name);
    const std::vector<std::string_view> views(paths.begin(), paths.end());
    CAIRN_TRY(objects, object_keys(views));
    for (std::size_t i = 0; i < stored.size(); ++i)
      stored[i].spec.name = std::move(objects.keys[i]);
    const std::string_view graph = objects.graph;
    stored.push_back({{std::string(kObjectGraphName), DType::String, {}}, {}, {&graph, 1}});
    return saver.save(name, stored, options);
  });
}

}  // namespace cairn
