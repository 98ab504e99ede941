#include "cast.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace cairn::tools {
namespace {

constexpr std::array kFloats{DType::Float64, DType::Float32, DType::Float16, DType::Bfloat16};

std::optional<DType> float_named(std::string_view word) {
  for (const DType dtype : kFloats) {
    if (name(dtype) == word) return dtype;
  }
  return std::nullopt;
}

// Nothing: it is no cast.
std::optional<Cast> parsed(std::string_view word) {
  const std::size_t at = word.find('=');
  if (at == std::string_view::npos) return std::nullopt;
  const auto from = float_named(word.substr(0, at));
  const auto to = float_named(word.substr(at + 1));
  if (!from || !to) return std::nullopt;
  return Cast{*from, *to};
}

// Why a word is no cast; empty: it is one.
std::string bad_cast(const std::string& word) {
  const auto cast = parsed(word);
  if (!cast)
    return "'" + word + "' is not FROM=TO with two of float64, float32, float16 and bfloat16";
  return cast->from == cast->to ? "'" + word + "' changes nothing: both are the same dtype" : "";
}

}  // namespace

void add_casts(CommandLine& line, std::vector<Cast>& casts) {
  const auto take = [&casts](const std::string& word) { casts.push_back(*parsed(word)); };
  line.add_each("--cast", take, "FROM=TO",
                "Write all tensors of the dtype FROM with the dtype TO, such as\n"
                "float32=bfloat16; may be repeated")
      .check(bad_cast);
}

void add_cast_counts(Json& json, std::span<const CastCounts> casts) {
  json.begin_array("casts");
  for (const CastCounts& counts : casts) {
    json.begin_object()
        .text("from", name(counts.cast.from))
        .text("to", name(counts.cast.to))
        .number("tensors", counts.tensor_count)
        .number("values", counts.value_count)
        .number("became_infinite", counts.became_infinite)
        .number("became_zero", counts.became_zero)
        .end_object();
  }
  json.end_array();
}

void print_cast_counts(std::span<const CastCounts> casts) {
  for (const CastCounts& counts : casts) {
    print(fmt::format("  {} → {}: {}, {}\n", name(counts.cast.from), name(counts.cast.to),
                      count_of(counts.tensor_count, "tensor"),
                      count_of(counts.value_count, "value")));
  }
}

}  // namespace cairn::tools
