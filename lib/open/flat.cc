// Files whose index is FlatBuffers: the tensors of ExecuTorch (.ptd) and the weights of a model of
// TensorFlow Lite (.tflite), where they lie.

#include <algorithm>
#include <utility>

#include "format/flat/ptd.h"
#include "format/flat/tflite.h"
#include "lib/open/file_formats.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::flat::FlatModel;
using format::flat::FlatOptions;

Result<FileIndex> read_flat(OpenShard file, const FileReadOptions& how, FileType type,
                            format::Decoded<FlatModel> (*decode)(const FlatOptions&,
                                                                 format::ReadAt)) {
  const std::string path = file.file.path();
  const std::uint64_t size_bytes = file.identity.size_bytes;
  auto model = decode({size_bytes, how.whole}, reads_of(file.file));
  if (!model) return named_for_what_it_is(file.file, error_of(path, model.error()), {type});
  format::ShardFacts shard{how.name, format::ShardKind::AnyFile, file.identity, size_bytes};
  for (const format::TensorFacts& tensor : model->tensors) {
    if (tensor.span.size_bytes != 0)
      shard.head_bytes = std::min(shard.head_bytes, tensor.span.offset_bytes);
  }
  for (format::TensorFacts& tensor : model->tensors) {
    if (tensor.span.size_bytes == 0) tensor.span.offset_bytes = shard.head_bytes;
    shard.live_bytes =
        std::min(shard.live_bytes + tensor.span.size_bytes, size_bytes - shard.head_bytes);
  }
  FileIndex index{std::move(file), {}, {}, 1, {}, {}};
  index.facts.shards.push_back(std::move(shard));
  index.facts.metadata = std::move(model->metadata);
  index.facts.tensors = std::move(model->tensors);
  for (const std::string& sentence : model->left_out)
    index.left_out.push_back(path + ": " + sentence);
  return index;
}

}  // namespace

Result<FileIndex> read_ptd(OpenShard file, const FileReadOptions& how) {
  return read_flat(std::move(file), how, FileType::Ptd, format::flat::decode_ptd);
}

Result<FileIndex> read_tflite(OpenShard file, const FileReadOptions& how) {
  return read_flat(std::move(file), how, FileType::Tflite, format::flat::decode_tflite);
}

}  // namespace cairn::internal
