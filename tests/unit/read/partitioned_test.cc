// Partitioned variables: any grid of slices, in any order, of every dtype, whole and in part.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <random>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "format/digest.h"
#include "format/dtype.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "lib/read/slices.h"
#include "tests/unit/golden.h"
#include "tests/unit/naive.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using format::SliceFacts;
using format::TensorFacts;
using internal::Box;
using test::bytes_of;
using test::open_checkpoint;
using test::refusal;
using test::Scratch;
using test::tensor_of;

constexpr Access kAccesses[]{Access::Shared, Access::Private, Access::Copy};

OpenOptions access_by(Access access, Verify verify = Verify::Lazy) {
  OpenOptions options;
  options.access = access;
  options.verify = verify;
  return options;
}

// ---- Making them

// A partitioned variable and the boxes that it is stored in, in this order.
struct Variable {
  std::string name;
  DType dtype{};
  std::vector<std::int64_t> shape;
  std::vector<Box> boxes;
  std::vector<std::byte> bytes;      // the whole, row-major; of strings: nothing
  std::vector<std::string> strings;  // likewise
};

// Splits boxes at random places until there are `count`, or none can be split, and shuffles them.
std::vector<Box> random_boxes(std::mt19937_64& random, std::span<const std::int64_t> shape,
                              std::size_t count) {
  std::vector<Box> boxes{internal::whole_box(shape)};
  for (int attempt = 0; attempt < 200 && boxes.size() < count && !shape.empty(); ++attempt) {
    Box& box = boxes[random() % boxes.size()];
    const std::size_t d = random() % shape.size();
    if (box[d].count < 2) continue;
    const auto head =
        1 + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(box[d].count - 1));
    Box tail = box;
    tail[d] = {box[d].start + head, box[d].count - head};
    box[d].count = head;
    boxes.push_back(std::move(tail));
  }
  std::ranges::shuffle(boxes, random);
  return boxes;
}

Variable variable_of(std::mt19937_64& random, const std::string& name, DType dtype,
                     std::vector<std::int64_t> shape, std::vector<Box> boxes) {
  Variable variable{name, dtype, std::move(shape), std::move(boxes), {}, {}};
  const std::uint64_t count = test::count_of(variable.shape);
  if (dtype == DType::String) {
    for (std::uint64_t i = 0; i < count; ++i)
      variable.strings.emplace_back(random() % 40, static_cast<char>('a' + random() % 26));
  } else {
    variable.bytes = test::random_bytes(count * element_bytes(dtype), random());
  }
  return variable;
}

// The stored bytes of one box, and their sum.
struct Stored {
  std::string bytes;
  std::uint32_t crc32c = 0;
};

Stored stored_box(const Variable& variable, const Box& box) {
  if (variable.dtype != DType::String) {
    const auto bytes =
        test::naive_slice(variable.bytes, variable.shape, element_bytes(variable.dtype), box);
    return {std::string(format::as_text(bytes)), format::crc32c(bytes)};
  }
  std::vector<std::string_view> values;
  for (std::size_t i = 0; i < variable.strings.size(); ++i) {
    if (test::lies_in(i, variable.shape, box)) values.push_back(variable.strings[i]);
  }
  auto head = format::tensorflow::encode_string_head(values);
  for (const std::string_view value : values) {
    head.bytes += value;
    head.crc32c = format::crc32c(format::as_bytes(value), head.crc32c);
  }
  return {head.bytes, head.crc32c};
}

// Writes variables as TensorFlow's bundle of `shards.size()` files.
class BundleFiles {
 public:
  explicit BundleFiles(std::size_t shard_count) : shards_(shard_count) {}

  // `gap`: what stands in front of each slice.
  TensorFacts& add(const Variable& variable, std::mt19937_64& random, std::string_view gap = {}) {
    TensorFacts facts;
    facts.name = variable.name;
    facts.dtype = variable.dtype;
    facts.shape = variable.shape;
    if (variable.dtype == DType::String) facts.encoding = format::Encoding::TensorFlowString;
    for (const Box& box : variable.boxes) {
      const Stored stored = stored_box(variable, box);
      const auto shard = static_cast<std::uint32_t>(random() % shards_.size());
      shards_[shard] += gap;
      SliceFacts slice;
      for (std::size_t d = 0; d < box.size(); ++d) {
        const bool whole = box[d].count == variable.shape[d] && random() % 2 == 0;
        slice.extents.push_back(whole ? format::Extent{}
                                      : format::Extent{box[d].start, box[d].count});
      }
      slice.span = {shard, shards_[shard].size(), stored.bytes.size(), stored.crc32c};
      shards_[shard] += stored.bytes;
      facts.slices.push_back(std::move(slice));
    }
    tensors_.push_back(std::move(facts));
    return tensors_.back();
  }

  void write(const std::filesystem::path& prefix) {
    std::ranges::sort(tensors_, {}, &TensorFacts::name);
    format::BundleHeader header;
    header.num_shards = static_cast<std::int32_t>(shards_.size());
    const auto index = format::tensorflow::encode_bundle(header, tensors_);
    REQUIRE(index);
    put(prefix.string() + ".index", *index);
    for (std::uint32_t i = 0; i < shards_.size(); ++i) {
      const auto count = static_cast<std::uint32_t>(shards_.size());
      put(prefix.string() + format::tensorflow::shard_suffix(i, count), shards_[i]);
    }
  }

 private:
  static void put(const std::filesystem::path& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  std::vector<std::string> shards_;
  std::vector<TensorFacts> tensors_;
};

// ---- Reading them

void check_slice(const Tensor& tensor, const Variable& variable, Slice slice) {
  INFO(variable.name);
  if (variable.dtype != DType::String) {
    REQUIRE(bytes_of(tensor, slice) == test::naive_slice(variable.bytes, variable.shape,
                                                         element_bytes(variable.dtype), slice));
    return;
  }
  const auto strings = tensor.strings(slice);
  REQUIRE_OK(strings);
  std::vector<std::string_view> expected;
  for (std::size_t i = 0; i < variable.strings.size(); ++i) {
    if (test::lies_in(i, variable.shape, slice)) expected.push_back(variable.strings[i]);
  }
  REQUIRE(std::ranges::equal(*strings, expected));
}

std::vector<DType> every_dtype() {
  std::vector<DType> dtypes;
  for (std::uint64_t number = 1; number < 64; ++number) {
    const auto dtype = format::dtype_from_number(number);
    if (dtype && format::storable(*dtype) && *dtype != DType::Variant) dtypes.push_back(*dtype);
  }
  return dtypes;
}

TEST_CASE("random slices of random grids of every dtype agree with a walk over each element") {
  const std::uint64_t seed = std::random_device()();
  MESSAGE("seed ", seed);
  std::mt19937_64 random(seed);
  const Scratch scratch;
  std::vector<Variable> variables;
  BundleFiles files(3);
  for (const DType dtype : every_dtype()) {
    for (const std::size_t count : {2u, 5u, 30u}) {
      std::vector<std::int64_t> shape(1 + random() % 4);
      for (std::int64_t& size : shape) size = 2 + static_cast<std::int64_t>(random() % 5);
      auto boxes = random_boxes(random, shape, count);
      variables.push_back(variable_of(random,
                                      std::string(name(dtype)) + "/" + std::to_string(count), dtype,
                                      std::move(shape), std::move(boxes)));
      files.add(variables.back(), random, "gap");
    }
  }
  REQUIRE(variables.size() > 90);
  files.write(scratch / "p");
  for (const Access access : kAccesses) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(access));
    for (const Variable& variable : variables) {
      const Tensor tensor = tensor_of(checkpoint, variable.name);
      CHECK(tensor.partitioned());
      for (int i = 0; i < 10; ++i)
        check_slice(tensor, variable, test::random_slice(random, variable.shape));
      check_slice(tensor, variable, {});
    }
    const auto seen = checkpoint.verify();
    REQUIRE_OK(seen);
    CHECK(seen->damage.empty());
  }
}

TEST_CASE("every dtype survives a conversion of its partitioned variables") {
  std::mt19937_64 random(1);
  const Scratch scratch;
  std::vector<Variable> variables;
  BundleFiles files(2);
  for (const DType dtype : every_dtype()) {
    const std::vector<std::int64_t> shape{4, 6};
    variables.push_back(variable_of(random, std::string(name(dtype)), dtype, shape,
                                    random_boxes(random, shape, 6)));
    files.add(variables.back(), random);
  }
  // More than a block of a conversion.
  const std::vector<std::int64_t> large{700, 1000};
  variables.push_back(
      variable_of(random, "large", DType::Float32, large, random_boxes(random, large, 20)));
  files.add(variables.back(), random);
  files.write(scratch / "p");
  TransferOptions options;
  options.output = scratch / "q";
  REQUIRE_OK(convert(scratch / "p", Format::Cairn, options));
  const auto converted = open_checkpoint(scratch / "q");
  for (const Variable& variable : variables) {
    const Tensor tensor = tensor_of(converted, variable.name);
    CHECK_FALSE(tensor.partitioned());
    check_slice(tensor, variable, {});
  }
}

// ---- Views

// Rows 0 and 1, 2 and 3, … of float32 [2 * count, 3].
std::vector<Box> pairs_of_rows(std::int64_t count) {
  std::vector<Box> boxes;
  for (std::int64_t i = 0; i < count; ++i) boxes.push_back({{2 * i, 2}, {0, 3}});
  return boxes;
}

TEST_CASE("slices that lie one after another in the file are one view, without a copy") {
  std::mt19937_64 random(2);
  const Scratch scratch;
  auto rows = pairs_of_rows(3);
  const auto variable = variable_of(random, "rows", DType::Float32, {6, 3}, rows);
  std::ranges::swap(rows[1], rows[2]);
  const auto shuffled = variable_of(random, "shuffled", DType::Float32, {6, 3}, rows);
  const auto columns =
      variable_of(random, "columns", DType::Float32, {6, 2}, {{{0, 6}, {0, 1}}, {{0, 6}, {1, 1}}});
  const auto plane = variable_of(random, "plane", DType::Float32, {1, 2, 5, 2},
                                 {{{0, 1}, {0, 1}, {0, 3}, {0, 2}},
                                  {{0, 1}, {0, 1}, {3, 2}, {0, 2}},
                                  {{0, 1}, {1, 1}, {0, 5}, {0, 2}}});
  BundleFiles files(1);
  files.add(variable, random);
  files.add(plane, random);
  // Listed in another order than stored: still one view.
  std::ranges::reverse(
      files.add(variable_of(random, "listed", DType::Float32, {6, 3}, pairs_of_rows(3)), random)
          .slices);
  files.add(shuffled, random);
  files.add(columns, random);
  files.write(scratch / "p");
  for (const Access access : kAccesses) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(access));
    for (const std::string_view one_view : {"rows", "plane", "listed"}) {
      INFO(std::string(one_view));
      const Tensor tensor = tensor_of(checkpoint, one_view);
      const auto view = tensor.as<float>();
      REQUIRE_OK(view);
      CHECK(std::ranges::equal(std::as_bytes(*view), bytes_of(tensor)));
      CHECK(view->data() == tensor.as<float>()->data());
      CHECK(tensor.bytes()->size() == view->size_bytes());
    }
    CHECK(std::ranges::equal(std::as_bytes(*tensor_of(checkpoint, "rows").as<float>()),
                             variable.bytes));
    for (const std::string_view scattered : {"shuffled", "columns"}) {
      CHECK(refusal(tensor_of(checkpoint, scattered).bytes(),
                    {"partitioned", "not contiguous", "values()"}) == Code::Unsupported);
    }
  }
}

TEST_CASE("a private view of slices that lie one after another can be written to") {
  std::mt19937_64 random(3);
  const Scratch scratch;
  BundleFiles files(1);
  files.add(variable_of(random, "rows", DType::Float32, {6, 3}, pairs_of_rows(3)), random);
  files.write(scratch / "p");
  const auto checkpoint = open_checkpoint(scratch / "p", access_by(Access::Private));
  const auto view = tensor_of(checkpoint, "rows").as_mutable<float>();
  REQUIRE_OK(view);
  (*view)[17] = 42;
  CHECK(tensor_of(checkpoint, "rows").values<float>()->at(17) == 42);
}

// ---- Overlaps and gaps

TEST_CASE("overlapping slices are refused, also where they do not touch what is asked for") {
  std::mt19937_64 random(4);
  const Scratch scratch;
  BundleFiles files(1);
  files.add(variable_of(random, "v", DType::Float32, {6, 3},
                        {{{0, 2}, {0, 3}}, {{2, 3}, {0, 3}}, {{4, 2}, {0, 3}}}),
            random);
  files.add(variable_of(random, "fine", DType::Float32, {6, 3}, pairs_of_rows(3)), random);
  files.write(scratch / "p");
  const auto checkpoint = open_checkpoint(scratch / "p");
  const Tensor tensor = tensor_of(checkpoint, "v");
  const std::vector<Range> first_row{{0, 1}, {0, -1}};
  CHECK(refusal(tensor.values<float>(), {"\"v\"", "overlap", "1 and 2 of 3"}) == Code::Corrupt);
  CHECK(refusal(tensor.values<float>(first_row), {"overlap"}) == Code::Corrupt);
  CHECK(refusal(checkpoint.verify(), {"overlap"}) == Code::Corrupt);
  CHECK(tensor_of(checkpoint, "fine").values<float>()->size() == 18);
}

TEST_CASE("a gap between slices is refused to those alone who ask for its elements") {
  std::mt19937_64 random(5);
  const Scratch scratch;
  BundleFiles files(1);
  const std::vector<Box> boxes{{{0, 2}, {0, 3}}, {{4, 2}, {0, 3}}};
  const auto numbers = variable_of(random, "n", DType::Float16, {6, 3}, boxes);
  const auto strings = variable_of(random, "s", DType::String, {6, 3}, boxes);
  // As large as nobody's memory: what is missing must not be allocated.
  const auto huge = variable_of(random, "h", DType::Float32, {4, 3}, {{{0, 2}, {0, 3}}});
  files.add(numbers, random);
  files.add(strings, random);
  files.add(huge, random).shape = {std::int64_t{1} << 58, 3};
  files.write(scratch / "p");
  const auto checkpoint = open_checkpoint(scratch / "p");
  const std::vector<Range> there{{4, 2}, {1, 2}};
  check_slice(tensor_of(checkpoint, "n"), numbers, there);
  check_slice(tensor_of(checkpoint, "s"), strings, there);
  CHECK(refusal(tensor_of(checkpoint, "n").values<Half>(), {"gaps", "12 of its 18"}) ==
        Code::Corrupt);
  CHECK(refusal(tensor_of(checkpoint, "s").strings(), {"gaps"}) == Code::Corrupt);
  CHECK(refusal(tensor_of(checkpoint, "h").values<float>(), {"gaps"}) == Code::Corrupt);
  REQUIRE_OK(checkpoint.verify());
}

// ---- What is read

TEST_CASE("damage in one slice hurts only who asks for its elements") {
  std::mt19937_64 random(6);
  const Scratch scratch;
  BundleFiles files(1);
  const auto variable = variable_of(random, "v", DType::Uint16, {6, 3}, pairs_of_rows(3));
  const auto strings = variable_of(random, "w", DType::String, {6, 3}, pairs_of_rows(3));
  const auto hurt = files.add(variable, random).slices[1].span.offset_bytes;
  const auto slice = files.add(strings, random).slices[1].span;
  files.write(scratch / "p");
  const auto shard = scratch / "p.data-00000-of-00001";
  test::flip_bit(shard, hurt + 3);
  test::flip_bit(shard, slice.offset_bytes + slice.size_bytes - 1);
  const auto checkpoint = open_checkpoint(scratch / "p");
  const std::vector<Range> fine{{4, 2}, {0, -1}};
  const std::vector<Range> damaged{{1, 2}, {0, -1}};
  for (const Variable* each : {&variable, &strings}) {
    const Tensor tensor = tensor_of(checkpoint, each->name);
    check_slice(tensor, *each, fine);
    check_slice(tensor, *each, fine);
  }
  CHECK(refusal(tensor_of(checkpoint, "v").values<std::uint16_t>(damaged), {"damaged"}) ==
        Code::Corrupt);
  CHECK(refusal(tensor_of(checkpoint, "v").values<std::uint16_t>()) == Code::Corrupt);
  CHECK(refusal(tensor_of(checkpoint, "v").as<std::uint16_t>()) == Code::Corrupt);
  CHECK(refusal(tensor_of(checkpoint, "w").strings(damaged), {"damaged"}) == Code::Corrupt);
  CHECK(checkpoint.verify()->damage.size() == 2);
}

// Bytes that this process has read by system calls since it started.
std::uint64_t bytes_read() {
  std::ifstream io("/proc/self/io");
  std::string word;
  std::uint64_t bytes = 0;
  io >> word >> bytes;
  return bytes;
}

TEST_CASE("a slice reads the chunks it touches, and unchecked no more than was asked for") {
  constexpr std::uint64_t kChunk = 1u << 20;
  const Scratch scratch;
  test::write_checkpoint(scratch / "p", {test::raw("w", DType::Float32, {8 << 10, 1 << 10})});
  const std::vector<Range> few{{5000, 1}, {100, 10}};
  const auto cost = [&](Verify verify) {
    const auto checkpoint = open_checkpoint(scratch / "p", access_by(Access::Shared, verify));
    const Tensor tensor = tensor_of(checkpoint, "w");
    const std::uint64_t before = bytes_read();
    CHECK(tensor.values<float>(few)->size() == 10);
    const std::uint64_t first = bytes_read() - before;
    CHECK(tensor.values<float>(few)->size() == 10);
    const std::uint64_t both = bytes_read() - before;
    return std::array{first, both - first};
  };
  // The loop counts its own look at the counter: some hundred bytes.
  CHECK(cost(Verify::None)[0] < 1000);
  CHECK(cost(Verify::Lazy)[0] > kChunk);
  CHECK(cost(Verify::Lazy)[0] < kChunk + 1000);
  CHECK(cost(Verify::Lazy)[1] < 1000);
}

TEST_CASE("damage to one chunk hurts only who asks for its elements") {
  const Scratch scratch;
  test::write_checkpoint(scratch / "p", {test::raw("w", DType::Uint8, {3 << 20})});
  const auto offset = tensor_of(open_checkpoint(scratch / "p"), "w").offset_bytes();
  test::flip_bit(scratch / "p.data-00000-of-00001", offset + (1 << 20) + 17);
  const auto checkpoint = open_checkpoint(scratch / "p");
  const Tensor tensor = tensor_of(checkpoint, "w");
  const std::vector<Range> first{{0, 1 << 20}};
  const std::vector<Range> last{{2 << 20, -1}};
  const std::vector<Range> across{{(1 << 20) - 1, 2}};
  REQUIRE_OK(tensor.values<std::uint8_t>(first));
  REQUIRE_OK(tensor.values<std::uint8_t>(last));
  CHECK(refusal(tensor.values<std::uint8_t>(across),
                {"bytes " + std::to_string(offset + (1 << 20)) + " to"}) == Code::Corrupt);
  CHECK(refusal(tensor.bytes()) == Code::Corrupt);
}

}  // namespace
}  // namespace cairn
