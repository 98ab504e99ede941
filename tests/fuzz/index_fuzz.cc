// P.cairn. Without its digest made good, nothing gets past the first check: so the mutator does
// that, and half of the time it breaks a rule of the meaning instead of the bytes.

#include <algorithm>
#include <limits>
#include <random>

#include "format/cairn/index.h"
#include "format/cairn/index_layout.h"
#include "fuzz.h"
#include "tests/fuzz/repair.h"

namespace cairn::fuzz {
namespace {

// The numbers that break a comparison.
constexpr std::uint64_t kEdges[] = {0,
                                    1,
                                    63,
                                    64,
                                    255,
                                    256,
                                    65'535,
                                    65'536,
                                    (std::uint64_t{1} << 31) - 1,
                                    std::uint64_t{1} << 31,
                                    (std::uint64_t{1} << 32) - 1,
                                    std::uint64_t{1} << 32,
                                    std::numeric_limits<std::int64_t>::max(),
                                    std::uint64_t{1} << 63,
                                    std::numeric_limits<std::uint64_t>::max()};

class FactsMutator {
 public:
  explicit FactsMutator(unsigned seed) : random_(seed) {}

  void change(format::IndexFacts& facts) {
    if (facts.tensors.empty() || facts.shards.empty()) return;
    auto& tensor = facts.tensors[below(facts.tensors.size())];
    auto& shard = facts.shards[below(facts.shards.size())];
    switch (below(14)) {
      case 0:
        return change_span(tensor.span);
      case 1:
        return change_slices(tensor);
      case 2:
        return change_shape(tensor.shape);
      case 3:
        tensor.dtype = static_cast<DType>(below(40));
        return;
      case 4:
        tensor.encoding = static_cast<format::Encoding>(below(4));
        return;
      case 5:
        tensor.chunk_crc32cs.resize(below(5));
        return;
      case 6:
        tensor.name = changed(tensor.name);
        return;
      case 7:
        facts.tensors.push_back(tensor);
        return;
      case 8:
        shard.name = changed(shard.name);
        return;
      case 9:
        shard.identity.size_bytes = number(shard.identity.size_bytes);
        return;
      case 10:
        shard.head_bytes = number(shard.head_bytes);
        return;
      case 11:
        shard.kind = static_cast<format::ShardKind>(below(5));
        return;
      case 12:
        facts.chunk_bytes = static_cast<std::uint32_t>(number(facts.chunk_bytes));
        return;
      default:
        std::swap(tensor, facts.tensors[below(facts.tensors.size())]);
    }
  }

 private:
  std::size_t below(std::size_t count) { return random_() % count; }

  std::uint64_t number(std::uint64_t near) {
    if (below(2) == 0) return near + below(5) - 2;
    return kEdges[below(std::size(kEdges))];
  }

  std::string changed(std::string text) {
    constexpr std::string_view kLetters("\0/.\x1b\xff~a\n", 8);
    if (!text.empty() && below(2) == 0) text.erase(below(text.size()), 1);
    text.insert(below(text.size() + 1), 1, kLetters[below(kLetters.size())]);
    return text;
  }

  void change_span(format::Span& span) {
    if (below(3) == 0) span.shard = static_cast<std::uint32_t>(number(span.shard));
    if (below(3) == 0) span.offset_bytes = number(span.offset_bytes);
    if (below(3) == 0) span.size_bytes = number(span.size_bytes);
    if (below(4) == 0) span.crc32c.reset();
  }

  void change_shape(std::vector<std::int64_t>& shape) {
    if (shape.empty() || below(4) == 0) {
      shape.push_back(static_cast<std::int64_t>(number(1)));
    } else {
      auto& dimension = shape[below(shape.size())];
      dimension = static_cast<std::int64_t>(number(static_cast<std::uint64_t>(dimension)));
    }
  }

  void change_slices(format::TensorFacts& tensor) {
    if (tensor.slices.empty() || below(4) == 0) {
      tensor.slices.push_back({std::vector<format::Extent>(tensor.shape.size()), tensor.span});
      return;
    }
    auto& slice = tensor.slices[below(tensor.slices.size())];
    if (slice.extents.empty() || below(3) == 0) return change_span(slice.span);
    auto& extent = slice.extents[below(slice.extents.size())];
    extent.start = static_cast<std::int64_t>(number(static_cast<std::uint64_t>(extent.start)));
    extent.length = static_cast<std::int64_t>(number(static_cast<std::uint64_t>(extent.length)));
  }

  std::minstd_rand random_;
};

void look_at_everything(const format::IndexView& view) {
  for (std::size_t i = 0; i < view.tensor_count(); ++i) {
    const auto tensor = view.tensor(i);
    demand(view.find(tensor.name) == i, "each tensor is found by its name");
    demand(tensor.name == view.tensor_name(i), "a name is one name");
    demand(tensor.partitioned() || tensor.span.size_bytes == tensor.size_bytes, "sizes agree");
    demand(tensor.partitioned() || tensor.span.shard < view.shard_count(), "the shard is there");
  }
  for (std::size_t i = 0; i < view.shard_count(); ++i) {
    const auto name = view.shard(i).name;
    demand(name.find('/') == name.npos && name.find('\0') == name.npos, "shard names are bare");
    demand(!name.empty() && name != "." && name != "..", "shard names are names");
  }
  for (std::size_t i = 0; i < view.metadata_count(); ++i) {
    const auto [key, value] = view.metadata(i);
    demand(view.metadata(key) == value, "metadata is found by its key");
  }
}

}  // namespace
}  // namespace cairn::fuzz

using namespace cairn;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = fuzz::bytes_of(fuzz::text_of(data, size));
  const auto view = format::IndexView::decode(file);
  if (!view) return 0;
  fuzz::look_at_everything(*view);
  const format::IndexFacts facts = view->facts();
  const auto again = format::encode_index(facts);
  fuzz::demand(again, "what was decoded can be encoded");
  const auto second = format::IndexView::decode(*again);
  fuzz::demand(second, "what was encoded can be decoded");
  fuzz::demand(second->facts() == facts, "encoding and decoding change nothing");
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  auto file = fuzz::bytes_of(fuzz::text_of(data, size));
  if (const auto view = format::IndexView::decode(file); view && seed % 2 == 0) {
    format::IndexFacts facts = view->facts();
    fuzz::FactsMutator mutator(seed);
    for (unsigned i = 0; i <= seed % 3; ++i) mutator.change(facts);
    if (auto encoded = format::index::encode_unchecked(facts)) {
      if (const auto given = fuzz::give(format::as_text(*encoded), data, max_size)) return given;
    }
  }
  std::string text = fuzz::mutated(std::string(fuzz::text_of(data, size)), max_size);
  if (seed % 16 != 1) fuzz::repair_index(text);
  return fuzz::give(text, data, max_size);
}
