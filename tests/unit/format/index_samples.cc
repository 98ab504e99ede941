#include "tests/unit/format/index_samples.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "format/cairn/index_layout.h"
#include "format/checked.h"
#include "format/le.h"

namespace cairn::format {

namespace {

Digest128 digest_from(std::uint64_t seed) {
  Digest128 digest;
  std::mt19937_64 random(seed);
  std::ranges::generate(digest.bytes, [&] { return static_cast<std::byte>(random()); });
  return digest;
}

TensorFacts tensor(std::string name, DType dtype, std::vector<std::int64_t> shape, Span span) {
  TensorFacts facts;
  facts.name = std::move(name);
  facts.dtype = dtype;
  facts.shape = std::move(shape);
  facts.span = span;
  return facts;
}

TensorFacts partitioned_tensor() {
  TensorFacts facts = tensor("partitioned", DType::Float32, {6, 2}, {});
  facts.slices.push_back({{{0, 2}, {}}, {1, 1000, 16, 0x11111111}});
  facts.slices.push_back({{{2, 4}, {0, 2}}, {1, 1016, 32, std::nullopt}});
  return facts;
}

TensorFacts opaque_tensor(std::string name, std::string dtype, std::uint16_t bits, Span span) {
  TensorFacts facts = tensor(std::move(name), DType::Opaque, {3}, span);
  facts.opaque_dtype = std::move(dtype);
  facts.opaque_bits = bits;
  return facts;
}

}  // namespace

IndexFacts walk_facts() {
  IndexFacts facts;
  facts.step = 9;
  facts.producer = "cairn 0.1.0";
  facts.shards.push_back({"train2-9.data-00000-of-00001",
                          ShardKind::Universal,
                          {4104, 1'700'000'000'000'000'000, 4711},
                          4096,
                          0x0a0b0c0d,
                          8});
  facts.tensors.push_back(tensor("v1", DType::Int32, {}, {0, 4096, 4, 0x12345678}));
  facts.tensors.push_back(tensor("v2", DType::Int32, {}, {0, 4100, 4, 0x9abcdef0}));
  return facts;
}

IndexFacts rich_facts() {
  IndexFacts facts;
  facts.step = -1;
  facts.created_ns = 1'700'000'000'123'456'789;
  facts.producer = "cairn 0.1.0";
  facts.chunk_bytes = 4096;
  facts.metadata = {{"a", ""}, {std::string("a\0b", 3), "NUL in a key"}, {"pin", "1"}};
  facts.safetensors_metadata = {{"format", "pt"}, {"cairn.tied", "b=a"}};
  facts.bundle = {2, true, 1, 0, {3, 5}};
  facts.tensorflow_index = {true, {321, 1'700'000'000'000'000'001, 4712}, digest_from(1)};
  facts.shards = {
      {"p.data-00000-of-00002", ShardKind::Universal, {100'000, 1, 2}, 4096, 0xfeed, 20'000},
      {"p.data-00001-of-00002", ShardKind::Headerless, {2'000, -1, 3}, 0, 0, 500}};
  TensorFacts big = tensor("big", DType::Uint8, {3, 3000}, {0, 4096, 9000, 0x01020304});
  big.chunk_crc32cs = {1, 2, 3};
  big.content_hash = digest_from(2);
  facts.tensors.push_back(std::move(big));
  facts.tensors.push_back(tensor("empty", DType::Float64, {0, 5}, {0, 13'096, 0, 0}));
  facts.tensors.push_back(tensor(std::string("nul\0", 4), DType::Bool, {2}, {1, 0, 2, {}}));
  facts.tensors.push_back(tensor(std::string("nul\0b", 5), DType::Bool, {2}, {1, 2, 2, {}}));
  facts.tensors.push_back(opaque_tensor("packed", "F4", 4, {1, 4, 2, 7}));
  facts.tensors.push_back(opaque_tensor("packed6", "F6_E2M3", 6, {1, 6, 3, 8}));
  facts.tensors.push_back(partitioned_tensor());
  TensorFacts strings = tensor("strings", DType::String, {2}, {1, 100, 12, 0xcafe});
  strings.encoding = Encoding::TensorFlowString;
  facts.tensors.push_back(std::move(strings));
  TensorFacts variant = tensor("variant", DType::Variant, {}, {1, 200, 87, 0xbeef});
  variant.encoding = Encoding::TensorFlowVariant;
  facts.tensors.push_back(std::move(variant));
  facts.tensors.push_back(tensor("\xff", DType::Complex128, {1}, {1, 300, 16, 0}));
  return facts;
}

IndexFacts featured_facts() {
  IndexFacts facts;
  facts.producer = "cairn 0.1.0";
  facts.shards = {{"model.npz", ShardKind::AnyFile, {10'000, 1, 2}, 128, 0xfeed, 1'000}};
  facts.source_index = {"model.npz", {10'000, 1, 2}, digest_from(3), {{0, 128}, {9'000, 1'000}}};
  TensorFacts blocks = opaque_tensor("blocks", "Q4_K", 0, {0, 128, 288, 1});
  blocks.shape = {2, 256};
  blocks.opaque_block = {256, 144};
  facts.tensors.push_back(std::move(blocks));
  TensorFacts columns = tensor("column_major", DType::Float32, {2, 3}, {0, 1000, 24, 2});
  columns.strides = {1, 2};
  facts.tensors.push_back(std::move(columns));
  facts.tensors.push_back(opaque_tensor("packed", "F4", 4, {0, 2000, 2, 7}));
  TensorFacts rows = tensor("padded_rows", DType::Int16, {2, 3}, {0, 3000, 14, {}});
  rows.strides = {4, 1};
  facts.tensors.push_back(std::move(rows));
  TensorFacts swapped = tensor("swapped", DType::Int16, {2}, {0, 4000, 4, 3});
  swapped.other_byte_order = true;
  facts.tensors.push_back(std::move(swapped));
  return facts;
}

namespace {

class RandomFacts {
 public:
  explicit RandomFacts(std::mt19937_64& random) : random_(random) {}

  IndexFacts make() {
    facts_.chunk_bytes = 4096u << below(4);
    if (chance()) facts_.step = static_cast<std::int64_t>(random_());
    facts_.created_ns = static_cast<std::int64_t>(random_());
    facts_.producer = text(below(20));
    std::map<std::string, std::string> metadata;
    for (std::uint64_t i = below(4); i > 0; --i) metadata[text(below(5))] = text(below(30));
    facts_.metadata.assign(metadata.begin(), metadata.end());
    facts_.safetensors_metadata.assign(metadata.rbegin(), metadata.rend());
    facts_.bundle.big_endian = chance();
    facts_.bundle.bad_consumers.assign(below(3), 7);
    if (chance()) facts_.tensorflow_index = {true, {below(1 << 20), 5, 6}, digest_from(random_())};
    shards();
    if (chance()) source();
    tensors();
    return std::move(facts_);
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool chance() { return below(2) == 0; }

  std::string text(std::uint64_t size) {
    std::string bytes(size, '\0');
    for (char& byte : bytes) byte = chance() ? "ab/\0\xff"[below(5)] : static_cast<char>(random_());
    return bytes;
  }

  void shards() {
    const std::uint64_t count = 1 + below(4);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t head = chance() ? 0 : 4096 * below(3);
      facts_.shards.push_back({"shard" + std::to_string(i),
                               static_cast<ShardKind>(below(5)),
                               {head + (1 << 24), static_cast<std::int64_t>(random_()), random_()},
                               head,
                               head == 0 ? 0 : static_cast<std::uint32_t>(random_()),
                               below(1 << 24)});
    }
  }

  void source() {
    facts_.source_index = {"source", {1'000, 5, below(100)}, digest_from(random_()), {}};
    std::uint64_t at = below(10);
    for (std::uint64_t i = 1 + below(3); i > 0; --i) {
      facts_.source_index->ranges.push_back({at, 1 + below(100)});
      at += 100 + below(100);
    }
  }

  // Column-major, with room between the columns or without.
  void stride(TensorFacts& tensor) {
    if (tensor.dtype == DType::Opaque || tensor.encoding != Encoding::Raw || tensor.shape.empty())
      return;
    std::int64_t step = 1;
    std::uint64_t last = 0;
    for (const std::int64_t dimension : tensor.shape) {
      tensor.strides.push_back(step);
      last += static_cast<std::uint64_t>(step) *
              static_cast<std::uint64_t>(std::max<std::int64_t>(dimension, 1) - 1);
      step = step * std::max<std::int64_t>(dimension, 1) + static_cast<std::int64_t>(below(2));
    }
    const bool empty = *element_count(tensor.shape) == 0;
    tensor.span = span(empty ? 0 : (last + 1) * element_bytes(tensor.dtype));
  }

  void tensors() {
    std::set<std::string> names;
    for (std::uint64_t i = below(30); i > 0; --i) names.insert(text(1 + below(12)));
    for (const std::string& name : names) {
      TensorFacts tensor;
      tensor.name = name;
      for (std::uint64_t rank = below(5); rank > 0; --rank) {
        tensor.shape.push_back(static_cast<std::int64_t>(below(12)));
      }
      element_type(tensor);
      if (tensor.encoding == Encoding::Raw && !tensor.shape.empty() && chance()) {
        slices(tensor);
      } else {
        tensor.span = span(size(tensor, *element_count(tensor.shape)));
        if (below(4) == 0) stride(tensor);
        chunk_sums(tensor);
      }
      if (chance()) tensor.content_hash = digest_from(random_());
      facts_.tensors.push_back(std::move(tensor));
    }
  }

  void element_type(TensorFacts& tensor) {
    tensor.dtype = static_cast<DType>(1 + below(33));
    if (tensor.dtype == DType::Resource) tensor.dtype = DType::Opaque;
    if (tensor.dtype == DType::String) tensor.encoding = Encoding::TensorFlowString;
    if (tensor.dtype == DType::Variant) tensor.encoding = Encoding::TensorFlowVariant;
    tensor.other_byte_order = tensor.dtype != DType::Opaque && tensor.encoding == Encoding::Raw &&
                              element_bytes(tensor.dtype) > 1 && below(4) == 0;
    if (tensor.dtype != DType::Opaque) return;
    if (below(3) == 0) {
      tensor.opaque_dtype = "blocks";
      tensor.opaque_block = {2, 3};
      if (!tensor.shape.empty()) tensor.shape.back() *= 2;
      if (tensor.shape.empty()) tensor.shape = {2};
      return;
    }
    tensor.opaque_dtype = chance() ? "F4" : "other";
    tensor.opaque_bits = static_cast<std::uint16_t>(1 + below(40));
  }

  std::uint64_t size(const TensorFacts& tensor, std::uint64_t count) {
    if (tensor.opaque_block.elements != 0) return count / 2 * 3;
    if (tensor.encoding != Encoding::Raw) return 5 * count + below(50);
    if (tensor.dtype == DType::Opaque) return (count * tensor.opaque_bits + 7) / 8;
    return count * element_bytes(tensor.dtype);
  }

  Span span(std::uint64_t size_bytes) {
    Span span;
    span.shard = static_cast<std::uint32_t>(below(facts_.shards.size()));
    span.size_bytes = size_bytes;
    span.offset_bytes = facts_.shards[span.shard].head_bytes + below((1 << 24) - size_bytes + 1);
    if (chance()) span.crc32c = static_cast<std::uint32_t>(random_());
    return span;
  }

  void chunk_sums(TensorFacts& tensor) {
    if (tensor.span.size_bytes <= facts_.chunk_bytes || chance()) return;
    tensor.chunk_crc32cs.resize((tensor.span.size_bytes - 1) / facts_.chunk_bytes + 1);
    std::ranges::generate(tensor.chunk_crc32cs,
                          [&] { return static_cast<std::uint32_t>(random_()); });
  }

  void slices(TensorFacts& tensor) {
    for (std::uint64_t i = 1 + below(3); i > 0; --i) {
      SliceFacts slice;
      std::uint64_t count = 1;
      for (const std::int64_t dimension : tensor.shape) {
        Extent extent;
        const auto length = static_cast<std::uint64_t>(dimension);
        if (length > 0 && tensor.opaque_block.elements == 0 && chance()) {
          extent.start = static_cast<std::int64_t>(below(length));
          extent.length = 1 + static_cast<std::int64_t>(
                                  below(length - static_cast<std::uint64_t>(extent.start)));
        }
        slice.extents.push_back(extent);
        count *=
            extent.length == Extent::kWhole ? length : static_cast<std::uint64_t>(extent.length);
      }
      slice.span = span(size(tensor, count));
      tensor.slices.push_back(std::move(slice));
    }
  }

  std::mt19937_64& random_;
  IndexFacts facts_;
};

}  // namespace

IndexFacts random_facts(std::mt19937_64& random) { return RandomFacts(random).make(); }

std::vector<std::byte> encode(const IndexFacts& facts) {
  auto file = encode_index(facts);
  REQUIRE_MESSAGE(file.has_value(), file.error().what);
  return *std::move(file);
}

void repair(std::vector<std::byte>& file) {
  store_le(file.data() + index::kBodyBytesAt, std::uint64_t{file.size() - index::kHeaderBytes});
  const Digest128 digest = index::file_digest(file);
  std::ranges::copy(digest.bytes, file.begin() + index::kDigestAt);
}

}  // namespace cairn::format
