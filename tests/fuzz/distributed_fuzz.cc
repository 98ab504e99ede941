// A distributed checkpoint of PyTorch: four bytes with the size of .metadata, that file, and the
// bytes of both of its other files. What its pickle says is consistent, and where it says that
// there are tensors, it is opened, and what opens is read.

#include "cairn/checkpoint.h"

#include <fstream>

#include "folder.h"
#include "format/checked.h"
#include "format/limits.h"
#include "format/pickle/machine.h"
#include "format/torch/distributed.h"
#include "fuzz.h"

using namespace cairn;
namespace torch = cairn::format::torch;

namespace {

void demand_consistent(const torch::Distributed& all, std::size_t size) {
  std::uint64_t made = 0;
  for (const std::string& file : all.files) made += sizeof file + file.size();
  const std::string* before = nullptr;
  for (const torch::ChunkedTensor& tensor : all.tensors) {
    fuzz::demand(before == nullptr || *before < tensor.name, "names ascend");
    before = &tensor.name;
    fuzz::demand(tensor.dtype != nullptr, "a dtype is known");
    fuzz::demand(format::element_count(tensor.shape).has_value(), "elements can be counted");
    fuzz::demand(tensor.shape.size() <= format::limits::kRankMax, "ranks are bounded");
    made += sizeof tensor + tensor.name.size() + 8 * tensor.shape.size();
    for (const torch::Chunk& chunk : tensor.chunks) {
      fuzz::demand(
          chunk.offsets.size() == tensor.shape.size() && chunk.sizes.size() == tensor.shape.size(),
          "a chunk has the rank of its tensor");
      for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
        fuzz::demand(chunk.offsets[i] >= 0 && chunk.sizes[i] > 0 &&
                         chunk.sizes[i] <= tensor.shape[i] - chunk.offsets[i],
                     "a chunk lies in its tensor");
      }
      fuzz::demand(chunk.item.file < all.files.size(), "a file is known");
      made += sizeof chunk + 16 * chunk.sizes.size();
    }
  }
  for (const torch::SavedValue& value : all.values) {
    fuzz::demand(value.item.file < all.files.size(), "a file is known");
    made += sizeof value + value.name.size();
  }
  fuzz::demand(made <= std::max<std::uint64_t>(size * 64, std::uint64_t{1} << 18),
               "memory is bounded by the pickle's");
  fuzz::demand(all.left_out.size() <= 21, "no flood");
}

void write(const std::filesystem::path& path, std::string_view text) {
  std::ofstream(path, std::ios::binary) << text;
}

void read_all(const Checkpoint& checkpoint) {
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    const auto size = tensor.read_bytes();
    if (!size || *size > (std::uint64_t{1} << 20)) continue;
    std::vector<std::byte> bytes(*size);
    (void)tensor.read(bytes);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Folder folder;
  if (size < 4) return 0;
  std::string_view text = fuzz::text_of(data, size).substr(4);
  const auto said = format::load_le<std::uint32_t>(reinterpret_cast<const std::byte*>(data));
  const std::string_view metadata = text.substr(0, said);
  const std::vector<std::byte> bytes = fuzz::bytes_of(metadata);
  const auto pickle = format::pickle::decode(bytes, format::pickle::Input::Whole);
  if (!pickle) return 0;
  const auto whole = torch::decode_distributed(**pickle, {true, bytes.size()});
  const auto some = torch::decode_distributed(**pickle, {false, bytes.size()});
  if (whole) demand_consistent(*whole, bytes.size());
  if (some) demand_consistent(*some, bytes.size());
  fuzz::demand(!whole || some, "what is whole is read in any case");
  if (!whole || (whole->tensors.empty() && whole->values.empty())) return 0;
  const std::filesystem::path root = folder.fresh("distributed");
  write(root / ".metadata", metadata);
  for (const char* const name : {"__0_0.distcp", "__1_0.distcp"})
    write(root / name, text.substr(metadata.size()));
  const auto checkpoint = Checkpoint::open(root);
  if (checkpoint) read_all(*checkpoint);
  return 0;
}
