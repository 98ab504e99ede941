#include "format/cairn/index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <random>
#include <sstream>

#include "format/cairn/index_layout.h"
#include "format/le.h"
#include "tests/plain_facts.h"
#include "tests/unit/format/index_samples.h"

namespace cairn::format {
namespace {

IndexView decode(std::span<const std::byte> file) {
  auto view = IndexView::decode(file);
  REQUIRE_MESSAGE(view.has_value(), view.error().what);
  return *view;
}

std::string read_file(const std::string& path) {
  std::ifstream file(std::string(CAIRN_SOURCE_ROOT "/") + path, std::ios::binary);
  REQUIRE_MESSAGE(file.good(), path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("facts come back from an index as they went in") {
  for (const IndexFacts& facts : {IndexFacts{}, walk_facts(), rich_facts(), featured_facts()}) {
    const auto file = encode(facts);
    CHECK(decode(file).facts() == facts);
  }
}

TEST_CASE("any valid facts come back, and equal facts have equal bytes") {
  const std::uint64_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 300; ++round) {
    const IndexFacts facts = random_facts(random);
    const auto file = encode(facts);
    const IndexFacts back = decode(file).facts();
    CHECK(back == facts);
    CHECK(encode(back) == file);
  }
}

TEST_CASE("plain values are found where the whole tensor says, and nothing else is") {
  const std::uint64_t seed = std::random_device()();
  INFO("seed ", seed);
  std::mt19937_64 random(seed);
  std::size_t plain = 0;
  std::size_t other = 0;
  for (int round = 0; round < 300; ++round) {
    const auto built = build_index(random_facts(random));
    REQUIRE(built);
    const IndexView& view = built->view;
    for (std::size_t i = 0; i < view.tensor_count(); ++i) {
      const IndexView::Tensor tensor = view.tensor(i);
      const bool is_plain = tensor.encoding == Encoding::Raw && tensor.element_bits != 0 &&
                            tensor.element_bits % 8 == 0 && !tensor.big_endian &&
                            !tensor.partitioned() && tensor.strides.empty();
      ++(is_plain ? plain : other);
      CHECK(view.plain_span(i) == (is_plain ? std::optional(tensor.span) : std::nullopt));
    }
  }
  CHECK(plain > 0);
  CHECK(other > 0);
}

TEST_CASE("a view shows a tensor, its slices and its shard") {
  const auto file = encode(rich_facts());
  const IndexView view = decode(file);
  CHECK(view.step() == -1);
  CHECK(view.big_endian());
  CHECK(view.shard(1).name == "p.data-00001-of-00002");

  const IndexView::Tensor big = view.tensor(*view.find("big"));
  CHECK(big.size_bytes == 9000);
  CHECK(big.element_bits == 8);
  CHECK(big.chunk_crc32cs.size() == 3);
  CHECK(big.content_hash.has_value());
  CHECK_FALSE(big.partitioned());

  const IndexView::Tensor parts = view.tensor(*view.find("partitioned"));
  REQUIRE(parts.partitioned());
  CHECK(parts.size_bytes == 48);
  CHECK(parts.span == Span{});
  const IndexView::Slice second = view.slice(parts.slices_begin + 1);
  CHECK(second.extents[0] == Extent{2, 4});
  CHECK(second.extents[1] == Extent{0, 2});
  CHECK_FALSE(second.span.crc32c.has_value());

  const IndexView::Tensor packed = view.tensor(*view.find("packed6"));
  CHECK(packed.dtype == DType::Opaque);
  CHECK(packed.opaque_dtype == "F6_E2M3");
  CHECK(packed.element_bits == 6);
}

TEST_CASE("a view shows blocks, strides, byte orders and where the index came from") {
  const auto file = encode(featured_facts());
  const IndexView view = decode(file);
  CHECK(load_le<std::uint64_t>(file.data() + index::kRequiredFeaturesAt) == 31);
  const IndexView::Tensor blocks = view.tensor(*view.find("blocks"));
  CHECK(blocks.block == Block{256, 144});
  CHECK(blocks.element_bits == 0);
  CHECK(view.tensor(*view.find("packed")).block == Block{});
  const IndexView::Tensor columns = view.tensor(*view.find("column_major"));
  CHECK(std::ranges::equal(columns.strides, std::array<std::int64_t, 2>{1, 2}));
  const IndexView::Tensor rows = view.tensor(*view.find("padded_rows"));
  CHECK(std::ranges::equal(rows.strides, std::array<std::int64_t, 2>{4, 1}));
  CHECK(view.tensor(*view.find("swapped")).strides.empty());
  CHECK(view.tensor(*view.find("swapped")).big_endian);
  CHECK_FALSE(rows.big_endian);
  CHECK(view.source_index()->name == "model.npz");
  CHECK_FALSE(decode(encode(walk_facts())).source_index().has_value());
}

TEST_CASE("names are found as unsigned bytes, NUL like any other") {
  const auto file = encode(rich_facts());
  const IndexView view = decode(file);
  for (std::size_t i = 0; i < view.tensor_count(); ++i) {
    CHECK(view.find(view.tensor_name(i)) == i);
    CHECK(view.lower_bound(std::string(view.tensor_name(i)) + '\0') == i + 1);
  }
  CHECK(view.find("\xff") == view.tensor_count() - 1);
  CHECK(view.find(std::string_view("nul\0", 4)).has_value());
  CHECK_FALSE(view.find("nul").has_value());
  CHECK_FALSE(view.find("").has_value());
  CHECK(view.lower_bound("") == 0);
  CHECK(view.lower_bound("\xff\xff") == view.tensor_count());
}

TEST_CASE("metadata is found by its key") {
  const auto file = encode(rich_facts());
  const IndexView view = decode(file);
  CHECK(view.metadata_count() == 3);
  CHECK(view.metadata("a") == "");
  CHECK(view.metadata(std::string_view("a\0b", 3)) == "NUL in a key");
  CHECK(view.metadata("pin") == "1");
  for (const char* key : {"", "b", "q"}) CHECK_FALSE(view.metadata(key).has_value());
}

TEST_CASE("an index built in memory, and one that is encoded and decoded, say what the facts say") {
  std::mt19937_64 random(7);
  for (int round = 0; round < 50; ++round) {
    const IndexFacts facts = random_facts(random);
    auto built = build_index(facts);
    REQUIRE_MESSAGE(built.has_value(), built.error().what);
    const BuiltIndex moved = *std::move(built);
    CHECK(moved.view.facts() == facts);
    CHECK(decode(encode(facts)).facts() == facts);
  }
}

TEST_CASE("an index built from columns is the one built from facts") {
  IndexFacts facts;
  facts.shards.push_back({.name = "s", .identity = {.size_bytes = 100}, .live_bytes = 28});
  const auto columns = [] {
    PlainTensors plain;
    plain.add("", DType::Float32, {}, {0, 1, 4, std::nullopt});
    plain.add("a", DType::Int32, std::vector<std::int64_t>{2, 3}, {0, 8, 24, 7});
    plain.add("b", DType::String, std::vector<std::int64_t>{0}, {0, 100, 0, 0});
    return plain;
  };
  const auto built = build_index(facts, columns());
  REQUIRE_MESSAGE(built.has_value(), built.error().what);
  CHECK(built->view.facts_beside_tensors() == facts);
  CHECK(built->view.is_of_plain_tensors());
  const auto file = encode_index(facts, built->view);
  REQUIRE_MESSAGE(file.has_value(), file.error().what);
  facts.tensors = tests::facts_of(columns());
  CHECK(built->view.facts() == facts);
  CHECK(*file == encode(facts));
  CHECK_FALSE(decode(*file).is_of_plain_tensors());
  facts.tensors.clear();
  PlainTensors outside = columns();
  outside.records()[1].size_bytes = 93;
  CHECK(build_index(facts, std::move(outside)).error().code == Code::Invalid);
}

void check_flips(std::vector<std::byte> file) {
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    const std::byte mask{static_cast<unsigned char>(1u << (bit % 8))};
    file[bit / 8] ^= mask;
    if (IndexView::decode(file).has_value()) FAIL_CHECK("bit " << bit << " is not guarded");
    file[bit / 8] ^= mask;
  }
  CHECK(IndexView::decode(file).has_value());
}

TEST_CASE("every flipped bit is refused") {
  check_flips(encode(rich_facts()));
  check_flips(encode(featured_facts()));
}

TEST_CASE("every truncation and every extension is refused") {
  auto file = encode(walk_facts());
  for (std::size_t size = 0; size < file.size(); ++size) {
    CHECK_FALSE(IndexView::decode(std::span(file).first(size)).has_value());
  }
  for (int added = 0; added < 9; ++added) {
    file.push_back(std::byte{0});
    CHECK_FALSE(IndexView::decode(file).has_value());
  }
}

TEST_CASE("damage behind a repaired digest never leads outside of the bytes") {
  const std::uint64_t seed = std::random_device{}();
  INFO("seed " << seed);
  std::mt19937_64 random(seed);
  const std::vector<std::byte> whole[] = {encode(rich_facts()), encode(featured_facts())};
  for (int round = 0; round < 30'000; ++round) {
    auto file = whole[round % 2];
    for (std::uint64_t i = 1 + random() % 3; i > 0; --i) {
      const std::size_t at = index::kHeaderBytes + random() % (file.size() - index::kHeaderBytes);
      file[at] = random() % 2 == 0 ? static_cast<std::byte>(random())
                                   : file[at] ^ std::byte{1} << (random() % 8);
    }
    repair(file);
    const auto view = IndexView::decode(file);
    if (!view) continue;
    // What is accepted is as good as any index: it can be written again.
    CHECK(decode(encode(view->facts())).facts() == view->facts());
  }
}

TEST_CASE("the golden indexes are read for ever and written byte for byte") {
  const std::pair<const char*, IndexFacts> golden[] = {
      {"tests/golden/cairn/index-v1-walk.cairn", walk_facts()},
      {"tests/golden/cairn/index-v1.cairn", rich_facts()},
      {"tests/golden/cairn/index-v1-features.cairn", featured_facts()}};
  for (const auto& [path, facts] : golden) {
    const std::string text = read_file(path);
    const std::vector<std::byte> file(as_bytes(text).begin(), as_bytes(text).end());
    CHECK(decode(file).facts() == facts);
    CHECK(encode(facts) == file);
  }
}

TEST_CASE("FORMAT.md shows the golden index of the walk") {
  // The first block behind the file's name, in lines such as "0040  24 00 00 00 …  $...".
  const std::string text = read_file("format/FORMAT.md");
  const std::size_t begin = text.find("```", text.find("index-v1-walk.cairn"));
  std::istringstream block(text.substr(begin, text.find("```", begin + 3) - begin));
  std::string line;
  std::getline(block, line);
  std::string shown;
  while (std::getline(block, line)) {
    CHECK(std::stoul(line.substr(0, 4), nullptr, 16) == shown.size());
    std::istringstream bytes(line.substr(6, 47));
    for (std::string byte; bytes >> byte;) {
      shown += static_cast<char>(std::stoul(byte, nullptr, 16));
    }
  }
  CHECK(shown == read_file("tests/golden/cairn/index-v1-walk.cairn"));
}

}  // namespace
}  // namespace cairn::format
