// What a program goes through a checkpoint with: iterators, ranges of names, metadata, the digest.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "cairn/cairn.h"
#include "tests/unit/scratch.h"

namespace cairn {
namespace {

using test::Content;
using test::open_checkpoint;
using test::raw;
using test::refusal;
using test::Scratch;
using test::text;
using test::write_checkpoint;

static_assert(std::random_access_iterator<TensorIterator>);
static_assert(std::ranges::random_access_range<Checkpoint>);

std::vector<std::string> names_of(auto&& tensors) {
  std::vector<std::string> names;
  for (const Tensor& tensor : tensors) names.emplace_back(tensor.name());
  return names;
}

TEST_CASE("a loop goes through the tensors by their names, and so do algorithms") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("b", DType::Int8, {3}), raw("a", DType::Int16, {3}),
                                   raw("a\xff", DType::Int8, {3})});
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(names_of(checkpoint) == std::vector<std::string>{"a", "a\xff", "b"});
  CHECK(checkpoint.end() - checkpoint.begin() == 3);
  CHECK(checkpoint.begin()[2].name() == "b");
  CHECK((*--checkpoint.end()).name() == "b");
  CHECK((*(1 + checkpoint.begin())).name() == "a\xff");
  CHECK(std::ranges::count(checkpoint, DType::Int8, &Tensor::dtype) == 2);
  CHECK(names_of(*Checkpoint::open(scratch / "p")).size() == 3);  // a temporary, kept by the loop
}

TEST_CASE("the tensors below a prefix are those whose names begin with it") {
  const Scratch scratch;
  std::vector<Content> contents;
  for (const char* const name : {"a", "h.0/w", "h.0", "h.00", "h.1/w", "h", "h.\xff", "i"})
    contents.push_back(raw(name, DType::Int8, {1}));
  write_checkpoint(scratch / "p", contents);
  const auto checkpoint = open_checkpoint(scratch / "p");
  for (const std::string prefix : {"", "a", "h", "h.", "h.0", "h.0/", "h.\xff", "z", "hh"}) {
    CAPTURE(prefix);
    std::vector<std::string> wanted = names_of(checkpoint);
    std::erase_if(wanted, [&](const std::string& name) { return !name.starts_with(prefix); });
    CHECK(names_of(checkpoint.tensors_with_prefix(prefix)) == wanted);
  }
}

TEST_CASE("all metadata is gone through in one loop") {
  const Scratch scratch;
  WriterOptions options;
  options.metadata = {{"seed", "7"}, {"epoch", "3"}};
  auto writer = Writer::create(scratch / "p", {}, options);
  REQUIRE_OK(writer);
  REQUIRE_OK(writer->commit());
  const auto checkpoint = open_checkpoint(scratch / "p");
  std::string all;
  for (const auto& [key, value] : checkpoint.metadata())
    all += std::string(key) + "=" + std::string(value) + ";";
  CHECK(all == "epoch=3;seed=7;");
}

// ---- The digest

std::string digest_of(const std::filesystem::path& path) {
  const auto digest = open_checkpoint(path).digest();
  if (!digest) return "none";
  return std::string(reinterpret_cast<const char*>(digest->bytes.data()), digest->bytes.size());
}

TEST_CASE(
    "the digest stays through every format, and every other value, name and shape has another") {
  const Scratch scratch;
  const std::vector<Content> contents{raw("a", DType::Float32, {2, 3}),
                                      raw("b", DType::Bfloat16, {5})};
  write_checkpoint(scratch / "p", contents);
  const std::string digest = digest_of(scratch / "p");
  CHECK(digest.size() == 16);
  CHECK(digest == digest_of(scratch / "p"));

  TransferOptions to_safetensors;
  to_safetensors.output = scratch / "s";
  REQUIRE_OK(convert(scratch / "p", Format::Safetensors, to_safetensors));
  CHECK(digest_of(scratch / "s.safetensors") == "none");
  REQUIRE_OK(import_index(scratch / "s.safetensors"));
  CHECK(digest_of(scratch / "s.safetensors") == digest);

  write_checkpoint(scratch / "name",
                   {raw("A", DType::Float32, {2, 3}), raw("b", DType::Bfloat16, {5})});
  write_checkpoint(scratch / "shape",
                   {raw("a", DType::Float32, {3, 2}), raw("b", DType::Bfloat16, {5})});
  write_checkpoint(scratch / "dtype",
                   {raw("a", DType::Int32, {2, 3}), raw("b", DType::Bfloat16, {5})});
  for (const char* const other : {"name", "shape", "dtype"}) {
    CAPTURE(other);
    CHECK(digest_of(scratch / other) != digest);
  }
}

TEST_CASE("only the checkpoint that is pinned by its digest opens") {
  const Scratch scratch;
  write_checkpoint(scratch / "p", {raw("a", DType::Int32, {2})});
  write_checkpoint(scratch / "q", {raw("b", DType::Int32, {2})});
  OpenOptions options;
  options.expected_digest = open_checkpoint(scratch / "p").digest();
  REQUIRE(options.expected_digest);
  CHECK(Checkpoint::open(scratch / "p", options));
  CHECK(refusal(Checkpoint::open(scratch / "q", options),
                {"its digest is", "and not the expected"}) == Code::Invalid);
  RestoreOptions restored;
  restored.expected_digest = options.expected_digest;
  CHECK(restore(scratch / "p", restored));
  CHECK(refusal(restore(scratch / "q", restored), {"its digest is"}) == Code::Invalid);

  TransferOptions to_safetensors;
  to_safetensors.output = scratch / "s";
  REQUIRE_OK(convert(scratch / "p", Format::Safetensors, to_safetensors));
  CHECK(refusal(Checkpoint::open(scratch / "s.safetensors", options),
                {"no digest", "cairn import"}) == Code::Invalid);
}

// ---- Elements

// The definition: (-1)^s 2^(e - bias) (1 + m / 2^bits), and without the 1 where e is 0.
double value_of(unsigned bits, int exponent_bits, int mantissa_bits) {
  const unsigned mantissa = bits & ((1u << mantissa_bits) - 1);
  const unsigned exponent = (bits >> mantissa_bits) & ((1u << exponent_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = (bits >> (exponent_bits + mantissa_bits)) != 0 ? -1 : 1;
  if (exponent == (1u << exponent_bits) - 1)
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity() : std::nan("");
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias)
                       : sign * std::ldexp(1 + fraction, static_cast<int>(exponent) - bias);
}

TEST_CASE("every half and every bfloat16 becomes the float of its value") {
  const auto same = [](float got, double wanted) {
    return std::isnan(wanted) ? std::isnan(got)
                              : got == wanted && std::signbit(got) == std::signbit(wanted);
  };
  for (unsigned bits = 0; bits <= 0xffff; ++bits) {
    CAPTURE(bits);
    const auto word = static_cast<std::uint16_t>(bits);
    REQUIRE(same(to_float(Half{word}), value_of(bits, 5, 10)));
    REQUIRE(same(to_float(BFloat16{word}), value_of(bits, 8, 7)));
  }
}

TEST_CASE("elements are written by their type, and another one is refused") {
  const Scratch scratch;
  auto writer =
      Writer::create(scratch / "p", {{"f", DType::Float32, {3}}, {"h", DType::Float16, {1}}});
  REQUIRE_OK(writer);
  const std::vector<float> values{1, 2.5, -3};
  CHECK(refusal(writer->write("f", std::vector<double>{1, 2, 3}),
                {"\"f\" is float32", "float64"}) == Code::Invalid);
  CHECK(refusal(writer->write("g", values), {"\"g\""}) == Code::NotFound);
  REQUIRE_OK(writer->write("f", std::span(values)));
  REQUIRE_OK(writer->write("h", std::array{Half{0x3c00}}));
  REQUIRE_OK(writer->commit());
  const auto checkpoint = open_checkpoint(scratch / "p");
  CHECK(*checkpoint.tensor("f")->values<float>() == values);
  CHECK(to_float(checkpoint.tensor("h")->values<Half>()->front()) == 1.0f);
}

}  // namespace
}  // namespace cairn
