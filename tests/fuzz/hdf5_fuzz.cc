// An HDF5 file: all that it holds, and every dataset in chunks decoded. Checksums are not compared,
// so that what lies behind them is reached; a file whose sums are right must say the same.

#include "format/checked.h"
#include "format/hdf5/contents.h"
#include "format/hdf5/elements.h"
#include "format/limits.h"
#include "fuzz.h"

using namespace cairn;
namespace hdf5 = cairn::format::hdf5;

namespace {

class MemorySource final : public hdf5::Source {
 public:
  explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
  std::uint64_t size_bytes() const noexcept override { return bytes_.size(); }
  format::Decoded<void> read(std::uint64_t offset_bytes, std::span<std::byte> out) override {
    fuzz::demand(format::inside(offset_bytes, out.size(), bytes_.size()), "reads are inside");
    std::ranges::copy(bytes_.subspan(offset_bytes, out.size()), out.begin());
    return {};
  }

 private:
  std::span<const std::byte> bytes_;
};

void demand_consistent(const hdf5::Contents& contents, std::uint64_t file_bytes, bool whole) {
  fuzz::demand(std::ranges::is_sorted(contents.metadata), "keys ascend");
  const std::string* before = nullptr;
  for (const hdf5::Tensor& tensor : contents.tensors) {
    const format::TensorFacts& facts = tensor.facts;
    fuzz::demand(before == nullptr || *before < facts.name, "names ascend");
    before = &facts.name;
    const auto count = format::element_count(facts.shape);
    fuzz::demand(count.has_value(), "elements can be counted");
    fuzz::demand(facts.shape.size() <= format::limits::kRankMax, "ranks are bounded");
    const std::uint64_t each_bytes =
        facts.dtype == DType::Opaque ? facts.opaque_bits / 8u : element_bytes(facts.dtype);
    fuzz::demand(each_bytes != 0 && facts.span.size_bytes == *count * each_bytes,
                 "the size is that of the elements");
    fuzz::demand(tensor.decoded || !whole ||
                     format::inside(facts.span.offset_bytes, facts.span.size_bytes, file_bytes),
                 "tensors lie in the file");
    fuzz::demand(!tensor.decoded || *tensor.decoded < contents.to_decode.size(), "a dataset");
  }
}

void decode(hdf5::File& file, const hdf5::Contents& contents) {
  constexpr std::uint64_t kMost = 1u << 20;
  for (const hdf5::Dataset& set : contents.to_decode) {
    if (set.size_bytes() > kMost || hdf5::working_bytes(set) > 4 * kMost) continue;
    std::uint64_t given = 0;
    const auto done = hdf5::decode_elements(
        file, set, [&](std::span<const std::byte> bytes) -> format::Decoded<void> {
          given += bytes.size();
          return {};
        });
    fuzz::demand(given <= set.size_bytes(), "no more is decoded than there is");
    fuzz::demand(!done || given == set.size_bytes(), "all of it is decoded");
  }
}

void read(std::span<const std::byte> bytes, const hdf5::FileOptions& options) {
  MemorySource source(bytes);
  auto file = hdf5::File::open(source, options);
  if (!file) return;
  const auto contents = hdf5::read_contents(*file);
  if (!contents) return;
  demand_consistent(*contents, bytes.size(), options.whole);
  decode(*file, *contents);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(fuzz::text_of(data, size));
  read(bytes, {true, false});
  read(bytes, {false, true});
  return 0;
}
