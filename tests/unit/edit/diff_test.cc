#include "cairn/diff.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>

#include "cairn/cairn.h"
#include "tests/unit/golden.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using test::Content;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::text;
using test::write_checkpoint;
using Contents = std::vector<Content>;

constexpr std::uint64_t kMiB = 1u << 20;

template <class T>
Content numbers(std::string name, DType dtype, const std::vector<T>& values) {
  Content content;
  content.spec = {std::move(name), dtype, {static_cast<std::int64_t>(values.size())}};
  const auto bytes = std::as_bytes(std::span(values));
  content.bytes.assign(bytes.begin(), bytes.end());
  return content;
}

Content renamed(Content content, std::string name) {
  content.spec.name = std::move(name);
  return content;
}

Content changed(Content content, std::size_t at = 0) {
  content.bytes.at(at) ^= std::byte{1};
  return content;
}

// How the same contents lie on the disk.
enum class Kind { Cairn, TensorFlow, Safetensors };
constexpr Kind kKinds[] = {Kind::Cairn, Kind::TensorFlow, Kind::Safetensors};

fs::path write_as(Kind kind, const fs::path& prefix, const Contents& contents) {
  write_checkpoint(prefix, contents);
  if (kind == Kind::Cairn) return prefix;
  fs::remove(prefix.string() + ".cairn");
  if (kind == Kind::TensorFlow) return prefix;
  const fs::path file = prefix.string() + ".safetensors";
  fs::rename(prefix.string() + ".data-00000-of-00001", file);
  fs::remove(prefix.string() + ".index");
  return file;
}

Diff diff_of(const Checkpoint& a, const Checkpoint& b, const DiffOptions& options = {}) {
  auto found = diff(a, b, options);
  REQUIRE_OK(found);
  return *std::move(found);
}

// "content w", "renamed old new", …, in the order of the result.
std::vector<std::string> said(const Diff& diff) {
  std::vector<std::string> lines;
  for (const TensorDifference& one : diff.tensors) {
    std::string line(name(one.change));
    if (one.a) line += " " + std::string(one.a->name());
    if (one.b && (!one.a || one.change == Change::Renamed))
      line += " " + std::string(one.b->name());
    lines.push_back(line);
  }
  return lines;
}

using Lines = std::vector<std::string>;

TEST_CASE("every change is found, between any two formats") {
  const Contents before = {
      raw("a", DType::Float32, {3}),        raw("b", DType::Float32, {4}),
      raw("c", DType::Int32, {2, 3}),       raw("d", DType::Int64, {5}),
      raw("gone", DType::Int8, {7}),        raw("same", DType::Float64, {2, 2}),
      raw("empty", DType::Float32, {0, 3}), raw("scalar", DType::Int32, {})};
  Contents after = before;
  after[0] = changed(before[0]);
  after[1].spec.name = "bb";
  after[2].spec.shape = {3, 2};
  after[3].spec.dtype = DType::Float64;
  after[4] = raw("come", DType::Int8, {9});
  for (const Kind kind_of_a : kKinds) {
    for (const Kind kind_of_b : kKinds) {
      const Scratch scratch;
      const auto a = open_checkpoint(write_as(kind_of_a, scratch / "a", before));
      const auto b = open_checkpoint(write_as(kind_of_b, scratch / "b", after));
      for (const bool values : {false, true}) {
        CAPTURE(static_cast<int>(kind_of_a));
        CAPTURE(static_cast<int>(kind_of_b));
        const Diff found = diff_of(a, b, {.values = values});
        if (!values) {
          CHECK(said(found) == Lines{"content a", "renamed b bb", "shape c", "added come",
                                     "dtype d", "removed gone"});
        }
        CHECK(found.tensors.size() == 6);
        CHECK(found.equal_count == 3);
        CHECK(found.equal_by_checksum_count == 0);
      }
      const Diff none = diff_of(a, a);
      CHECK(none.tensors.empty());
      CHECK(none.equal_count == before.size());
      CHECK(none.read_bytes == 0);
    }
  }
}

TEST_CASE("what the indexes say is not read") {
  const Contents contents = {raw("large", DType::Uint8, {5 * kMiB / 2}),
                             raw("w", DType::Float32, {100})};
  const Contents other = {changed(contents[0], 2 * kMiB), contents[1]};
  const Scratch scratch;
  const auto open = [&](Kind kind, const char* name, const Contents& what) {
    return open_checkpoint(write_as(kind, scratch / name, what));
  };
  const auto a = open(Kind::Cairn, "a", contents);
  const auto same = open(Kind::Cairn, "same", contents);
  const auto b = open(Kind::Cairn, "b", other);
  const Diff by_hash = diff_of(a, b, {.ranges = true});
  CHECK(by_hash.read_bytes == 0);
  REQUIRE(said(by_hash) == Lines{"content large"});
  REQUIRE(by_hash.tensors[0].ranges.size() == 1);
  CHECK(by_hash.tensors[0].ranges[0].offset_bytes == 2 * kMiB);
  CHECK(by_hash.tensors[0].ranges[0].size_bytes == kMiB / 2);
  CHECK(diff_of(a, same).tensors.empty());

  // Another CRC32C is another content; the same one is read, or trusted.
  const auto sums = open(Kind::TensorFlow, "sums", contents);
  const auto other_sums = open(Kind::TensorFlow, "other_sums", other);
  const auto same_sums = open(Kind::TensorFlow, "same_sums", contents);
  const std::uint64_t size_of_w = 400;
  const Diff by_sums = diff_of(sums, other_sums);
  CHECK(said(by_sums) == Lines{"content large"});
  CHECK(by_sums.read_bytes == 2 * size_of_w);
  const Diff read = diff_of(sums, same_sums);
  CHECK(read.tensors.empty());
  CHECK(read.read_bytes == 2 * (5 * kMiB / 2 + size_of_w));
  const Diff trusted = diff_of(sums, same_sums, {.trust_checksums = true});
  CHECK(trusted.tensors.empty());
  CHECK(trusted.read_bytes == 0);
  CHECK(trusted.equal_count == 2);
  CHECK(trusted.equal_by_checksum_count == 2);

  // One hash: the other side is read, alone.
  const auto stock = open(Kind::Safetensors, "stock", contents);
  const Diff one_side = diff_of(a, stock);
  CHECK(one_side.tensors.empty());
  CHECK(one_side.read_bytes == 5 * kMiB / 2 + size_of_w);
  const Diff other_side = diff_of(stock, b, {.ranges = true});
  CHECK(said(other_side) == Lines{"content large"});
  CHECK(other_side.tensors[0].ranges.size() == 1);
  CHECK(other_side.tensors[0].ranges[0].offset_bytes == 2 * kMiB);

  // The same file under another name.
  fs::create_hard_link(scratch / "stock.safetensors", scratch / "link.safetensors");
  const auto other_name = open_checkpoint(scratch / "link.safetensors");
  const Diff linked = diff_of(stock, other_name);
  CHECK(linked.tensors.empty());
  CHECK(linked.read_bytes == 0);
}

TEST_CASE("stock files are compared by their bytes, to the chunk") {
  const Contents contents = {raw("large", DType::Uint8, {7 * kMiB / 2}),
                             raw("s1", DType::Uint8, {10}), raw("s2", DType::Uint8, {20})};
  Contents other = contents;
  other[0] = changed(changed(changed(other[0], 5), kMiB + 7), 3 * kMiB + 1);
  other[2] = changed(other[2], 19);
  const Scratch scratch;
  const auto a = open_checkpoint(write_as(Kind::Safetensors, scratch / "a", contents));
  const auto b = open_checkpoint(write_as(Kind::Safetensors, scratch / "b", other));
  for (const unsigned threads : {1u, 3u}) {
    const Diff found = diff_of(a, b, {.ranges = true, .exec = {.threads_max = threads}});
    REQUIRE(said(found) == Lines{"content large", "content s2"});
    const auto& ranges = found.tensors[0].ranges;
    REQUIRE(ranges.size() == 2);
    CHECK(ranges[0].offset_bytes == 0);
    CHECK(ranges[0].size_bytes == 2 * kMiB);
    CHECK(ranges[1].offset_bytes == 3 * kMiB);
    CHECK(ranges[1].size_bytes == kMiB / 2);
    CHECK(found.tensors[1].ranges.at(0).size_bytes == 20);
    CHECK(found.equal_count == 1);
    CHECK(found.read_bytes == 2 * (7 * kMiB / 2 + 30));
    CHECK(said(diff_of(a, b)) == Lines{"content large", "content s2"});
  }
}

TEST_CASE("of several tensors with the same content, the first is renamed to the first") {
  const Content one = raw("1", DType::Float32, {4});
  const Contents before = {renamed(one, "a"), renamed(one, "b"), renamed(one, "c"),
                           renamed(one, "kept")};
  const Contents after = {renamed(one, "kept"), renamed(one, "x"), renamed(one, "y")};
  for (const Kind kind : kKinds) {
    const Scratch scratch;
    const auto a = open_checkpoint(write_as(kind, scratch / "a", before));
    const auto b = open_checkpoint(write_as(kind, scratch / "b", after));
    CHECK(said(diff_of(a, b)) == Lines{"renamed a x", "renamed b y", "removed c"});
    CHECK(said(diff_of(b, a)) == Lines{"added c", "renamed x a", "renamed y b"});
  }
  // Another dtype or shape is another tensor; a copy of what is still there is added.
  const Scratch scratch;
  Content as_ints = renamed(one, "x");
  as_ints.spec.dtype = DType::Int32;
  write_checkpoint(scratch / "a", {renamed(one, "a")});
  write_checkpoint(scratch / "b", {as_ints});
  write_checkpoint(scratch / "c", {renamed(one, "a"), renamed(one, "copy")});
  const auto a = open_checkpoint(scratch / "a");
  CHECK(said(diff_of(a, open_checkpoint(scratch / "b"))) == Lines{"removed a", "added x"});
  CHECK(said(diff_of(a, open_checkpoint(scratch / "c"))) == Lines{"added copy"});
}

TEST_CASE("strings are compared") {
  const Contents contents = {text("same", {2}, {"x", "yy"}), text("words", {2}, {"some", ""})};
  const Contents other = {contents[0], text("words", {2}, {"", "some"})};
  for (const Kind kind : {Kind::Cairn, Kind::TensorFlow}) {
    const Scratch scratch;
    const auto a = open_checkpoint(write_as(kind, scratch / "a", contents));
    const auto b = open_checkpoint(write_as(kind, scratch / "b", other));
    CHECK(said(diff_of(a, b, {.ranges = true, .values = true})) == Lines{"content words"});
    CHECK(diff_of(a, b, {.values = true}).equal_count == 1);
  }
  const Scratch scratch;  // a hash on one side only
  const auto a = open_checkpoint(write_as(Kind::Cairn, scratch / "a", contents));
  const auto b = open_checkpoint(write_as(Kind::TensorFlow, scratch / "b", other));
  CHECK(said(diff_of(a, b)) == Lines{"content words"});
}

TEST_CASE("partitioned variables, V1 files and other layouts are compared by what they hold") {
  for (const fs::path& path : test::golden_files("tensorflow", ".index")) {
    CAPTURE(path);
    const auto stock = open_checkpoint(path);
    const Scratch scratch;
    const auto done = convert(path, Format::Cairn, {.output = scratch / "m"});
    REQUIRE_OK(done);
    const auto rewritten = open_checkpoint(scratch / "m");
    for (const DiffOptions& options :
         {DiffOptions{}, DiffOptions{.ranges = true, .values = true}}) {
      const Diff found = diff_of(stock, rewritten, options);
      CHECK(said(found).empty());
      CHECK(found.equal_count == stock.tensor_count());
      CHECK(said(diff_of(rewritten, stock, options)).empty());
    }
    // Without hashes, both are read.
    fs::remove((scratch / "m").string() + ".cairn");
    if (!fs::exists((scratch / "m").string() + ".index")) continue;
    CHECK(said(diff_of(stock, open_checkpoint(scratch / "m"))).empty());
  }
}

TEST_CASE("where only the indexes are, checksums can decide") {
  const Scratch scratch;
  const Contents contents = {raw("w", DType::Float32, {10}), raw("x", DType::Float32, {10})};
  const Contents other = {contents[0], changed(contents[1])};
  const OpenOptions index_only{.index_only = true};
  const auto a = open_checkpoint(write_as(Kind::TensorFlow, scratch / "a", contents), index_only);
  const auto b = open_checkpoint(write_as(Kind::TensorFlow, scratch / "b", other), index_only);
  CHECK(refusal(diff(a, b)) == Code::Unsupported);
  CHECK(said(diff_of(a, b, {.trust_checksums = true})) == Lines{"content x"});
  const auto c = open_checkpoint(write_as(Kind::Cairn, scratch / "c", contents), index_only);
  const auto d = open_checkpoint(write_as(Kind::Cairn, scratch / "d", other), index_only);
  CHECK(said(diff_of(c, d)) == Lines{"content x"});
}

TEST_CASE("damage that is read is an error that names the tensor") {
  const Contents contents = {raw("large", DType::Uint8, {2 * kMiB}), raw("w", DType::Uint8, {9})};
  const Scratch scratch;
  const auto a = open_checkpoint(write_as(Kind::TensorFlow, scratch / "a", contents));
  const auto b = open_checkpoint(write_as(Kind::TensorFlow, scratch / "b", contents));
  const Tensor large = test::tensor_of(b, "large");
  test::flip_bit(scratch / "b.data-00000-of-00001", large.offset_bytes() + kMiB + 3);
  for (const unsigned threads : {1u, 3u}) {
    CHECK(refusal(diff(a, b, {.exec = {.threads_max = threads}}), {"large", "checksum"}) ==
          Code::Corrupt);
  }
  CHECK(refusal(diff(a, b, {.ranges = true}), {"large", "checksum"}) == Code::Corrupt);
  CHECK(refusal(diff(b, a, {.values = true}), {"large"}) == Code::Corrupt);
  const auto hashed = open_checkpoint(write_as(Kind::Cairn, scratch / "c", contents));
  CHECK(refusal(diff(b, hashed), {"large"}) == Code::Corrupt);
  // Where it is not read, it is not found: verify() finds it.
  CHECK(diff_of(a, b, {.trust_checksums = true}).tensors.empty());

  test::truncate_file(scratch / "b.data-00000-of-00001", 100);
  CHECK(refusal(diff(a, b)) == Code::Io);
}

TEST_CASE("a diff stops when it is asked to, and says how far it is") {
  const Scratch scratch;
  const Contents contents = {raw("large", DType::Uint8, {8 * kMiB})};
  const auto a = open_checkpoint(write_as(Kind::Safetensors, scratch / "a", contents));
  const auto b = open_checkpoint(write_as(Kind::Safetensors, scratch / "b", contents));
  std::stop_source source;
  source.request_stop();
  CHECK(refusal(diff(a, b, {.exec = {.stop = source.get_token()}})) == Code::Cancelled);
  Progress last;
  const auto watch = [&](const Progress& progress) { last = progress; };
  diff_of(a, b, {.exec = {.progress = watch}});
  CHECK(last.done_bytes == 16 * kMiB);
  CHECK(last.total_bytes == 16 * kMiB);
}

// ---- Values

ValueDifference values_of(const Content& a, const Content& b, bool tensorflow = false) {
  const Scratch scratch;
  const Kind kind = tensorflow ? Kind::TensorFlow : Kind::Cairn;
  const auto one = open_checkpoint(write_as(kind, scratch / "a", {a}));
  const auto other = open_checkpoint(write_as(kind, scratch / "b", {b}));
  const Diff found = diff_of(one, other, {.values = true});
  REQUIRE(found.tensors.size() == 1);
  REQUIRE(found.tensors[0].values);
  return *found.tensors[0].values;
}

TEST_CASE("values: what is equal, what is not finite, what is the largest") {
  const float nan = std::nanf("");
  const float inf = HUGE_VALF;
  const auto floats = [](const std::vector<float>& values) {
    return numbers("w", DType::Float32, values);
  };
  const auto some = values_of(floats({3, 4, 0, 1}), floats({3, 2, 0.5, -1}));
  CHECK(some.element_count == 4);
  CHECK(some.changed_count == 3);
  CHECK(some.not_finite_count == 0);
  CHECK(some.max_abs == 2);
  CHECK(some.max_rel == 2);  // 1 and −1
  CHECK(some.norm_rel == doctest::Approx(std::sqrt((4 + 0.25 + 4) / 26)));
  CHECK(some.cosine == doctest::Approx((9 + 8 - 1) / std::sqrt(26.0 * (9 + 4 + 0.25 + 1))));

  const auto special =
      values_of(floats({nan, inf, inf, 1, -0.f, 2}), floats({nan, inf, 1, nan, 0.f, 2}));
  CHECK(special.changed_count == 2);
  CHECK(special.not_finite_count == 2);
  CHECK(special.max_abs == 0);
  CHECK(special.norm_rel == 0);
  CHECK(special.cosine == doctest::Approx(1));

  const auto from_zero = values_of(floats({0, 0}), floats({1, 0}));
  CHECK(from_zero.cosine == 0);
  CHECK(from_zero.norm_rel == 1);
  CHECK(from_zero.max_rel == 1);
  CHECK(values_of(floats({1, 2}), floats({-1, -2})).cosine == doctest::Approx(-1));
}

TEST_CASE("values: integers of 64 bits are subtracted exactly") {
  constexpr std::int64_t kLarge = std::int64_t{1} << 60;
  const auto close = values_of(numbers<std::int64_t>("w", DType::Int64, {kLarge, 7}),
                               numbers<std::int64_t>("w", DType::Int64, {kLarge + 1, 7}));
  CHECK(close.changed_count == 1);
  CHECK(close.max_abs == 1);
  const auto far = values_of(numbers<std::int64_t>("w", DType::Int64, {INT64_MIN}),
                             numbers<std::int64_t>("w", DType::Int64, {INT64_MAX}));
  CHECK(far.max_abs == 0x1p64);
  const auto big = values_of(numbers<std::uint64_t>("w", DType::Uint64, {UINT64_MAX}),
                             numbers<std::uint64_t>("w", DType::Uint64, {UINT64_MAX - 2}));
  CHECK(big.max_abs == 2);
}

TEST_CASE("values: dtypes with numbers of their own") {
  struct Case {
    DType dtype;
    std::vector<std::uint8_t> a, b;
    double max_abs;
  };
  const Case cases[] = {
      {DType::Float16, {0x00, 0x3c}, {0x00, 0x40}, 1},   // 1, 2
      {DType::Bfloat16, {0x80, 0x3f}, {0x40, 0xc0}, 4},  // 1, −3
      {DType::Float8E5M2, {0x3c}, {0x44}, 3},            // 1, 4
      {DType::Float8E4M3FN, {0x38}, {0x7e}, 447},        // 1, 448
      {DType::Float8E4M3FNUZ, {0x40}, {0x7f}, 239},      // 1, 240
      {DType::Float8E5M2FNUZ, {0x40}, {0xc0}, 2},        // 1, −1
      {DType::Float8E4M3B11FNUZ, {0x58}, {0x60}, 1},     // 1, 2
      {DType::Float4E2M1FN, {0x02}, {0x0f}, 7},          // 1, −6
      {DType::Int4, {0x07}, {0x08}, 15},                 // 7, −8
      {DType::Uint4, {0x07}, {0x0f}, 8},
      {DType::Int2, {0x01}, {0x02}, 3},  // 1, −2
      {DType::Bool, {0x00}, {0x01}, 1},
      {DType::Qint8, {0x80}, {0x7f}, 255},
      {DType::Uint16, {0x00, 0x01}, {0x00, 0x00}, 256},
  };
  for (const Case& one : cases) {
    CAPTURE(std::string(name(one.dtype)));
    auto a = numbers("w", one.dtype, one.a);
    auto b = numbers("w", one.dtype, one.b);
    a.spec.shape = b.spec.shape = {1};
    CHECK(values_of(a, b).max_abs == one.max_abs);
    CHECK(values_of(a, b).changed_count == 1);
  }
  using Complex = std::complex<float>;
  const auto complex = values_of(numbers<Complex>("w", DType::Complex64, {{3, 4}, {1, 0}}),
                                 numbers<Complex>("w", DType::Complex64, {{0, 0}, {1, 0}}));
  CHECK(complex.max_abs == 5);
  CHECK(complex.max_rel == 1);
  CHECK(complex.changed_count == 1);
  CHECK(complex.norm_rel == doctest::Approx(5 / std::sqrt(26.0)));
}

TEST_CASE("values: two dtypes of one shape are compared by their numbers") {
  const auto a = numbers<float>("w", DType::Float32, {1, 2, 3.5f});
  const auto b = numbers<std::int32_t>("w", DType::Int32, {1, 2, 3});
  for (const bool tensorflow : {false, true}) {
    const auto values = values_of(a, b, tensorflow);
    CHECK(values.changed_count == 1);
    CHECK(values.max_abs == 0.5);
  }
  const Scratch scratch;
  write_checkpoint(scratch / "a", {a, text("s", {1}, {"x"}), text("t", {1}, {"x"})});
  write_checkpoint(scratch / "b",
                   {numbers<std::complex<float>>("w", DType::Complex64, {1, 2, 3}),
                    text("t", {1}, {"y"}), numbers<float>("s", DType::Float32, {1})});
  const auto first = open_checkpoint(scratch / "a");
  const auto second = open_checkpoint(scratch / "b");
  const Diff found = diff_of(first, second, {.values = true});
  CHECK(said(found) == Lines{"dtype s", "content t", "dtype w"});
  for (const TensorDifference& one : found.tensors) CHECK_FALSE(one.values);
}

TEST_CASE("values: what changed most comes first, whatever the threads") {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> large(kMiB);
  for (float& value : large) value = normal(random);
  std::vector<float> moved = large;
  for (float& value : moved) value += 0.01f * normal(random);
  const Contents before = {numbers("a", DType::Float32, large),
                           numbers<float>("b", DType::Float32, {1, 1}), raw("z", DType::Int8, {1})};
  const Contents after = {numbers("a", DType::Float32, moved),
                          numbers<float>("b", DType::Float32, {1, 2})};
  const Scratch scratch;
  const auto a = open_checkpoint(write_as(Kind::Safetensors, scratch / "a", before));
  const auto b = open_checkpoint(write_as(Kind::Safetensors, scratch / "b", after));
  std::vector<ValueDifference> seen;
  for (const unsigned threads : {1u, 4u}) {
    const Diff found = diff_of(a, b, {.values = true, .exec = {.threads_max = threads}});
    CHECK(said(found) == Lines{"content b", "content a", "removed z"});
    seen.push_back(*found.tensors[1].values);
  }
  CHECK(seen[0].norm_rel == seen[1].norm_rel);
  CHECK(seen[0].cosine == seen[1].cosine);
  CHECK(seen[0].norm_rel == doctest::Approx(0.01).epsilon(0.05));
  long double dd = 0, aa = 0, bb = 0, ab = 0, most = 0;
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < large.size(); ++i) {
    const long double x = large[i], y = moved[i];
    dd += (y - x) * (y - x), aa += x * x, bb += y * y, ab += x * y;
    most = std::max(most, std::abs(y - x));
    count += x != y;
  }
  CHECK(seen[0].changed_count == count);
  CHECK(seen[0].max_abs == static_cast<double>(most));
  CHECK(seen[0].norm_rel == doctest::Approx(static_cast<double>(std::sqrt(dd / std::max(aa, bb)))));
  CHECK(seen[0].cosine == doctest::Approx(static_cast<double>(ab / std::sqrt(aa * bb))));
}

// ---- Against the simplest implementation

Lines expected(const Contents& before, const Contents& after) {
  std::map<std::string, const Content*> a, b;
  for (const Content& content : before) a[content.spec.name] = &content;
  for (const Content& content : after) b[content.spec.name] = &content;
  std::map<std::string, std::string> lines;
  std::set<std::string> taken;
  const auto is_same = [](const Content& one, const Content& other) {
    return one.spec.dtype == other.spec.dtype && one.spec.shape == other.spec.shape &&
           one.bytes == other.bytes;
  };
  for (const auto& [name, content] : a) {
    if (const auto found = b.find(name); found != b.end()) {
      const Content& other = *found->second;
      if (content->spec.dtype != other.spec.dtype)
        lines[name] = "dtype " + name;
      else if (content->spec.shape != other.spec.shape)
        lines[name] = "shape " + name;
      else if (content->bytes != other.bytes)
        lines[name] = "content " + name;
      continue;
    }
    lines[name] = "removed " + name;
    for (const auto& [new_name, other] : b) {
      if (a.contains(new_name) || taken.contains(new_name) || !is_same(*content, *other)) continue;
      lines[name] = "renamed " + name + " " + new_name;
      taken.insert(new_name);
      break;
    }
  }
  for (const auto& [name, content] : b)
    if (!a.contains(name) && !taken.contains(name)) lines[name] = "added " + name;
  Lines result;
  for (const auto& [name, line] : lines) result.push_back(line);
  return result;
}

TEST_CASE("random pairs of checkpoints differ as the simplest comparison says") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  const auto upto = [&](std::uint64_t count) { return random() % count; };
  const auto any = [&] {
    const DType dtypes[] = {DType::Float32, DType::Int8, DType::Int32};
    const std::string name(1 + upto(2), static_cast<char>('a' + upto(8)));
    Content content =
        raw(name, dtypes[upto(3)],
            {static_cast<std::int64_t>(upto(3)), static_cast<std::int64_t>(1 + upto(2))});
    for (std::byte& byte : content.bytes) byte = static_cast<std::byte>(upto(2));
    if (upto(20) == 0) {
      content.spec.shape = {static_cast<std::int64_t>(300'000 + upto(1'000'000))};
      content.bytes.assign(test::count_of(content.spec.shape) * element_bytes(content.spec.dtype),
                           std::byte{3});
    }
    return content;
  };
  const auto add = [](Contents& contents, Content content) {
    std::erase_if(contents, [&](const Content& one) { return one.spec.name == content.spec.name; });
    contents.push_back(std::move(content));
  };
  for (int round = 0; round < 60; ++round) {
    Contents before;
    for (std::uint64_t i = upto(20); i > 0; --i) add(before, any());
    Contents after = before;
    for (std::uint64_t i = upto(6); i > 0; --i) {
      if (upto(2) == 0 || after.empty()) {
        add(after, any());
        continue;
      }
      Content& one = after[upto(after.size())];
      if (upto(2) == 0 && !one.bytes.empty())
        one.bytes[upto(one.bytes.size())] ^= std::byte{4};
      else
        add(after, renamed(Content(one), "new" + std::to_string(i)));
    }
    if (!after.empty() && upto(2) == 0) after.erase(after.begin());
    if (before.empty() || after.empty()) continue;
    const Scratch scratch;
    const auto a = open_checkpoint(write_as(kKinds[upto(3)], scratch / "a", before));
    const auto b = open_checkpoint(write_as(kKinds[upto(3)], scratch / "b", after));
    CAPTURE(round);
    const DiffOptions options{.ranges = upto(2) == 0,
                              .exec = {.threads_max = static_cast<unsigned>(1 + upto(3))}};
    const Diff found = diff_of(a, b, options);
    CHECK(said(found) == expected(before, after));
  }
}

}  // namespace
}  // namespace cairn
