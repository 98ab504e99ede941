#include "format/torch/exported.h"

#include <array>
#include <cstdint>
#include <new>
#include <unordered_map>
#include <utility>

#include <simdjson.h>

#include "format/le.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "lib/try.h"

namespace cairn::format::torch {
namespace {

using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::object;

// simdjson does not say where in the text a part was: complaints point at its start.
template <class... Parts>
[[gnu::cold, gnu::noinline]] DecodeError refuse(const Parts&... parts) {
  return corrupt(0, sentence(parts...));
}

// By the numbers of PyTorch's export schema; empty: no such number.
std::string_view dtype_numbered(std::int64_t number) noexcept {
  constexpr std::array<std::string_view, 36> kNames = {"",
                                                       "uint8",
                                                       "int8",
                                                       "int16",
                                                       "int32",
                                                       "int64",
                                                       "float16",
                                                       "float32",
                                                       "float64",
                                                       "complex32",
                                                       "complex64",
                                                       "complex128",
                                                       "bool",
                                                       "bfloat16",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "",
                                                       "uint16",
                                                       "float8_e4m3fn",
                                                       "float8_e5m2",
                                                       "float8_e4m3fnuz",
                                                       "float8_e5m2fnuz",
                                                       "float8_e8m0fnu",
                                                       "uint32",
                                                       "uint64"};
  if (number < 0 || number >= static_cast<std::int64_t>(kNames.size())) return {};
  return kNames[static_cast<std::size_t>(number)];
}

// {"as_int": N}, 0 and more.
bool take_integer(element value, std::int64_t& number) {
  return value["as_int"].get(number) == simdjson::SUCCESS && number >= 0;
}

bool take_integers(element value, std::vector<std::int64_t>& numbers) {
  array all;
  if (value.get(all) || all.size() > limits::kRankMax) return false;
  for (const element each : all) {
    std::int64_t number = 0;
    if (!take_integer(each, number)) return false;
    numbers.push_back(number);
  }
  return true;
}

class Reader {
 public:
  explicit Reader(const std::function<std::optional<std::uint64_t>(std::string_view)>& size_of)
      : size_of_(size_of) {}

  // Whether the tensor was left out or read. Its errors have no name yet.
  Decoded<void> read(std::string_view name, element entry) {
    auto tensor = tensor_of(entry);
    if (tensor) {
      tensor->facts.name = name;
      made_.tensors.push_back(*std::move(tensor));
      return {};
    }
    DecodeError error = std::move(tensor).error();
    if (error.code != Code::Unsupported) return refuse("tensor ", quoted(name), ": ", error.what);
    made_.left_out.push_back(sentence("tensor ", quoted(name), " is left out: ", error.what));
    return {};
  }

  Exported take() { return std::move(made_); }

 private:
  Decoded<StoredTensor> tensor_of(element entry) {
    constexpr std::int64_t kStrided = 7;
    bool is_pickle = false;
    std::string_view record;
    object meta;
    if (entry["path_name"].get(record)) return refuse("nothing says which record it lies in");
    if (entry["tensor_meta"].get(meta)) return unsupported(0, "it is no tensor");
    if (!entry["use_pickle"].get(is_pickle) && is_pickle)
      return unsupported(0, "it is pickled, and of a class of its own");
    std::int64_t number = 0;
    if (!meta["layout"].get(number) && number != kStrided)
      return unsupported(0, "it is no plain tensor: its layout is another than strided");
    if (meta["dtype"].get(number)) return refuse("it has no dtype");
    View view;
    view.dtype = dtype_named(dtype_numbered(number));
    if (view.dtype == nullptr)
      return unsupported(0, sentence("its dtype has the number ", number, ", which is not known"));
    std::int64_t offset = 0;
    element sizes;
    element strides;
    element begin;
    if (meta["sizes"].get(sizes) || meta["strides"].get(strides) ||
        meta["storage_offset"].get(begin) || !take_integers(sizes, view.shape) ||
        !take_integers(strides, view.strides) || !take_integer(begin, offset))
      return refuse("its sizes, strides or offset are no numbers of 0 and more");
    view.offset = static_cast<std::uint64_t>(offset);
    const auto size = size_of_(record);
    if (!size) return refuse("the archive has no record ", quoted(record));
    return placed(Place{position_of(record), 0, *size}, std::move(view));
  }

  std::uint32_t position_of(std::string_view record) {
    const auto [at, is_new] = position_of_.emplace(record, made_.records.size());
    if (is_new) made_.records.emplace_back(record);
    return static_cast<std::uint32_t>(at->second);
  }

  const std::function<std::optional<std::uint64_t>(std::string_view)>& size_of_;
  Exported made_;
  std::unordered_map<std::string, std::size_t> position_of_;  // of a record
};

}  // namespace

Decoded<Exported> decode_exported(
    std::span<const std::byte> json,
    const std::function<std::optional<std::uint64_t>(std::string_view record)>& size_of) {
  simdjson::dom::parser parser;
  element document;
  const auto error = parser.parse(as_text(json)).get(document);
  if (error == simdjson::MEMALLOC) throw std::bad_alloc();
  if (error) return refuse("no JSON: ", simdjson::error_message(error));
  object config;
  if (document["config"].get(config)) return refuse("\"config\" is missing, or is no object");
  Reader reader(size_of);
  for (const auto& [name, entry] : config) CAIRN_CHECK(reader.read(name, entry));
  return reader.take();
}

}  // namespace cairn::format::torch
