#include "format/flat/ptd.h"

#include <algorithm>
#include <array>

#include "format/checked.h"
#include "format/flat/reader.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sentence.h"
#include "format/sorted.h"

namespace cairn::format::flat {
namespace {

using enum DType;

constexpr std::uint64_t kHeaderAt = 8;  // behind the root's offset and the schema's mark
constexpr std::uint32_t kHeaderBytes = 40;

// ScalarType, by its number; Invalid: quantized ones and bits.
constexpr std::array kScalarTypes{
    Uint8,        Int8,           Int16,          Int32,   Int64,   Float16, Float32, Float64,
    Invalid,      Complex64,      Complex128,     Bool,    Invalid, Invalid, Invalid, Bfloat16,
    Invalid,      Invalid,        Invalid,        Invalid, Invalid, Invalid, Invalid, Float8E5M2,
    Float8E4M3FN, Float8E5M2FNUZ, Float8E4M3FNUZ, Uint16,  Uint32,  Uint64,
};

class PtdDecoder {
 public:
  PtdDecoder(const FlatOptions& options, ReadAt read)
      : options_(options), reader_(options.file_bytes, std::move(read)) {}

  Decoded<FlatModel> run() {
    if (!take_header()) return error();
    const Table root = reader_.root();
    const Vector segments = reader_.vector(root, 1, 4);
    const Vector named = reader_.vector(root, 2, 4);
    if (named.count > limits::kFlatTensorsMax) {
      return unsupported(named.at,
                         sentence("the file has ", named.count, " tensors, and the limit is ",
                                  limits::kFlatTensorsMax));
    }
    for (std::uint64_t i = 0; i < named.count && !reader_.error(); ++i)
      take(reader_.element(named, i), segments);
    if (reader_.error()) return error();
    sort_by_name(model_.tensors);
    if (const TensorFacts* const twice = find_twice(model_.tensors))
      return corrupt(0, sentence("the file has two tensors called ", quoted(twice->name)));
    return std::move(model_);
  }

 private:
  const DecodeError& error() const { return *reader_.error(); }

  bool take_header() {
    const auto magic = reader_.number_at<std::uint32_t>(4);
    const auto header_magic = reader_.number_at<std::uint32_t>(kHeaderAt);
    const auto header_bytes = reader_.number_at<std::uint32_t>(kHeaderAt + 4);
    segments_at_ = reader_.number_at<std::uint64_t>(kHeaderAt + 24);
    if (reader_.error()) return false;
    if (magic != kPtdMark || header_magic != kPtdHeaderMark || header_bytes < kHeaderBytes)
      reader_.refuse(0, "this is no .ptd file of version FT01");
    return !reader_.error();
  }

  void take(const Table& entry, const Vector& segments) {
    TensorFacts tensor;
    tensor.name = reader_.text(entry, 0, limits::kNameBytesMax);
    name_bytes_ += tensor.name.size();
    if (name_bytes_ > limits::kFlatNamesBytesMax)
      return reader_.refuse(entry.at, "the names of all tensors are too long");
    const auto number = reader_.number<std::uint32_t>(entry, 1);
    if (number >= segments.count && !reader_.error()) {
      return refuse(entry, tensor, sentence("segment ", number, " of ", segments.count));
    }
    const Table segment = reader_.element(segments, number);
    const auto offset = checked_add(segments_at_, reader_.number<std::uint64_t>(segment, 0));
    const auto size = reader_.number<std::uint64_t>(segment, 1);
    const auto layout = reader_.table(entry, 2);
    if (reader_.error()) return;
    if (!layout) {
      tensor.dtype = Uint8;
      if (!fits<std::int64_t>(size)) return refuse(entry, tensor, "its size is too large");
      tensor.shape = {static_cast<std::int64_t>(size)};
    } else if (!take_layout(*layout, tensor)) {
      return;
    }
    const std::uint64_t bytes =
        element_count(tensor.shape).value_or(0) * element_bytes(tensor.dtype);
    if (bytes > size) {
      return refuse(entry, tensor,
                    sentence("its segment has ", size, " bytes, and it needs ", bytes));
    }
    if (!offset || (options_.whole && !inside(*offset, size, options_.file_bytes))) {
      return refuse(entry, tensor,
                    sentence("its ", size, " bytes end behind the file's ", options_.file_bytes,
                             ": it is truncated"));
    }
    tensor.span = {0, *offset, bytes, std::nullopt};
    model_.tensors.push_back(std::move(tensor));
  }

  void refuse(const Table& entry, const TensorFacts& tensor, const std::string& why) {
    if (options_.whole)
      return reader_.refuse(entry.at, sentence("tensor ", quoted(tensor.name), ": ", why));
    model_.left_out.push_back(
        sentence("tensor ", quoted(tensor.name), ": ", why, "; it is left out"));
  }

  // Whether the tensor is to be taken.
  bool take_layout(const Table& layout, TensorFacts& tensor) {
    const auto number = static_cast<std::uint8_t>(reader_.number<std::int8_t>(layout, 0));
    const Vector sizes = reader_.vector(layout, 1, 4);
    const Vector order = reader_.vector(layout, 2, 1);
    if (reader_.error()) return false;
    tensor.dtype = number < kScalarTypes.size() ? kScalarTypes[number] : Invalid;
    if (tensor.dtype == Invalid) {
      model_.left_out.push_back(sentence("tensor ", quoted(tensor.name), " is left out: its type, ",
                                         number, ", is not known"));
      return false;
    }
    if (sizes.count > limits::kRankMax || order.count != sizes.count) {
      refuse(layout, tensor, sentence(sizes.count, " dimensions, in an order of ", order.count));
      return false;
    }
    for (std::uint64_t i = 0; i < sizes.count; ++i)
      tensor.shape.push_back(reader_.number_at<std::int32_t>(sizes.at + 4 * i));
    const auto count = element_count(tensor.shape);
    const bool fits = count && checked_mul(*count, element_bytes(tensor.dtype));
    if (!fits) refuse(layout, tensor, "its shape is too large, or has a negative dimension");
    return fits && take_order(layout, order, tensor);
  }

  // The order says which dimension is the outermost, and so on: a tensor with channels last is not
  // row-major.
  bool take_order(const Table& layout, const Vector& order, TensorFacts& tensor) {
    std::vector<std::int64_t> strides(tensor.shape.size(), 0);
    std::int64_t stride = 1;
    bool row_major = true;
    for (std::uint64_t i = order.count; i-- > 0;) {
      const auto axis = reader_.number_at<std::uint8_t>(order.at + i);
      if (axis >= strides.size() || strides[axis] != 0) {
        refuse(layout, tensor, "the order of its dimensions is none");
        return false;
      }
      row_major = row_major && axis == i;
      strides[axis] = stride;
      stride *= std::max<std::int64_t>(tensor.shape[axis], 1);
    }
    if (!row_major) tensor.strides = std::move(strides);
    return !reader_.error();
  }

  const FlatOptions& options_;
  Reader reader_;
  std::uint64_t segments_at_ = 0;
  std::uint64_t name_bytes_ = 0;
  FlatModel model_;
};

}  // namespace

Decoded<FlatModel> decode_ptd(const FlatOptions& options, ReadAt read) {
  return PtdDecoder(options, std::move(read)).run();
}

}  // namespace cairn::format::flat
