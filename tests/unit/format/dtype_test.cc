#include "format/dtype.h"

#include <doctest/doctest.h>

#include <string>

namespace cairn::format {
namespace {

constexpr std::uint64_t kNumbers = 34;  // TensorFlow's run from 1 to 33

TEST_CASE("every dtype is found again by its number and by its name") {
  for (std::uint64_t number = 1; number < kNumbers; ++number) {
    const auto dtype = dtype_from_number(number);
    REQUIRE(dtype.has_value());
    CHECK(static_cast<std::uint64_t>(*dtype) == number);
    CHECK(dtype_from_name(name(*dtype)) == dtype);
  }
}

TEST_CASE("numbers and names that TensorFlow cannot store are none") {
  for (const std::uint64_t number : {0ull, 34ull, 101ull, 133ull, 256ull, ~0ull}) {
    CHECK_FALSE(dtype_from_number(number).has_value());
  }
  for (const char* text : {"", "invalid", "opaque", "Float32", "float", "DT_FLOAT"}) {
    CHECK_FALSE(dtype_from_name(text).has_value());
  }
  CHECK(name(static_cast<DType>(34)) == "invalid");
  CHECK(name(DType::Opaque) == "opaque");
}

TEST_CASE("a bundle holds every dtype but resources") {
  for (std::uint64_t number = 1; number < kNumbers; ++number) {
    const auto dtype = static_cast<DType>(number);
    CHECK(storable(dtype) == (dtype != DType::Resource));
  }
  CHECK_FALSE(storable(DType::Invalid));
  CHECK_FALSE(storable(DType::Opaque));
  CHECK_FALSE(storable(static_cast<DType>(34)));
}

TEST_CASE("elements have TensorFlow's stored sizes, sub-byte types one byte each") {
  CHECK(element_bytes(DType::Float32) == 4);
  CHECK(element_bytes(DType::Bfloat16) == 2);
  CHECK(element_bytes(DType::Complex128) == 16);
  CHECK(element_bytes(DType::Bool) == 1);
  for (const DType dtype : {DType::Int4, DType::Uint4, DType::Int2, DType::Uint2,
                            DType::Float4E2M1FN, DType::Float8E5M2}) {
    CHECK(element_bytes(dtype) == 1);
  }
  for (const DType dtype : {DType::Invalid, DType::String, DType::Variant, DType::Resource,
                            DType::Opaque, static_cast<DType>(99)}) {
    CHECK(element_bytes(dtype) == 0);
  }
}

TEST_CASE("a storage dtype is as wide as what it stores, and stores itself") {
  for (std::uint64_t number = 1; number < kNumbers; ++number) {
    const auto dtype = static_cast<DType>(number);
    CAPTURE(std::string(name(dtype)));
    CHECK(element_bytes(storage_dtype(dtype)) == element_bytes(dtype));
    CHECK(storage_dtype(storage_dtype(dtype)) == storage_dtype(dtype));
  }
  CHECK(storage_dtype(DType::Bool) == DType::Uint8);
  CHECK(storage_dtype(DType::Qint16) == DType::Int16);
  CHECK(storage_dtype(DType::Int4) == DType::Uint8);
  CHECK(storage_dtype(DType::Bfloat16) == DType::Bfloat16);
}

TEST_CASE("the other byte order is known for what TensorFlow swaps, and for nothing else") {
  CHECK(swap_bytes(DType::Complex64) == 4);
  CHECK(swap_bytes(DType::Complex128) == 8);
  CHECK(swap_bytes(DType::Qint16) == 2);
  CHECK(swap_bytes(DType::Bool) == 1);
  CHECK(swap_bytes(DType::String) == 1);
  for (const DType dtype : {DType::Variant, DType::Resource, DType::Float8E4M3FN, DType::Int4,
                            DType::Float4E2M1FN, DType::Opaque}) {
    CHECK_FALSE(swap_bytes(dtype).has_value());
  }
}

TEST_CASE("a safetensors name leads back to its dtype") {
  int count = 0;
  for (std::uint64_t number = 1; number < kNumbers; ++number) {
    const auto dtype = static_cast<DType>(number);
    const std::string_view text = safetensors_name(dtype, false);
    if (text.empty()) continue;
    ++count;
    CHECK(dtype_from_safetensors(text) == dtype);
  }
  CHECK(count == 18);
  for (const char* text : {"", "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "f32"}) {
    CHECK_FALSE(dtype_from_safetensors(text).has_value());
  }
}

TEST_CASE("names that only the newest safetensors readers know are not written") {
  for (const DType dtype : {DType::Complex64, DType::Float8E4M3FNUZ, DType::Float8E5M2FNUZ}) {
    CHECK_FALSE(safetensors_name(dtype, false).empty());
    CHECK(safetensors_name(dtype, true).empty());
  }
  CHECK(safetensors_name(DType::Float8E4M3FN, true) == "F8_E4M3");
  CHECK(safetensors_name(DType::Bool, true) == "BOOL");
}

}  // namespace
}  // namespace cairn::format
