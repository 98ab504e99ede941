// A NumPy array (.npy) as a checkpoint of one tensor, which has the name of the file.

#include <algorithm>
#include <string>
#include <vector>

#include "format/numpy/array.h"
#include "lib/open/file_formats.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::string_view kSuffix = ".npy";

std::string tensor_name(std::string_view file_name) {
  if (file_name.ends_with(kSuffix)) file_name.remove_suffix(kSuffix.size());
  return std::string(file_name);
}

}  // namespace

// Ignores how.whole: the size of the array is in the header, and a truncated file has no whole
// tensor that could be kept.
Result<FileIndex> read_npy(OpenShard file, const FileReadOptions& how) {
  const auto refused = [&](const format::DecodeError& reason) {
    return named_for_what_it_is(file.file, error_of(file.file.path(), reason), {FileType::Numpy});
  };
  const std::uint64_t size_bytes = file.identity.size_bytes;
  std::vector<std::byte> head(format::numpy::kPreambleBytes);
  CAIRN_TRY(count, file.file.read_some_at(0, head));
  const auto head_bytes = format::numpy::data_offset_bytes(std::span(head).first(count));
  if (!head_bytes) return refused(head_bytes.error());
  head.resize(std::min(*head_bytes, size_bytes));
  CAIRN_CHECK(file.file.read_at(0, head));
  auto tensor = format::numpy::decode_array(head, size_bytes, how.formats.void_dtype);
  if (!tensor) return refused(tensor.error());
  tensor->name = tensor_name(how.name);
  format::IndexFacts facts;
  facts.shards.push_back({how.name, format::ShardKind::AnyFile, file.identity, head.size(), 0,
                          size_bytes - head.size()});
  facts.tensors.push_back(*std::move(tensor));
  return FileIndex{std::move(file), std::move(facts)};
}

}  // namespace cairn::internal
