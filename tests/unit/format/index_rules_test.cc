// Each rule of FORMAT.md, "Cairn's index", broken once. A file that breaks it carries a digest that
// fits, as a forger's or a broken writer's would.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <random>

#include "format/cairn/index.h"
#include "format/cairn/index_layout.h"
#include "format/le.h"
#include "format/limits.h"
#include "tests/unit/format/index_samples.h"

namespace cairn::format {
namespace {

TensorFacts& tensor(IndexFacts& facts, std::string_view name) {
  for (TensorFacts& each : facts.tensors) {
    if (each.name == name) return each;
  }
  FAIL("no tensor " << std::string(name));
  return facts.tensors.front();
}

struct BrokenFacts {
  const char* rule;
  const char* complaint;  // part of the sentence
  std::function<void(IndexFacts&)> damage;
};

void check_refused(const BrokenFacts& broken, IndexFacts facts = rich_facts()) {
  CAPTURE(broken.rule);
  broken.damage(facts);
  const auto file = index::encode_unchecked(facts);
  REQUIRE(file.has_value());
  const auto view = IndexView::decode(*file);
  REQUIRE_FALSE(view.has_value());
  CHECK(view.error().code == Code::Corrupt);
  CHECK(view.error().byte_offset >= index::kHeaderBytes);
  CHECK(view.error().byte_offset < file->size());
  CHECK_MESSAGE(view.error().what.find(broken.complaint) != std::string::npos, view.error().what);
  const auto encoded = encode_index(facts);
  REQUIRE_FALSE(encoded.has_value());
  CHECK(encoded.error().code == Code::Invalid);
  CHECK(encoded.error().what == view.error().what);
}

TEST_CASE("what is wrong with a checkpoint is refused by decode and by encode") {
  const BrokenFacts cases[] = {
      {"chunks are a power of two", "chunks of 5000", [](auto& f) { f.chunk_bytes = 5000; }},
      {"chunks are not tiny", "chunks of 2048", [](auto& f) { f.chunk_bytes = 2048; }},
      {"there are chunks", "chunks of 0", [](auto& f) { f.chunk_bytes = 0; }},
      {"shard counts are not negative", "-1 shards", [](auto& f) { f.bundle.num_shards = -1; }},
      {"metadata ascends", "ascending order",
       [](auto& f) { std::swap(f.metadata[0], f.metadata[2]); }},
      {"metadata is unique", "ascending order", [](auto& f) { f.metadata[1] = f.metadata[0]; }},
      {"safetensors' metadata is unique", "twice",
       [](auto& f) { f.safetensors_metadata[1].first = "format"; }},
  };
  for (const BrokenFacts& broken : cases) check_refused(broken);
}

TEST_CASE("what is wrong with a shard is refused by decode and by encode") {
  for (const std::string_view name :
       {std::string_view(), std::string_view("."), std::string_view(".."), std::string_view("a/b"),
        std::string_view("/a"), std::string_view("a\0b", 3)}) {
    check_refused({"shard names are bare", "must not contain a directory",
                   [name](IndexFacts& f) { f.shards[1].name = name; }});
  }
  const BrokenFacts cases[] = {
      {"shard names are short", "must not contain a directory",
       [](auto& f) { f.shards[0].name = std::string(256, 'a'); }},
      {"shard names are unique", "twice", [](auto& f) { f.shards[0].name = f.shards[1].name; }},
      {"kinds are known", "kind 5", [](auto& f) { f.shards[0].kind = ShardKind{5}; }},
      {"heads fit", "but it should have", [](auto& f) { f.shards[0].head_bytes = 100'001; }},
      {"live bytes fit", "but it should have", [](auto& f) { f.shards[0].live_bytes = 100'000; }},
      {"no head has no sum", "no head", [](auto& f) { f.shards[1].head_crc32c = 1; }},
      {"shards have a limit", "65537 shards",
       [](auto& f) {
         f.shards.resize(limits::kShardsMax + 1, f.shards[0]);
         for (std::size_t i = 2; i < f.shards.size(); ++i) f.shards[i].name = std::to_string(i);
       }},
  };
  for (const BrokenFacts& broken : cases) check_refused(broken);
}

TEST_CASE("what is wrong with a tensor is refused by decode and by encode") {
  const BrokenFacts cases[] = {
      {"names ascend", "ascending order", [](auto& f) { std::swap(f.tensors[0], f.tensors[1]); }},
      {"names are unique", "ascending order", [](auto& f) { f.tensors[1].name = "big"; }},
      {"names compare as unsigned bytes", "ascending order",
       [](auto& f) { f.tensors.back().name = "A"; }},
      {"the empty name is the first", "ascending order", [](auto& f) { f.tensors[1].name = ""; }},
      {"names have a limit", "name has 1048577 bytes",
       [](auto& f) { f.tensors.back().name = std::string(limits::kNameBytesMax + 1, '\xff'); }},
      {"ranks have a limit", "rank is 255",
       [](auto& f) { tensor(f, "strings").shape.assign(255, 1); }},
      {"dimensions are not negative", "negative", [](auto& f) { f.tensors[0].shape = {-1}; }},
      {"shapes do not overflow", "too large",
       [](auto& f) { f.tensors[1].shape = {0, INT64_MAX, 2}; }},
      {"bits do not overflow", "do not hold", [](auto& f) { f.tensors[0].shape = {INT64_MAX, 1}; }},
      {"sizes agree with shapes", "do not hold", [](auto& f) { f.tensors[0].shape = {8999}; }},
      {"sizes agree with dtypes", "do not hold",
       [](auto& f) { f.tensors[0].dtype = DType::Uint16; }},
      {"packed sizes are rounded up", "do not hold",
       [](auto& f) { tensor(f, "packed6").span.size_bytes = 2; }},
      {"strings have lengths", "too few", [](auto& f) { tensor(f, "strings").shape = {13}; }},
      {"dtypes can be stored", "dtype 20", [](auto& f) { f.tensors[0].dtype = DType::Resource; }},
      {"dtypes are known", "dtype 34", [](auto& f) { f.tensors[0].dtype = DType{34}; }},
      {"there is a dtype", "dtype 0", [](auto& f) { f.tensors[0].dtype = DType::Invalid; }},
      {"numbers are raw", "encoding 1",
       [](auto& f) { f.tensors[0].encoding = Encoding::TensorFlowString; }},
      {"strings are encoded", "encoding 0",
       [](auto& f) { tensor(f, "strings").encoding = Encoding::Raw; }},
      {"variants are encoded", "encoding 1",
       [](auto& f) { tensor(f, "variant").encoding = Encoding::TensorFlowString; }},
      {"opaque dtypes have names", "ascending order",
       [](auto& f) { tensor(f, "packed").opaque_dtype = ""; }},
      {"opaque dtypes have bits", "0 bits", [](auto& f) { tensor(f, "packed").opaque_bits = 0; }},
      {"opaque dtypes are raw", "encoding 2",
       [](auto& f) { tensor(f, "packed").encoding = Encoding::TensorFlowVariant; }},
      {"shards exist", "shard 2 of 2", [](auto& f) { f.tensors[0].span.shard = 2; }},
      {"spans end inside", "are not inside",
       [](auto& f) { f.tensors[0].span.offset_bytes = 91'001; }},
      {"spans start inside", "are not inside",
       [](auto& f) { f.tensors[0].span.offset_bytes = UINT64_MAX; }},
      {"spans keep off the head", "are not inside",
       [](auto& f) { f.tensors[0].span.offset_bytes = 4095; }},
      {"empty tensors lie inside too", "are not inside",
       [](auto& f) { tensor(f, "empty").span.offset_bytes = 100'001; }},
      {"chunk sums are all there", "but there are 2",
       [](auto& f) { f.tensors[0].chunk_crc32cs.pop_back(); }},
      {"there is no chunk sum too many", "but there are 4",
       [](auto& f) { f.tensors[0].chunk_crc32cs.push_back(0); }},
      {"small tensors have no chunk sums", "but there are 1",
       [](auto& f) { tensor(f, "packed").chunk_crc32cs = {1}; }},
  };
  for (const BrokenFacts& broken : cases) check_refused(broken);
}

TEST_CASE("what is wrong with what a feature announces is refused by decode and by encode") {
  const BrokenFacts cases[] = {
      {"blocks have no bits", "with 4 bits", [](auto& f) { f.tensors[0].opaque_bits = 4; }},
      {"blocks have elements and bytes", "0 elements and 144",
       [](auto& f) { f.tensors[0].opaque_block.elements = 0; }},
      {"blocks are whole", "in blocks of 256", [](auto& f) { f.tensors[0].shape = {2, 255}; }},
      {"sizes agree with blocks", "in blocks of 256",
       [](auto& f) { f.tensors[0].span.size_bytes = 287; }},
      {"blocks do not overflow", "in blocks of 1 ",
       [](auto& f) {
         f.tensors[0].shape = {INT64_MAX};
         f.tensors[0].opaque_block = {1, 144};
       }},
      {"opaque dtypes have no byte order", "flags 5",
       [](auto& f) { tensor(f, "packed").other_byte_order = true; }},
      {"bytes have no byte order", "has no byte order",
       [](auto& f) {
         tensor(f, "swapped").dtype = DType::Uint8;
         tensor(f, "swapped").shape = {4};
       }},
      {"strides are not negative", "stride is -1",
       [](auto& f) { tensor(f, "column_major").strides[0] = -1; }},
      {"strides end where the bytes do", "with these strides",
       [](auto& f) { tensor(f, "column_major").strides[1] = 3; }},
      {"elements have bytes of their own", "with these strides",
       [](auto& f) {
         tensor(f, "column_major").strides = {0, 2};
         tensor(f, "column_major").span.size_bytes = 20;
       }},
      {"strides do not overflow", "with these strides",
       [](auto& f) { tensor(f, "column_major").strides = {INT64_MAX, INT64_MAX}; }},
      {"packed elements have no strides", "have no strides",
       [](auto& f) { tensor(f, "packed").strides = {1}; }},
      {"sources are bare names", "must not contain a directory",
       [](auto& f) { f.source_index->name = "../x"; }},
      {"sources have ranges", "no ranges", [](auto& f) { f.source_index->ranges.clear(); }},
      {"ranges ascend", "or before byte", [](auto& f) { f.source_index->ranges[1] = {100, 50}; }},
      {"ranges lie inside", "are outside",
       [](auto& f) { f.source_index->ranges[1].size_bytes = 1'001; }},
      {"ranges have bytes", "0 bytes at byte 0",
       [](auto& f) { f.source_index->ranges[0] = {0, 0}; }},
  };
  for (const BrokenFacts& broken : cases) check_refused(broken, featured_facts());
}

TEST_CASE("what is wrong with a slice is refused by decode and by encode") {
  const auto first = [](IndexFacts& facts) -> SliceFacts& {
    return tensor(facts, "partitioned").slices[0];
  };
  const BrokenFacts cases[] = {
      {"ranks are equal", "the rank of a slice", [&](auto& f) { first(f).extents.pop_back(); }},
      {"ranks are equal", "the rank of a slice", [&](auto& f) { first(f).extents.push_back({}); }},
      {"starts are not negative", "from element -1",
       [&](auto& f) { first(f).extents[0] = {-1, 2}; }},
      {"lengths are positive", "has 0 elem", [&](auto& f) { first(f).extents[0] = {0, 0}; }},
      {"lengths are -1 or positive", "-2 elem", [&](auto& f) { first(f).extents[0] = {0, -2}; }},
      {"whole dimensions start at 0", "-1 elem", [&](auto& f) { first(f).extents[0] = {1, -1}; }},
      {"extents lie inside", "dimension of 6", [&](auto& f) { first(f).extents[0] = {5, 2}; }},
      {"extents do not overflow", "dimension of 6",
       [&](auto& f) { first(f).extents[0] = {INT64_MAX, INT64_MAX}; }},
      {"sizes agree", "do not hold", [&](auto& f) { first(f).span.size_bytes = 15; }},
      {"spans lie inside", "are not inside", [&](auto& f) { first(f).span.offset_bytes = 1999; }},
      {"shards exist", "shard 9", [&](auto& f) { first(f).span.shard = 9; }},
      {"the whole has no place", "bytes of its own",
       [](auto& f) { tensor(f, "partitioned").span.size_bytes = 48; }},
      {"the whole has no checksum", "bytes of its own",
       [](auto& f) { tensor(f, "partitioned").span.crc32c = 0; }},
      {"sizes do not overflow", "more than 2^64",
       [](auto& f) {
         constexpr std::int64_t kBytes = std::int64_t{1} << 60;
         f.shards[1].identity.size_bytes = UINT64_MAX;
         TensorFacts& whole = tensor(f, "partitioned");
         whole.dtype = DType::Uint8;
         whole.shape = {kBytes, 1};
         whole.slices.assign(16, {{{}, {}}, {1, 0, kBytes, {}}});
       }},
      {"the whole has no chunk sums", "but there are 1",
       [](auto& f) { tensor(f, "partitioned").chunk_crc32cs = {1}; }},
  };
  for (const BrokenFacts& broken : cases) check_refused(broken);
}

TEST_CASE("facts for which the index has no place are refused") {
  IndexFacts facts = rich_facts();
  facts.tensors[0].opaque_dtype = "F4";
  CHECK(encode_index(facts).error().code == Code::Invalid);
  facts = featured_facts();
  tensor(facts, "column_major").strides.pop_back();
  CHECK(encode_index(facts).error().code == Code::Invalid);
  facts = featured_facts();
  tensor(facts, "packed").opaque_dtype = "Q4_K";  // in other blocks than its namesake
  CHECK(encode_index(facts).error().code == Code::Invalid);
}

// ---- Rules about bytes that no facts can break -------------------------------------------------

struct BrokenBytes {
  const char* rule;
  const char* complaint;
  std::function<void(std::vector<std::byte>&, const index::Columns&)> damage;
};

std::string complaint_about(std::vector<std::byte>& file) {
  repair(file);
  const auto view = IndexView::decode(file);
  REQUIRE_FALSE(view.has_value());
  return view.error().what;
}

TEST_CASE("records that contradict their columns are refused") {
  // Fields of a record, by their place in it: FORMAT.md.
  constexpr int kName = 24, kDims = 28, kChunks = 32, kSlices = 36, kCrc = 20, kDtype = 40,
                kFlags = 45, kZero = 46;
  constexpr std::size_t kSliceFlags = 28;
  const auto tensor_field = [](auto& file, const index::Columns& columns, std::size_t tensor,
                               int field) {
    const auto* record = reinterpret_cast<const std::byte*>(&columns.tensors[tensor]);
    return file.data() + (record - file.data()) + field;
  };
  const auto put_field = [&](std::size_t tensor, int field, auto value) {
    return [=](auto& file, const index::Columns& columns) {
      store_le(tensor_field(file, columns, tensor, field), value);
    };
  };
  const auto bytes_at = [](auto& file, const void* record) {
    return file.data() + (static_cast<const std::byte*>(record) - file.data());
  };
  const auto put_slice_flags = [&](std::uint32_t flags) {
    return [=](auto& file, const index::Columns& columns) {
      store_le(bytes_at(file, &columns.slices[0]) + kSliceFlags, flags);
    };
  };
  const std::size_t last = rich_facts().tensors.size() - 1;
  const BrokenBytes cases[] = {
      {"flags of slices are known", "a slice has unknown flags", put_slice_flags(3)},
      {"sums of slices have a flag", "a slice has unknown flags (0), or", put_slice_flags(0)},
      {"content hashes belong to tensors", "that belong to no tensor",
       [&](auto& file, const index::Columns& columns) {
         put_field(0, kFlags, std::uint8_t{1})(file, columns);
         store_le(bytes_at(file, columns.content_hashes.data()), std::uint64_t{0});
         store_le(bytes_at(file, columns.content_hashes.data()) + 8, std::uint64_t{0});
       }},
      {"there is one content hash for each tensor", "9 content hashes for 10 tensors",
       [&](auto& file, const index::Columns& columns) {
         const auto fewer = static_cast<std::uint32_t>(columns.tensors.size() - 1);
         store_le(bytes_at(file, columns.content_hashes.data()) - sizeof fewer, fewer);
       }},
      {"opaque dtypes belong to tensors", "opaque dtype 1 belongs to no tensor",
       put_field(5, kDtype, std::uint16_t{index::kFirstOpaque})},
      {"names do not end behind", "after the end of their columns",
       put_field(last, kName, 10'000u)},
      {"names do not end before", "after the end of their columns", put_field(1, kName, 1u)},
      {"all chunk sums are owned", "longer than",
       [&](auto& file, const index::Columns& columns) {
         for (std::size_t i = 0; i <= last; ++i) put_field(i, kChunks, 0u)(file, columns);
       }},
      {"dims do not end behind", "after the end of their columns", put_field(last, kDims, 10'000u)},
      {"dims do not end before", "after the end of their columns", put_field(1, kDims, 1u)},
      {"chunks do not end behind", "after the end of their columns", put_field(last, kChunks, 4u)},
      {"slices do not end behind", "after the end of their columns", put_field(last, kSlices, 3u)},
      {"slices do not end before", "after the end of their columns", put_field(last, kSlices, 1u)},
      {"reserved bytes are zero", "reserved", put_field(0, kZero, std::uint16_t{1})},
      {"flags are known", "unknown flags", put_field(0, kFlags, std::uint8_t{15})},
      {"what is used is announced", "features 0, but it uses 2",
       put_field(9, kFlags, std::uint8_t{5})},
      {"sums have a flag", "no flag for it", put_field(0, kFlags, std::uint8_t{2})},
      {"hashes have a flag", "no flag for it", put_field(0, kFlags, std::uint8_t{1})},
      {"flags have a sum or 0", "no flag for it", put_field(2, kCrc, 1u)},
  };
  for (const BrokenBytes& broken : cases) {
    CAPTURE(broken.rule);
    auto file = encode(rich_facts());
    const index::Columns columns(*fbs::GetIndex(file.data() + index::kHeaderBytes));
    broken.damage(file, columns);
    const std::string what = complaint_about(file);
    CHECK_MESSAGE(what.find(broken.complaint) != std::string::npos, what);
  }
}

// The check has one loop for plain tensors, and asks of all others rule by rule. One content hash
// in an index makes every other tensor of it one without, and so not plain.
IndexFacts plain_facts(bool judged_as_plain) {
  IndexFacts facts = walk_facts();
  facts.chunk_bytes = 4096;
  facts.shards[0].identity.size_bytes = 100'000;
  facts.tensors.clear();
  const auto add = [&facts](std::string name, DType dtype, std::vector<std::int64_t> shape) {
    TensorFacts added;
    added.name = std::move(name);
    added.dtype = dtype;
    added.shape = std::move(shape);
    added.span = {0, 8192, element_bytes(dtype), 7};
    for (const std::int64_t each : added.shape) {
      added.span.size_bytes *= static_cast<std::uint64_t>(each);
    }
    facts.tensors.push_back(std::move(added));
  };
  add("a", DType::Float32, {2});
  add("layer/kernel", DType::Float32, {2, 3});
  add("layer/kernel/slot", DType::Uint8, {3, 3000});
  facts.tensors.back().chunk_crc32cs = {1, 2, 3};
  add("layer/kernel/slot_of_another", DType::Float64, {0, 5});
  add("layer/kernel_of_another", DType::Int64, {});
  facts.tensors.back().span.crc32c.reset();
  if (!judged_as_plain) facts.tensors.front().content_hash = Digest128{{std::byte{1}}};
  return facts;
}

std::string verdict_on(std::vector<std::byte>& file) {
  repair(file);
  const auto view = IndexView::decode(file);
  return view ? "good" : view.error().what;
}

// A number as damage or a forger would write it: small, near a power of two, or any.
std::uint64_t odd_number(std::mt19937_64& random) {
  const std::uint64_t any = random();
  switch (any % 4) {
    case 0:
      return any / 4 % 40;
    case 1:
      return (std::uint64_t{1} << (any / 4 % 64)) - 1 + any / 256 % 3;
    case 2:
      return std::uint64_t{8} * (any / 4 % 2000);
    default:
      return any;
  }
}

TEST_CASE("the loop for plain tensors refuses what the rules refuse, in the same sentence") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  std::size_t refused = 0;
  constexpr std::size_t kRounds = 60'000;
  const auto plain = encode(plain_facts(true));
  const auto ruled = encode(plain_facts(false));
  const auto columns_of = [](std::vector<std::byte>& file) {
    return index::Columns(*fbs::GetIndex(file.data() + index::kHeaderBytes));
  };
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::vector<std::byte> files[] = {plain, ruled};
    const bool at_name = round % 8 == 0;
    const bool at_dims = round % 8 == 1;
    const std::uint64_t place = random();
    const std::uint64_t value = odd_number(random);
    for (auto& file : files) {
      const index::Columns columns = columns_of(file);
      // The first tensor stays as it is: of the two indexes only one has a hash there.
      const auto records = std::as_writable_bytes(std::span(
          const_cast<fbs::TensorRecord*>(columns.tensors.data()), columns.tensors.size()));
      const auto names = std::span(const_cast<char*>(columns.names.data()), columns.names.size());
      const auto dims =
          std::span(const_cast<std::int64_t*>(columns.dims.data()), columns.dims.size());
      constexpr std::size_t kRecord = sizeof(fbs::TensorRecord);
      constexpr std::size_t kFlagsAt = 45;
      const std::size_t width = std::size_t{1} << (place >> 32) % 4;
      const std::size_t at = kRecord + place % (records.size() - kRecord) / width * width;
      if (at_name) {
        names[1 + place % (names.size() - 1)] = static_cast<char>(value);
      } else if (at_dims) {
        dims[1 + place % (dims.size() - 1)] = static_cast<std::int64_t>(value);
      } else {
        std::memcpy(&records[at], &value, width);
      }
      // What a content hash's flag means differs between the two.
      records[at / kRecord * kRecord + kFlagsAt] &= ~std::byte{index::kHasContentHash};
    }
    const std::string what = verdict_on(files[0]);
    refused += what != "good" ? 1u : 0u;
    REQUIRE_MESSAGE(what == verdict_on(files[1]), "round ", round);
  }
  CHECK(refused > kRounds / 2);
  CHECK(refused < kRounds);
}

TEST_CASE("a plain tensor's flag of a content hash that is not there is refused") {
  auto file = encode(plain_facts(true));
  const index::Columns columns(*fbs::GetIndex(file.data() + index::kHeaderBytes));
  const auto* flags = reinterpret_cast<const std::byte*>(&columns.tensors[1]) + 45;
  file[static_cast<std::size_t>(flags - file.data())] |= std::byte{index::kHasContentHash};
  CHECK(verdict_on(file).find("content hash is missing") != std::string::npos);
}

TEST_CASE("the limits of names and ranks hold for plain tensors too") {
  for (const bool judged_as_plain : {true, false}) {
    IndexFacts facts = plain_facts(judged_as_plain);
    facts.tensors.back().shape.assign(limits::kRankMax, 1);
    facts.tensors.back().name = std::string(limits::kNameBytesMax, 'z');
    CHECK(encode_index(facts).has_value());
    facts.tensors.back().shape.push_back(1);
    CHECK(encode_index(facts).error().what.find("rank is 255") != std::string::npos);
    facts.tensors.back().shape.clear();
    facts.tensors.back().name += 'z';
    CHECK(encode_index(facts).error().what.find("name has 1048577") != std::string::npos);
  }
}

TEST_CASE("a column that is not aligned is refused") {
  // The body moves by 4 bytes: every offset in it still fits, but no address of an int64 does.
  // FlatBuffers' verifier looks at those in tables only, so this index has none there.
  IndexFacts facts = walk_facts();
  facts.step.reset();
  facts.shards.clear();
  auto file = *index::encode_unchecked(facts);
  const auto root = load_le<std::uint32_t>(file.data() + index::kHeaderBytes);
  file.insert(file.begin() + index::kHeaderBytes + 4, 4, std::byte{0});
  store_le(file.data() + index::kHeaderBytes, root + 4);
  CHECK(complaint_about(file).find("aligned") != std::string::npos);
}

TEST_CASE("a small index that claims much text by sharing it is refused") {
  flatbuffers::FlatBufferBuilder builder;
  const auto text = builder.CreateString(std::string(1000, 'x'));
  std::vector<flatbuffers::Offset<fbs::KeyValue>> entries;
  for (char key = 'a'; key < 'k'; ++key) {
    entries.push_back(fbs::CreateKeyValue(builder, builder.CreateString(&key, 1), text));
  }
  const auto metadata = builder.CreateVector(entries);
  const auto bundle = fbs::CreateBundle(builder);
  builder.Finish(
      fbs::CreateIndex(builder, flatbuffers::nullopt, 0, text, 4096, metadata, 0, bundle));
  auto file = encode(IndexFacts{});
  const auto body = std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize()));
  file.resize(index::kHeaderBytes);
  file.insert(file.end(), body.begin(), body.end());
  CHECK(complaint_about(file).find("share") != std::string::npos);
}

TEST_CASE("an index at an odd address is refused, not read") {
  auto file = encode(walk_facts());
  file.insert(file.begin(), std::byte{0});
  CHECK(IndexView::decode(std::span(file).subspan(1)).error().code == Code::Invalid);
}

// ---- The header --------------------------------------------------------------------------------

DecodeError refusal(std::span<const std::byte> file) {
  const auto view = IndexView::decode(file);
  REQUIRE_FALSE(view.has_value());
  return view.error();
}

TEST_CASE("a file that is no index, and one that a text-mode transfer damaged, are told apart") {
  const auto says = [](std::string_view start) {
    std::string text(start);
    text.resize(200);
    const std::vector<std::byte> file(as_bytes(text).begin(), as_bytes(text).end());
    return refusal(file).what;
  };
  for (const char* start : {"\x89"
                            "CAIRN\n",
                            "\x89"
                            "CAIRN\r\r\n",
                            "\xc2\x89"
                            "CAIRN\r\n",
                            "\x09"
                            "CAIRN\r\n"}) {
    CHECK(says(start).find("text mode") != std::string::npos);
  }
  CHECK(says("PK\x03\x04").find("not a Cairn index") != std::string::npos);
  CHECK(refusal({}).what.find("not a Cairn index") != std::string::npos);
}

TEST_CASE("newer versions and unknown required features are Unsupported, and named") {
  auto file = encode(walk_facts());
  store_le(file.data() + index::kVersionAt, std::uint32_t{2});
  repair(file);
  CHECK(refusal(file).code == Code::Unsupported);
  CHECK(refusal(file).what.find("version 2") != std::string::npos);
  store_le(file.data() + index::kVersionAt, kIndexVersion);
  store_le(file.data() + index::kRequiredFeaturesAt, std::uint64_t{1} << 40);
  repair(file);
  CHECK(refusal(file).code == Code::Unsupported);
  CHECK(refusal(file).what.find("feature 40") != std::string::npos);
}

TEST_CASE("unknown optional features are read over") {
  auto file = encode(walk_facts());
  store_le(file.data() + index::kOptionalFeaturesAt, ~std::uint64_t{0});
  repair(file);
  CHECK(IndexView::decode(file).has_value());
}

TEST_CASE("bytes behind an index are no part of it, whatever their digest") {
  auto file = encode(walk_facts());
  file.resize(file.size() + 8);
  const Digest128 digest = index::file_digest(file);
  std::ranges::copy(digest.bytes, file.begin() + index::kDigestAt);
  CHECK(refusal(file).what.find("but the header says") != std::string::npos);
}

TEST_CASE("sizes and reserved bytes of the header are checked") {
  for (const auto& [at, what] : {std::pair(index::kHeaderBytesAt, "its header has 65"),
                                 std::pair(index::kZeroAt, "reserved")}) {
    auto file = encode(walk_facts());
    file[at] |= std::byte{1};
    repair(file);
    CHECK(refusal(file).what.find(what) != std::string::npos);
  }
}

TEST_CASE("an index above the limit is refused before anything looks at it") {
  // Never touched: the size alone decides.
  const std::span<const std::byte> sparse(reinterpret_cast<const std::byte*>(8),
                                          limits::kIndexBytesMax + 1);
  CHECK(refusal(sparse).what.find("limit") != std::string::npos);
}

}  // namespace
}  // namespace cairn::format
