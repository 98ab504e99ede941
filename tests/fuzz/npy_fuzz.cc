// An .npy file. Its length is made to fit now and then, so that the header decides.

#include <algorithm>

#include "format/checked.h"
#include "format/numpy/array.h"
#include "fuzz.h"
#include "tests/plain_facts.h"

using namespace cairn;
namespace numpy = cairn::format::numpy;

namespace {

bool is_same(const numpy::PlainArray& plain, const format::TensorFacts& tensor) {
  return std::ranges::equal(plain.shape.dims(), tensor.shape) && plain.dtype == tensor.dtype &&
         plain.data_offset_bytes == tensor.span.offset_bytes && tests::is_plain(tensor);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  const auto head_bytes =
      numpy::data_offset_bytes(file.first(std::min(file.size(), numpy::kPreambleBytes)));
  if (!head_bytes) return 0;
  const auto head = file.first(std::min<std::size_t>(file.size(), *head_bytes));
  for (const std::uint64_t file_bytes : {std::uint64_t{size}, *head_bytes, *head_bytes + 4}) {
    const auto tensor = numpy::decode_array(head, file_bytes);
    const auto plain = numpy::scan_array(file, file_bytes);
    fuzz::demand(!plain || tensor, "what is plain is an array");
    if (!tensor) continue;
    fuzz::demand(!plain || is_same(*plain, *tensor), "a plain array is the same to both");
    fuzz::demand(tensor->span.offset_bytes == *head_bytes, "elements follow the header");
    fuzz::demand(tensor->span.offset_bytes + tensor->span.size_bytes == file_bytes,
                 "elements end with the file");
    fuzz::demand(format::element_count(tensor->shape).has_value(), "elements can be counted");
    fuzz::demand(tensor->strides.empty() || tensor->strides.size() == tensor->shape.size(),
                 "strides have the rank of the shape");
  }
  return 0;
}
