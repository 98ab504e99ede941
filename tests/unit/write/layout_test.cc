#include "lib/write/layout.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <set>
#include <tuple>

#include "format/le.h"
#include "format/limits.h"
#include "format/safetensors/header.h"
#include "tests/unit/scratch.h"

namespace cairn::internal {
namespace {

using test::refusal;

std::vector<TensorSpec> sorted(std::vector<TensorSpec> specs) {
  std::ranges::sort(specs, {}, &TensorSpec::name);
  return specs;
}

// Random specs of every kind: raw, outside safetensors, empty, strings.
std::vector<TensorSpec> random_specs(std::mt19937_64& random) {
  static constexpr DType kKinds[]{DType::Float32, DType::Uint8,      DType::Int64,  DType::Bool,
                                  DType::Float16, DType::Complex128, DType::String, DType::Int4};
  std::vector<TensorSpec> specs(random() % 30);
  for (std::size_t i = 0; i < specs.size(); ++i) {
    specs[i].name = (random() % 10 == 0 ? "\xff" : "t") + std::to_string(i);
    specs[i].dtype = kKinds[random() % std::size(kKinds)];
    specs[i].shape.resize(random() % 3);
    for (auto& dimension : specs[i].shape) dimension = static_cast<std::int64_t>(random() % 100);
  }
  return sorted(std::move(specs));
}

Layout planned(const std::vector<TensorSpec>& specs, std::uint32_t extra_shards = 0,
               unsigned alignment_bytes = 0) {
  const std::vector<std::optional<std::size_t>> same_as(specs.size());
  const LayoutRequest request{specs, same_as, alignment_bytes};
  return plan_layout(request, shards_needed(request) + extra_shards);
}

// The raw tensors of one shard in the order of the file.
std::vector<std::size_t> order_in(const Layout& layout, std::uint32_t shard) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
    if (layout.tensors[i].shard == shard && !layout.tensors[i].encoded) order.push_back(i);
  }
  std::ranges::sort(order, {}, [&](std::size_t i) {
    return std::tuple(layout.tensors[i].offset_bytes, layout.tensors[i].size_bytes, i);
  });
  return order;
}

TEST_CASE("every tensor starts at a multiple of its class, without a hole, in random checkpoints") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 500; ++i) {
    const auto specs = random_specs(random);
    const Layout layout = planned(specs, static_cast<std::uint32_t>(random() % 4));
    for (std::uint32_t shard = 0; shard < layout.shards.size(); ++shard) {
      std::uint64_t end = layout.shards[shard].head.size();
      REQUIRE(end % 4096 == 0);
      for (const std::size_t tensor : order_in(layout, shard)) {
        const PlannedTensor& plan = layout.tensors[tensor];
        REQUIRE(plan.offset_bytes == end);
        REQUIRE(plan.offset_bytes % alignment_class(plan.size_bytes) == 0);
        end += plan.size_bytes;
      }
      REQUIRE(layout.shards[shard].size_bytes == end);
    }
  }
}

TEST_CASE("a header names exactly the tensors of its shard, where they lie") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  for (int i = 0; i < 300; ++i) {
    const auto specs = random_specs(random);
    const Layout layout = planned(specs, static_cast<std::uint32_t>(random() % 4));
    for (std::uint32_t shard = 0; shard < layout.shards.size(); ++shard) {
      if (layout.shards[shard].head.empty()) continue;
      const auto header = format::safetensors::decode_header(
          format::as_bytes(layout.shards[shard].head), layout.shards[shard].size_bytes);
      REQUIRE(header);
      const auto order = order_in(layout, shard);
      REQUIRE(header->tensors.size() == order.size());
      for (const std::size_t tensor : order) {
        const auto found =
            std::ranges::find(header->tensors, specs[tensor].name, &format::TensorFacts::name);
        REQUIRE(found != header->tensors.end());
        REQUIRE(found->span.offset_bytes == layout.tensors[tensor].offset_bytes);
        REQUIRE(found->dtype == specs[tensor].dtype);
      }
    }
  }
}

TEST_CASE("any number of shards is used, each owning a tensor, while there are enough tensors") {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < 20; ++i) specs.push_back({"t" + std::to_string(i), DType::Float32, {i}});
  specs.push_back({"s1", DType::Complex128, {2}});
  specs.push_back({"s2", DType::Complex128, {2}});
  specs = sorted(specs);
  for (std::uint32_t extra = 0; extra <= 20; ++extra) {
    const Layout layout = planned(specs, extra);
    REQUIRE(layout.shards.size() == 2 + extra);
    std::set<std::uint32_t> owners;
    for (const PlannedTensor& plan : layout.tensors) owners.insert(plan.shard);
    CHECK(owners.size() == layout.shards.size());
  }
}

TEST_CASE("a fixed alignment holds for every tensor, and has no header") {
  const auto specs = sorted({{"a", DType::Uint8, {1}},
                             {"b", DType::Uint8, {63}},
                             {"c", DType::Uint8, {0}},
                             {"d", DType::Float64, {100}}});
  for (const unsigned alignment : {64u, 512u, 4096u}) {
    const Layout layout = planned(specs, 0, alignment);
    REQUIRE(layout.shards.size() == 1);
    CHECK(layout.shards[0].kind == format::ShardKind::Headerless);
    CHECK(layout.shards[0].head.empty());
    for (const PlannedTensor& plan : layout.tensors) {
      CHECK(plan.offset_bytes % alignment == 0);
      CHECK(plan.offset_bytes + plan.size_bytes <= layout.shards[0].size_bytes);
    }
  }
}

TEST_CASE("the class is the largest power of two that divides the size, at most a page") {
  for (const auto& [size, wanted] :
       std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0, 4096},
                                                            {1, 1},
                                                            {2, 2},
                                                            {4000, 32},
                                                            {4096, 4096},
                                                            {12288, 4096},
                                                            {6, 2},
                                                            {std::uint64_t{1} << 63, 4096}}) {
    CHECK(alignment_class(size) == wanted);
  }
}

TEST_CASE("only what every reader of safetensors takes stands in a header") {
  CHECK(fits_header({"w", DType::Float32, {}}, SafetensorsReaders::All));
  CHECK(fits_header({"층/가중치", DType::Bfloat16, {1}}, SafetensorsReaders::All));
  for (const TensorSpec& spec : std::vector<TensorSpec>{{"__metadata__", DType::Float32, {}},
                                                        {"\xff", DType::Float32, {}},
                                                        {"w", DType::Complex128, {}},
                                                        {"w", DType::Complex64, {}},
                                                        {"w", DType::Int4, {}},
                                                        {"w", DType::Float8E5M2FNUZ, {}},
                                                        {"w", DType::Opaque, {2}, {"F4", 4}},
                                                        {"w", DType::String, {}}}) {
    CHECK_FALSE(fits_header(spec, SafetensorsReaders::All));
  }
}

TEST_CASE("the newest readers of safetensors take all dtypes that it has a name for") {
  for (const TensorSpec& spec : std::vector<TensorSpec>{{"w", DType::Complex64, {3}},
                                                        {"w", DType::Float8E5M2FNUZ, {}},
                                                        {"w", DType::Opaque, {2, 8}, {"F4", 4}},
                                                        {"w", DType::Opaque, {0}, {"F4", 4}},
                                                        {"w", DType::Opaque, {4}, {"F6_E2M3", 6}},
                                                        {"w", DType::Opaque, {}, {"F8_E8M0", 8}}}) {
    INFO(std::string(name(spec.dtype)), " ", spec.opaque.name);
    CHECK(fits_header(spec, SafetensorsReaders::Newest));
  }
  for (const TensorSpec& spec :
       std::vector<TensorSpec>{{"w", DType::Complex128, {}},
                               {"w", DType::Opaque, {3}, {"F4", 4}},    // fills up a byte
                               {"w", DType::Opaque, {2}, {"F4", 8}},    // another F4
                               {"w", DType::Opaque, {2}, {"INT4", 4}},  // unknown
                               {"\xff", DType::Opaque, {2}, {"F4", 4}}}) {
    INFO(spec.opaque.name);
    CHECK_FALSE(fits_header(spec, SafetensorsReaders::Newest));
  }
}

TEST_CASE("what a file says of itself is made anew, and the rest of its metadata kept") {
  const std::vector<TensorSpec> specs{{"a", DType::Float32, {3}},
                                      {"b", DType::Opaque, {3}, {"F4", 4}}};
  const format::KeyValues kept = rebuilt_metadata(
      {{"format", "flax"}, {"cairn.tied", "{}"}, {"total_size", "7"}, {"x", ""}}, specs);
  CHECK(kept == format::KeyValues{{"format", "flax"}, {"total_size", "14"}, {"x", ""}});
  CHECK(header_metadata(kept) == kept);
  CHECK(header_metadata({{"x", ""}}) == format::KeyValues{{"x", ""}, {"format", "pt"}});
}

TEST_CASE("a spec that cannot be written is refused, in a sentence that names it") {
  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  struct Row {
    TensorSpec spec;
    Code code;
  };
  for (const Row& row : std::vector<Row>{
           {{"w", DType::Float32, {-1}}, Code::Invalid},
           {{"w", DType::Float32, {kMax, 2}}, Code::Invalid},
           {{"w", DType::Float64, {kMax}}, Code::Invalid},
           {{"w", DType::Float32, {0, kMax, kMax}}, Code::Invalid},
           {{"w", DType::Float32, std::vector<std::int64_t>(format::limits::kRankMax + 1, 1)},
            Code::Invalid},
           {{"w", DType::Resource, {}}, Code::Unsupported},
           {{"w", DType::Opaque, {}}, Code::Invalid},
           {{"w", DType::Opaque, {}, {"F4", 0}}, Code::Invalid},
           {{"w", DType::Opaque, {}, {"", 4}}, Code::Invalid},
           {{"w", DType::Opaque, {511}, {"Q4_K", 0, 256, 144}}, Code::Invalid},
           {{"w", DType::Opaque, {512}, {"Q4_K", 4, 256, 144}}, Code::Invalid},
           {{"w", DType::Opaque, {512}, {"Q4_K", 0, 256, 0}}, Code::Invalid},
           {{"w", DType::Opaque, {kMax}, {"Q4_K", 0, 1, 144}}, Code::Invalid},
           {{"w", DType::Opaque, {kMax}, {"F4", 40}}, Code::Invalid},
           {{"w", DType::Float32, {}, {"F4", 4}}, Code::Invalid},
           {{"w", DType::Invalid, {}}, Code::Unsupported},
           {{"w", static_cast<DType>(77), {}}, Code::Unsupported},
       }) {
    CHECK(refusal(spec_bytes(row.spec), {"\"w\""}) == row.code);
  }
  CHECK(*spec_bytes({"w", DType::Opaque, {2, 256}, {"Q4_K", 0, 256, 144}}) == 288);
  CHECK(*spec_bytes({"", DType::Float32, {}}) == 4);
  CHECK(*spec_bytes({"w", DType::Opaque, {3, 3}, {"F4", 4}}) == 5);
  CHECK(*spec_bytes({"w", DType::Opaque, {0, kMax}, {"F6_E2M3", 6}}) == 0);
  CHECK(*spec_bytes({"w", DType::Float32, {2, 3}}) == 24);
  CHECK(*spec_bytes({"w", DType::String, {2, 3}}) == 0);
}

}  // namespace
}  // namespace cairn::internal
