// Tensors that do not lie row-major or little-endian in a file of another format.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <numeric>
#include <random>

#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "format/cairn/index.h"
#include "format/checked.h"
#include "format/digest.h"
#include "format/dtype.h"
#include "tests/unit/naive.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using format::TensorFacts;
using test::bytes_of;
using test::open_checkpoint;
using test::refusal;
using test::Scratch;
using test::tensor_of;

struct Laid {
  TensorFacts facts;
  std::vector<std::byte> values;  // row-major, native
};

// Calls `visit` with the element's number, row-major, and where it lies.
template <class Visit>
void for_each_element(const TensorFacts& tensor, Visit visit) {
  const std::uint64_t count = *format::element_count(tensor.shape);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t rest = i;
    std::uint64_t at = 0;
    for (std::size_t d = tensor.shape.size(); d-- > 0;) {
      const auto size = static_cast<std::uint64_t>(tensor.shape[d]);
      at += rest % size * static_cast<std::uint64_t>(tensor.strides[d]);
      rest /= size;
    }
    visit(i, at);
  }
}

// Any order of dimensions, with room behind some of them.
void stride(TensorFacts& tensor, std::mt19937_64& random) {
  std::vector<std::size_t> order(tensor.shape.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::shuffle(order, random);
  tensor.strides.resize(order.size());
  std::int64_t step = random() % 4 == 0 ? 2 : 1;
  for (const std::size_t d : order) {
    tensor.strides[d] = step;
    step = step * std::max<std::int64_t>(tensor.shape[d], 1) +
           static_cast<std::int64_t>(random() % 3 == 0);
  }
}

std::uint64_t stored_elements(const TensorFacts& tensor) {
  std::uint64_t last = 0;
  for_each_element(tensor, [&](std::uint64_t, std::uint64_t at) { last = std::max(last, at + 1); });
  return last;
}

// A checkpoint over one file that holds these tensors.
class Made {
 public:
  explicit Made(std::uint64_t seed) : random_(seed) {
    facts_.producer = "cairn test";
    file_.resize(16);
    for (int i = 0; i < 6; ++i) add("t" + std::to_string(i));
    const std::string name = "m.data-00000-of-00001";
    write(name, file_);
    facts_.shards = {{name,
                      format::ShardKind::AnyFile,
                      {file_.size(), 1, 1},
                      16,
                      format::crc32c(std::span(file_).first(16)),
                      file_.size() - 16}};
    for (const Laid& each : laid_) facts_.tensors.push_back(each.facts);
    const auto index = format::encode_index(facts_);
    REQUIRE_MESSAGE(index.has_value(), index.error().what);
    write("m.cairn", *index);
  }

  std::filesystem::path prefix() const { return scratch_ / "m"; }
  std::filesystem::path in(const char* name) const { return scratch_ / name; }
  std::span<const Laid> laid() const { return laid_; }
  std::mt19937_64& random() { return random_; }

 private:
  void write(const std::string& name, std::span<const std::byte> bytes) {
    std::ofstream(scratch_ / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }

  void add(std::string name) {
    constexpr std::array kDTypes{DType::Uint8, DType::Int16, DType::Float32, DType::Complex128};
    Laid made;
    TensorFacts& facts = made.facts;
    facts.name = std::move(name);
    facts.dtype = kDTypes[random_() % kDTypes.size()];
    for (std::uint64_t rank = 1 + random_() % 4; rank > 0; --rank)
      facts.shape.push_back(static_cast<std::int64_t>(random_() % 8 == 0 ? 0 : 1 + random_() % 9));
    stride(facts, random_);
    const std::uint32_t element = element_bytes(facts.dtype);
    facts.other_byte_order = element > 1 && random_() % 3 == 0;
    made.values = test::random_bytes(*format::element_count(facts.shape) * element, random_());
    const std::size_t begin = file_.size();
    file_.resize(begin + stored_elements(facts) * element);
    const std::uint32_t width = *format::swap_bytes(facts.dtype);
    for_each_element(facts, [&](std::uint64_t number, std::uint64_t at) {
      std::byte* to = file_.data() + begin + at * element;
      std::memcpy(to, made.values.data() + number * element, element);
      for (std::uint32_t i = 0; facts.other_byte_order && i < element; i += width)
        std::reverse(to + i, to + i + width);
    });
    facts.span = {0, begin, file_.size() - begin, format::crc32c(std::span(file_).subspan(begin))};
    laid_.push_back(std::move(made));
  }

  Scratch scratch_;
  std::mt19937_64 random_;
  format::IndexFacts facts_;
  std::vector<std::byte> file_;
  std::vector<Laid> laid_;
};

std::vector<Range> random_slice(std::span<const std::int64_t> shape, std::mt19937_64& random) {
  std::vector<Range> slice;
  for (const std::int64_t size : shape) {
    const auto start = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(size + 1));
    slice.push_back({start, static_cast<std::int64_t>(
                                random() % static_cast<std::uint64_t>(size - start + 1))});
  }
  return slice;
}

TEST_CASE("elements in any order are read row-major and native, whole and in part") {
  const std::uint64_t seed = std::random_device()();
  INFO("seed " << seed);
  for (std::uint64_t round = 0; round < 40; ++round) {
    Made made(seed + round);
    const Checkpoint checkpoint = open_checkpoint(made.prefix());
    CHECK(checkpoint.verify()->damage.empty());
    for (const Laid& each : made.laid()) {
      const Tensor tensor = tensor_of(checkpoint, each.facts.name);
      std::vector<std::byte> out(each.values.size());
      REQUIRE_OK(tensor.read(out));
      CHECK(out == each.values);
      const auto slice = random_slice(each.facts.shape, made.random());
      const auto bytes = tensor.read_bytes(slice);
      REQUIRE_OK(bytes);
      std::vector<std::byte> part(*bytes);
      REQUIRE_OK(tensor.read(part, slice));
      CHECK(part == test::naive_slice(each.values, each.facts.shape,
                                      element_bytes(each.facts.dtype), slice));
      std::vector<std::byte> planned(each.values.size());
      const Read reads[] = {{each.facts.name, {}, planned}};
      REQUIRE_OK(checkpoint.read(reads));
      CHECK(planned == each.values);
    }
  }
}

TEST_CASE("what is not stored row-major is no view, and goes only into indexes that can say so") {
  Made made(1);
  const Checkpoint checkpoint = open_checkpoint(made.prefix());
  CHECK(refusal(tensor_of(checkpoint, "t0").bytes(), {"values() or read()"}) == Code::Unsupported);
  const auto as_stored = tensor_of(checkpoint, "t0").strided_bytes();
  REQUIRE_OK(as_stored);
  CHECK(as_stored->size() == tensor_of(checkpoint, "t0").size_bytes());
  CHECK(tensor_of(checkpoint, "t0").strides().size() == tensor_of(checkpoint, "t0").shape().size());
  CHECK(refusal(export_index(made.prefix(), Format::TensorFlow),
                {"in an order that TensorFlow cannot read"}) == Code::Unsupported);
  TransferOptions options;
  options.output = made.in("anew");
  REQUIRE_OK(convert(made.prefix(), Format::Cairn, options));
  const Checkpoint anew = open_checkpoint(options.output);
  for (const Laid& each : made.laid()) {
    CHECK(bytes_of(tensor_of(anew, each.facts.name)) == each.values);
    CHECK(tensor_of(anew, each.facts.name).bytes().has_value());
    CHECK(tensor_of(anew, each.facts.name).strides().empty());
  }
}

// A matrix, the same with its dimensions exchanged, as PyTorch's w and w.t(), and the same in the
// other byte order.
TEST_CASE("tensors over the same bytes are tied only if their elements lie alike") {
  const Scratch scratch;
  const std::array<std::uint16_t, 4> values{1, 2, 3, 4};
  const auto bytes = std::as_bytes(std::span(values));
  std::ofstream(scratch / "m.bin", std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()), sizeof values);
  format::IndexFacts facts;
  facts.shards = {{"m.bin", format::ShardKind::AnyFile, {8, 1, 1}, 0, 0, 8}};
  TensorFacts plain;
  plain.dtype = DType::Uint16;
  plain.shape = {2, 2};
  plain.span = {0, 0, 8, format::crc32c(bytes)};
  TensorFacts turned = plain;
  turned.strides = {1, 2};
  TensorFacts swapped = plain;
  swapped.other_byte_order = true;
  for (auto [tensor, name] :
       {std::pair{plain, "a"}, std::pair{turned, "b"}, std::pair{swapped, "c"},
        std::pair{plain, "d"}, std::pair{turned, "e"}}) {
    tensor.name = name;
    facts.tensors.push_back(std::move(tensor));
  }
  const auto index = format::encode_index(facts);
  REQUIRE_MESSAGE(index.has_value(), index.error().what);
  std::ofstream(scratch / "m.cairn", std::ios::binary)
      .write(reinterpret_cast<const char*>(index->data()),
             static_cast<std::streamsize>(index->size()));
  using Values = std::vector<std::uint16_t>;
  for (const Format target : {Format::Cairn, Format::TensorFlow, Format::Safetensors}) {
    TransferOptions options;
    options.output = scratch / (std::string(name(target)) + ".safetensors");
    const auto done = convert(scratch / "m", target, options);
    REQUIRE_OK(done);
    const Checkpoint anew = open_checkpoint(done->prefix);
    const auto read = [&](const char* name) {
      return *tensor_of(anew, name).values<std::uint16_t>();
    };
    CHECK(read("a") == Values{1, 2, 3, 4});
    CHECK(read("b") == Values{1, 3, 2, 4});
    CHECK(read("c") == Values{0x100, 0x200, 0x300, 0x400});
    CHECK(read("d") == Values{1, 2, 3, 4});
    CHECK(read("e") == Values{1, 3, 2, 4});
  }
}

TEST_CASE("a damaged tensor with strides is refused, whole and in part") {
  Made made(2);
  const auto& first = made.laid().front();
  REQUIRE(first.facts.span.size_bytes != 0);
  test::flip_bit(made.in("m.data-00000-of-00001"), first.facts.span.offset_bytes);
  const Checkpoint checkpoint = open_checkpoint(made.prefix());
  const Tensor tensor = tensor_of(checkpoint, first.facts.name);
  std::vector<std::byte> out(first.values.size());
  CHECK(refusal(tensor.read(out), {"is damaged"}) == Code::Corrupt);
  CHECK(checkpoint.verify()->damage.size() == 1);
}

}  // namespace
}  // namespace cairn
