#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/tensorflow/bundle.h"
#include "format/tensorflow/table.h"
#include "format/tensorflow/varint.h"
#include "format/tensorflow/wire.h"
#include "tests/unit/golden.h"

namespace cairn::format::tensorflow {
namespace {

using test::from_hex;

// ---- Arranging

const std::string kHeader = from_hex("08011a020801");  // one shard, producer 1

using Records = std::map<std::string, std::string>;

std::string write_index(const Records& records) {
  TableWriter table;
  for (const auto& [key, value] : records) table.add(key, value);
  return table.finish();
}

std::string entry_of(const EntryView& entry) {
  std::string record;
  append_entry(record, entry);
  return record;
}

Decoded<BundleFacts> decode(const std::string& index) { return decode_bundle(as_bytes(index)); }

// The index of one float32 tensor "t" with this entry.
Decoded<BundleFacts> decode_one(const std::string& entry_hex) {
  return decode(write_index({{"", kHeader}, {"t", from_hex(entry_hex)}}));
}

TensorFacts tensor(std::string name, std::vector<std::int64_t> shape, std::uint64_t offset = 0) {
  TensorFacts facts;
  facts.name = std::move(name);
  facts.dtype = DType::Float32;
  facts.shape = std::move(shape);
  facts.span = {0, offset, 4, 0x1234};
  for (const std::int64_t dimension : facts.shape) {
    facts.span.size_bytes *= static_cast<std::uint64_t>(dimension);
  }
  return facts;
}

// 4 x 6, in rows 0 and 1, 2 and 3.
TensorFacts partitioned(const std::string& name) {
  TensorFacts facts = tensor(name, {4, 6});
  facts.span = {};
  facts.slices = {{{{0, 2}, {}}, {0, 0, 48, 1}}, {{{2, 2}, {}}, {0, 48, 48, 2}}};
  return facts;
}

std::vector<TensorFacts> many_tensors(std::size_t count) {
  std::vector<TensorFacts> tensors;
  tensors.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(1'000'000 + i);
    tensors.push_back(tensor("model/layer_" + number + "/kernel", {64, 3}, 768 * i));
  }
  return tensors;
}

// ---- TensorFlow's bundles

TEST_CASE("every index that TensorFlow wrote is decoded and encoded again bit for bit") {
  const auto paths = test::golden_files("tensorflow", ".index");
  CHECK(paths.size() >= 14);
  for (const auto& path : paths) {
    CAPTURE(path.string());
    const std::string index = test::read_file(path);
    const auto bundle = decode(index);
    REQUIRE(bundle.has_value());
    CHECK(std::ranges::is_sorted(bundle->tensors, {}, &TensorFacts::name));
    const auto again = encode_bundle(bundle->header, bundle->tensors);
    REQUIRE(again.has_value());
    CHECK(*again == index);
  }
}

TEST_CASE("larger indexes are cut into blocks as TensorFlow cuts them") {
  // The sums are those of files that TensorFlow 2.21 wrote for the same tensors.
  std::vector<TensorFacts> many;
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<float>(i);
    const std::string number = std::to_string(1'000'000 + i).substr(1);
    many.push_back(tensor("n/" + number + "/x", {}, 4 * static_cast<std::uint64_t>(i)));
    many.back().span.crc32c = crc32c(std::as_bytes(std::span(&value, 1)));
  }
  const auto index = encode_bundle({}, many);
  REQUIRE(index.has_value());
  CHECK(index->size() == 431'981);
  CHECK(crc32c(as_bytes(*index)) == 0xc06edd0f);

  const float one = 1;
  std::vector<TensorFacts> with_long_name = {
      tensor("a", {}), tensor(std::string(600'000, 'b'), {}, 4), tensor("c", {}, 8)};
  for (TensorFacts& facts : with_long_name) {
    facts.span.crc32c = crc32c(std::as_bytes(std::span(&one, 1)));
  }
  const auto long_index = encode_bundle({}, with_long_name);
  REQUIRE(long_index.has_value());
  CHECK(long_index->size() == 1'200'203);
  CHECK(crc32c(as_bytes(*long_index)) == 0xb7264a38);
}

TEST_CASE("facts of a TensorFlow checkpoint are its names, dtypes, shapes and spans") {
  const std::string index =
      test::read_file(test::golden("tensorflow/saver_walk/saved/train2-9.index"));
  const auto bundle = decode(index);
  REQUIRE(bundle.has_value());
  CHECK(bundle->header == BundleHeader{});
  REQUIRE(bundle->tensors.size() == 2);
  const std::string data =
      test::read_file(test::golden("tensorflow/saver_walk/saved/train2-9.data-00000-of-00001"));
  const TensorFacts& v2 = bundle->tensors[1];
  CHECK(v2.name == "v2");
  CHECK(v2.dtype == DType::Int32);
  CHECK(v2.shape.empty());
  CHECK(v2.span == Span{0, 4, 4, crc32c(as_bytes(data).subspan(4, 4))});
}

TEST_CASE("slices of a partitioned variable stand under it in stored order") {
  const std::string index = test::read_file(test::golden("tensorflow/partitioned/part.index"));
  const auto bundle = decode(index);
  REQUIRE(bundle.has_value());
  REQUIRE(bundle->tensors.size() == 3);
  const TensorFacts& emb = bundle->tensors[1];
  CHECK(emb.name == "emb");
  CHECK(emb.shape == std::vector<std::int64_t>{11, 6});
  REQUIRE(emb.slices.size() == 3);
  CHECK(emb.slices[0].extents == std::vector<Extent>{{0, 4}, {0, 6}});
  CHECK(emb.slices[2].extents == std::vector<Extent>{{8, 3}, {0, 6}});
  CHECK(emb.slices[2].span.size_bytes == 72);
  CHECK(emb.slices[2].span.crc32c.has_value());
}

// ---- Hostile bundles

TEST_CASE("the index decides over hostile bundles what their verdicts say") {
  // Whose damage lies in the data file, or in its absence: the index alone is whole.
  const std::set<std::string> about_data = {"crc_bad", "no_data", "str_trunc", "trunc_data_big"};
  const std::string verdicts = test::read_file(test::golden("hostile/expected.json"));
  const auto paths = test::golden_files("hostile", ".index");
  CHECK(paths.size() >= 30);
  for (const auto& path : paths) {
    const std::string stem = path.stem().string();
    CAPTURE(stem);
    const std::size_t at = verdicts.find('"' + stem + "\": \"");
    REQUIRE(at != std::string::npos);
    const std::string verdict = verdicts.substr(at + stem.size() + 5, 6);
    const auto bundle = decode(test::read_file(path));
    if (verdict == "accept" || about_data.contains(stem)) {
      CHECK_MESSAGE(bundle.has_value(), (bundle ? "" : bundle.error().what));
    } else if (verdict == "refuse") {
      CHECK_FALSE(bundle.has_value());
    }
  }
}

TEST_CASE("entries that no checkpoint can hold are refused") {
  REQUIRE(decode_one("08011204120208022808350000 0000").has_value());
  struct Case {
    const char* what;
    const char* entry_hex;
    Code code;
  };
  const Case cases[] = {
      {"dtype 0", "2804", Code::Unsupported},
      {"dtype resource", "08142804", Code::Unsupported},
      {"dtype reference", "08652804", Code::Unsupported},
      {"dtype unknown", "08222804", Code::Unsupported},
      {"dtype negative", "08ffffffffffffffffff012804", Code::Unsupported},
      {"shape negative", "0801120d120b08ffffffffffffffffff012804", Code::Corrupt},
      {"shape overflows", "08011218120a0880808080808080804012 0a088080808080808080402800",
       Code::Corrupt},
      {"shape overflows beside a 0", "0801121a120a08808080808080808040120a088080808080808080401200",
       Code::Corrupt},
      {"shard 1 of 1", "080118012804", Code::Corrupt},
      {"shard -1", "080118ffffffffffffffffff012804", Code::Corrupt},
      {"offset -1", "080120ffffffffffffffffff012804", Code::Corrupt},
      {"size -1", "080128ffffffffffffffffff01", Code::Corrupt},
      {"end overflows", "080120ffffffffffffffff7f2804", Code::Corrupt},
      {"size too small", "08012803", Code::Corrupt},
      {"size too big", "08012805", Code::Corrupt},
      {"string without room for its sum", "08072804", Code::Corrupt},
      {"variant without room for its sum", "08152804", Code::Corrupt},
      {"dtype as fixed32", "0d010000002804", Code::Corrupt},
      {"crc as varint", "080128043001", Code::Corrupt},
      {"shape as varint", "080110012804", Code::Corrupt},
      {"cut off", "0801120412", Code::Corrupt},
      {"a length beyond the record", "08011a7f", Code::Corrupt},
      {"a tag of 6 bytes", "8880808080000128 04", Code::Corrupt},
      {"a length of 6 bytes", "0801128080808080002804", Code::Corrupt},
      {"a length of 2^32", "080112808080801028 04", Code::Corrupt},
      {"an unknown field of 2^32 bytes", "08012804fa07 8080808010", Code::Corrupt},
      {"field 0", "00", Code::Corrupt},
      {"group", "0b", Code::Corrupt},
      {"slice whose rank is not", "08013a020a00", Code::Corrupt},
      {"slice beyond the shape", "0801120412020802 3a060a0408011002", Code::Corrupt},
      {"slice of no length", "08011204120208023a040a021000", Code::Corrupt},
      {"slice of negative length", "08011204120208023a0d0a0b10ffffffffffffffffff01", Code::Corrupt},
      {"slice of negative start", "08011204120208023a0f0a0d08ffffffffffffffffff011001",
       Code::Corrupt},
      {"slice without an entry", "08011204120208023a040a021001", Code::Corrupt},
  };
  for (const Case& one : cases) {
    CAPTURE(one.what);
    std::string hex = one.entry_hex;
    std::erase(hex, ' ');
    const auto bundle = decode_one(hex);
    REQUIRE_FALSE(bundle.has_value());
    CHECK_MESSAGE(bundle.error().code == one.code, bundle.error().what);
    CHECK(bundle.error().what.find("tensor \"t\"") != std::string::npos);
  }
  // Read as -1, it would be the mark of a whole dimension.
  const auto negative = decode_one("08011204120208023a0d0a0b10ffffffffffffffffff01");
  CHECK(negative.error().what.find("length of a slice's extent is negative") != std::string::npos);
}

TEST_CASE("spellings that TensorFlow accepts are accepted") {
  const std::pair<const char*, const char*> cases[] = {
      {"no shape is a scalar", "08012804"},
      {"an unknown field", "08012804f80701"},
      {"an unknown field of bytes", "08012804fa0702abcd"},
      {"a varint longer than needed", "088180002804"},
      {"a dtype beyond 32 bits, which are what counts", "088180808010 2804"},
      {"a shard beyond 32 bits", "0801 188080808010 2804"},
      {"a named dimension", "0801120712050801120178 2804"},
      {"an unknown rank", "080112021801 2804"},
      {"fields in another order", "280412000801"},
      {"a string tensor of none, without bytes", "080712021200"},
      {"a string tensor of none, with a sum", "0807120212002804"},
      {"a string", "08072805"},
      {"a variant", "08152805"},
  };
  for (const auto& [what, entry_hex] : cases) {
    CAPTURE(what);
    std::string hex = entry_hex;
    std::erase(hex, ' ');
    const auto bundle = decode_one(hex);
    CHECK_MESSAGE(bundle.has_value(), (bundle ? "" : bundle.error().what));
  }
}

TEST_CASE("versions and shard counts that must not be read are not") {
  struct Case {
    const char* what;
    const char* header_hex;
    bool accepted;
    Code code;
  };
  const Case cases[] = {
      {"as written", "08011a020801", true, {}},
      {"no version", "0801", true, {}},
      {"nothing, so no shards", "", false, Code::Corrupt},
      {"producer 999", "08011a0308e707", true, {}},
      {"producer -1", "08011a0b08ffffffffffffffffff01", false, Code::Unsupported},
      {"min_consumer 2", "08011a0408011002", false, Code::Unsupported},
      {"bad consumer 1, packed", "08011a0508011a0101", false, Code::Unsupported},
      {"bad consumer 1, unpacked", "08011a0408011801", false, Code::Unsupported},
      {"bad consumer 2", "08011a0508011a0102", true, {}},
      {"endianness 7", "080110071a020801", true, {}},
      {"a version that comes twice", "08011a0218011a020801", false, Code::Unsupported},
      {"shards -1", "08ffffffffffffffffff011a020801", false, Code::Corrupt},
      {"shards 2^31 - 1", "08ffffffff071a020801", false, Code::Unsupported},
      {"version of another type", "08011801", false, Code::Corrupt},
  };
  for (const Case& one : cases) {
    CAPTURE(one.what);
    const auto bundle =
        decode(write_index({{"", from_hex(one.header_hex)}, {"t", from_hex("08012804")}}));
    CHECK(bundle.has_value() == one.accepted);
    if (!bundle && !one.accepted) CHECK(bundle.error().code == one.code);
  }
  const auto headerless = decode(write_index({{"t", from_hex("08012804")}}));
  REQUIRE_FALSE(headerless.has_value());
  CHECK(headerless.error().what == "the index has no header: its first key is not empty");
  CHECK_FALSE(decode(write_index({})).has_value());
  const auto negative = decode(write_index({{"", from_hex("08ffffffffffffffffff011a020801")}}));
  REQUIRE_FALSE(negative.has_value());
  CHECK(negative.error().what == "the index's header says that there are -1 shards");
}

TEST_CASE("a name above the limit is refused") {
  const auto named = [](std::size_t size) {
    return decode(write_index({{"", kHeader}, {std::string(size, 'n'), from_hex("08012804")}}));
  };
  CHECK(named(limits::kNameBytesMax).has_value());
  const auto longer = named(limits::kNameBytesMax + 1);
  REQUIRE_FALSE(longer.has_value());
  CHECK(longer.error().code == Code::Unsupported);
}

TEST_CASE("a big-endian bundle says so") {
  const auto bundle = decode(write_index({{"", from_hex("080110011a020801")}}));
  REQUIRE(bundle.has_value());
  CHECK(bundle->header.big_endian);
  const auto beyond_32_bits = decode(write_index({{"", from_hex("08011081808080101a020801")}}));
  REQUIRE(beyond_32_bits.has_value());
  CHECK(beyond_32_bits->header.big_endian);
  CHECK(*encode_bundle(bundle->header, {}) == write_index({{"", from_hex("080110011a020801")}}));
}

// ---- Slices

TEST_CASE("what is encoded is decoded again, slices and all") {
  const std::string zero_name("\0odd", 4);
  const std::vector<TensorFacts> tensors = {tensor(zero_name, {2}), partitioned(zero_name + "p"),
                                            tensor("a", {}),        partitioned("b"),
                                            tensor("c", {0, 3}),    partitioned("d")};
  const auto index = encode_bundle({}, tensors);
  REQUIRE(index.has_value());
  const auto bundle = decode(*index);
  REQUIRE_MESSAGE(bundle.has_value(), (bundle ? "" : bundle.error().what));
  CHECK(bundle->tensors == tensors);
}

TEST_CASE("a partitioned variable keeps the shard number that a merge left on it") {
  TensorFacts variable = partitioned("p");
  variable.span.shard = 3;
  BundleHeader header;
  header.num_shards = 4;
  const auto index = encode_bundle(header, std::vector{variable});
  REQUIRE(index.has_value());
  CHECK(decode(*index)->tensors == std::vector{variable});
}

TEST_CASE("slices that disagree with their variable are refused") {
  const TensorFacts good = partitioned("p");
  const std::string key = slice_key("p", good.slices[0].extents);
  const std::string other_key = slice_key("p", good.slices[1].extents);
  const std::string variable = entry_of({good.dtype, good.shape, good.span, good.slices});
  const auto piece = [&](DType dtype, std::vector<std::int64_t> shape) {
    return entry_of({dtype, shape, Span{0, 0, 48, 1}, {}});
  };
  const std::string right = piece(DType::Float32, {2, 6});
  const auto decode_pieces = [&](const std::string& first, const std::string& second) {
    return decode(write_index({{"", kHeader}, {key, first}, {other_key, second}, {"p", variable}}));
  };
  CHECK(decode_pieces(right, right).has_value());
  CHECK_FALSE(decode_pieces(right, piece(DType::Int32, {2, 6})).has_value());
  CHECK_FALSE(decode_pieces(right, piece(DType::Float32, {6, 2})).has_value());
  CHECK_FALSE(decode_pieces(right, piece(DType::Float32, {12})).has_value());
  const auto missing = decode(write_index({{"", kHeader}, {key, right}, {"p", variable}}));
  REQUIRE_FALSE(missing.has_value());
  CHECK(missing.error().what == "slice 1 of tensor \"p\" is listed but has no entry");

  std::vector<SliceFacts> twice(2, good.slices[0]);
  const std::string doubled = entry_of({good.dtype, good.shape, good.span, twice});
  CHECK_FALSE(decode(write_index({{"", kHeader}, {key, right}, {"p", doubled}})).has_value());
}

TEST_CASE("what looks like a slice but is listed nowhere is a tensor") {
  const std::string key = slice_key("gone", std::vector<Extent>{{0, 1}});
  const auto bundle = decode(write_index({{"", kHeader}, {key, from_hex("08012804")}}));
  REQUIRE(bundle.has_value());
  REQUIRE(bundle->tensors.size() == 1);
  CHECK(bundle->tensors[0].name == key);
}

// ---- Encoding

TEST_CASE("what TensorFlow cannot hold is not encoded") {
  const auto refused = [](std::vector<TensorFacts> tensors) {
    const auto index = encode_bundle({}, tensors);
    return !index && index.error().code == Code::Invalid;
  };
  TensorFacts unsummed = tensor("t", {});
  unsummed.span.crc32c.reset();
  CHECK(refused({unsummed}));
  TensorFacts unsummed_slice = partitioned("p");
  unsummed_slice.slices[1].span.crc32c.reset();
  CHECK(refused({unsummed_slice}));
  CHECK(refused({tensor("", {})}));
  TensorFacts opaque = tensor("t", {});
  opaque.dtype = DType::Opaque;
  CHECK(refused({opaque}));
  CHECK(refused({tensor("t", {}), tensor("t", {})}));
  TensorFacts rank = partitioned("p");
  rank.slices[0].extents.pop_back();
  CHECK(refused({rank}));
  // A name that is the key of another tensor's slice.
  CHECK(
      refused({tensor(slice_key("p", partitioned("p").slices[0].extents), {}), partitioned("p")}));
}

TEST_CASE("tensors are stored by name, however they come") {
  const std::vector<TensorFacts> sorted = {tensor("a", {}), tensor("b", {}), tensor("\xff", {})};
  const std::vector<TensorFacts> mixed = {sorted[2], sorted[0], sorted[1]};
  CHECK(*encode_bundle({}, mixed) == *encode_bundle({}, sorted));
}

TEST_CASE("shard names are TensorFlow's") {
  CHECK(shard_suffix(0, 1) == ".data-00000-of-00001");
  CHECK(shard_suffix(99'999, 100'000) == ".data-99999-of-100000");
}

TEST_CASE("a hundred thousand entries are decoded and encoded again") {
  const std::vector<TensorFacts> tensors = many_tensors(100'000);
  const auto now = [] { return std::chrono::steady_clock::now(); };
  const auto ms_since = [&](auto start) {
    return std::chrono::duration<double, std::milli>(now() - start).count();
  };
  double encode_ms = 1e9;
  double decode_ms = 1e9;
  for (int round = 0; round < 5; ++round) {
    auto start = now();
    const auto index = encode_bundle({}, tensors);
    encode_ms = std::min(encode_ms, ms_since(start));
    REQUIRE(index.has_value());
    start = now();
    const auto bundle = decode(*index);
    decode_ms = std::min(decode_ms, ms_since(start));
    REQUIRE(bundle.has_value());
    CHECK(bundle->tensors == tensors);
  }
  MESSAGE("best of 5: encode ", encode_ms, " ms, decode ", decode_ms, " ms");
}

TEST_CASE("flipped, cut and random entries are survived") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const TensorFacts slices = partitioned("p");
  const std::vector<std::int64_t> shape{300, 0, 7};
  const Span span{1, 1u << 20, 8400, 0x12345678};
  const std::array entries{entry_of({slices.dtype, slices.shape, slices.span, slices.slices}),
                           entry_of({DType::Float32, shape, span, {}})};
  for (int round = 0; round < 20'000; ++round) {
    const std::string& entry = entries[random() % entries.size()];
    std::string bytes = entry;
    if (random() % 2 == 0) bytes.resize(random() % (entry.size() + 1));
    for (auto flips = random() % 4; flips > 0 && !bytes.empty(); --flips) {
      char& byte = bytes[random() % bytes.size()];
      byte = static_cast<char>(byte ^ (1 << random() % 8));
    }
    EntryRecord as_spelled;
    EntryRecord otherwise;
    const auto read = decode_entry(bytes, as_spelled);
    // With an unknown field in front it is none that TensorFlow writes, and says the same.
    const auto again = decode_entry("\x78\x01" + bytes, otherwise);
    REQUIRE(read.has_value() == again.has_value());
    if (read) CHECK(as_spelled == otherwise);
    (void)decode_header(bytes);
  }
}

}  // namespace
}  // namespace cairn::format::tensorflow
