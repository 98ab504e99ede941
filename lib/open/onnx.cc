// An ONNX model as a checkpoint: the file, the files of its external data, and one file in memory
// of the elements that it holds as numbers of protobuf.

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/limits.h"
#include "format/onnx/listed.h"
#include "format/onnx/model.h"
#include "format/quoted.h"
#include "lib/open/decoded_shard.h"
#include "lib/open/file_formats.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::onnx::Storage;
using format::onnx::TensorRecord;

// Only the name says that a file is a model, so any file may have it.
Error refused(const OpenShard& file, const format::DecodeError& reason) {
  return named_for_what_it_is(file.file, error_of(file.file.path(), reason));
}

format::onnx::WireReader reader_of(const OpenShard& file, bool whole) {
  const std::uint64_t size_bytes = file.identity.size_bytes;
  constexpr std::uint64_t kAnywhere = std::uint64_t{1} << 62;
  return {size_bytes, whole ? size_bytes : kAnywhere, reads_of(file.file)};
}

class OnnxReader {
 public:
  OnnxReader(OpenShard file, const FileReadOptions& how, format::onnx::Model model)
      : file_(std::move(file)), how_(how), model_(std::move(model)), decoded_(path()) {}

  // Once.
  Result<FileIndex> read() {
    add_shard(how_.name, file_.identity);
    for (const TensorRecord& tensor : model_.tensors) note_location(tensor);
    const std::uint64_t part_count = 1 + external_shards_.size();
    if (how_.model == nullptr && part_count > 1)
      return FileIndex{std::move(file_), {}, {}, part_count, {}, {}};
    CAIRN_CHECK(open_external());
    CAIRN_CHECK(check_room());
    for (TensorRecord& tensor : model_.tensors) {
      auto facts = facts_of(tensor);
      const bool damaged = !facts && facts.error().code == Code::Corrupt;
      if (!facts && (how_.whole || !damaged)) return std::move(facts).error();
      if (facts) {
        facts_.tensors.push_back(*std::move(facts));
      } else {
        warnings_.push_back(facts.error().what + "; it is left out");
      }
    }
    return index(part_count);
  }

 private:
  const std::string& path() const noexcept { return file_.file.path(); }

  Error corrupt(const TensorRecord& tensor, const std::string& why) const {
    return {Code::Corrupt, 0, path() + ": tensor " + format::quoted(tensor.name) + ": " + why};
  }

  void add_shard(const std::string& name, const format::FileIdentity& identity) {
    facts_.shards.push_back({name, format::ShardKind::AnyFile, identity});
  }

  // The name of a tensor's file, which may be the model itself.
  static std::string_view name_of(const TensorRecord& tensor) {
    std::string_view name = tensor.external.location;
    while (name.starts_with("./")) name.remove_prefix(2);
    return name;
  }

  void note_location(const TensorRecord& tensor) {
    if (tensor.storage != Storage::External || name_of(tensor) == how_.name) return;
    external_shards_.try_emplace(std::string(name_of(tensor)), 0);
  }

  Result<void> open_external() {
    for (auto& [name, shard] : external_shards_) {
      CAIRN_TRY(file, open_named_shard(*how_.model, name, path(), Where::HereOrBelow));
      shard = static_cast<std::uint32_t>(facts_.shards.size());
      add_shard(name, file.identity);
      others_.push_back(std::move(file));
    }
    return {};
  }

  // A number takes a byte of the file, and at most 8 of memory.
  Result<void> check_room() const {
    std::uint64_t wanted_bytes = 0;
    for (const TensorRecord& tensor : model_.tensors) {
      if (tensor.storage != Storage::Listed) continue;
      const auto size = format::onnx::bytes_of(*tensor.type, tensor.count);
      wanted_bytes = format::checked_add(wanted_bytes, size.value_or(0)).value_or(~0ull);
    }
    return check_memory(
        {wanted_bytes, path() + ": its tensors that are not raw",
         "onnx.save_model(…, save_as_external_data=True) writes tensors that need no decoding, if "
         "they are set by numpy_helper.from_array first"});
  }

  Result<format::TensorFacts> facts_of(TensorRecord& tensor) {
    format::TensorFacts facts;
    facts.dtype = tensor.type->dtype;
    if (facts.dtype == DType::Opaque) {
      facts.opaque_dtype = tensor.type->name;
      facts.opaque_bits = tensor.type->bits;
    }
    facts.encoding = format::encoding_of(facts.dtype);
    facts.shape = tensor.shape;
    if (tensor.storage == Storage::InPlace) {
      facts.span = {0, tensor.bytes.offset_bytes, tensor.bytes.size_bytes, std::nullopt};
    } else if (tensor.storage == Storage::External) {
      CAIRN_TRY(span, place_external(tensor));
      facts.span = span;
    } else {
      CAIRN_TRY(span, decode(tensor));
      facts.span = span;
    }
    facts.name = std::move(tensor.name);
    return facts;
  }

  Result<format::Span> place_external(const TensorRecord& tensor) const {
    const auto found = external_shards_.find(std::string(name_of(tensor)));
    const std::uint32_t shard = found == external_shards_.end() ? 0 : found->second;
    const std::uint64_t file_bytes = facts_.shards[shard].identity.size_bytes;
    const auto& place = tensor.external;
    const bool inside = format::inside(place.offset_bytes, place.size_bytes, file_bytes);
    if (!inside && how_.whole && place.size_bytes != 0) {
      return corrupt(tensor, "its " + std::to_string(place.size_bytes) + " bytes, at byte " +
                                 std::to_string(place.offset_bytes) + " of " +
                                 format::quoted(facts_.shards[shard].name) + ", end behind its " +
                                 std::to_string(file_bytes) +
                                 " bytes: that file is truncated, or "
                                 "is of another model");
    }
    const std::uint64_t offset = place.size_bytes == 0 ? 0 : place.offset_bytes;
    return format::Span{shard, offset, place.size_bytes, std::nullopt};
  }

  Result<format::Span> decode(const TensorRecord& tensor) {
    decoded_.begin();
    auto reader = reader_of(file_, how_.whole);
    format::onnx::ListedValues values(reader, tensor);
    while (true) {
      const auto block = values.next_block();
      if (!block) return error_of(path(), block.error());
      if (block->empty()) break;
      CAIRN_CHECK(decoded_.add(*block));
    }
    format::Span span = decoded_.end(static_cast<std::uint32_t>(facts_.shards.size()));
    span.crc32c = values.crc32c();  // of strings it is another one than that of their bytes
    if (span.size_bytes == 0) span.shard = 0;
    return span;
  }

  // What stands in front of the first tensor of each file, and how many bytes are the tensors'.
  static void count_bytes(format::IndexFacts& facts) {
    for (format::ShardFacts& shard : facts.shards) {
      shard.head_bytes = shard.identity.size_bytes;
      shard.live_bytes = 0;
    }
    for (const format::TensorFacts& tensor : facts.tensors) {
      format::ShardFacts& shard = facts.shards[tensor.span.shard];
      if (tensor.span.size_bytes != 0)
        shard.head_bytes = std::min(shard.head_bytes, tensor.span.offset_bytes);
    }
    for (format::TensorFacts& tensor : facts.tensors) {
      format::ShardFacts& shard = facts.shards[tensor.span.shard];
      if (tensor.span.size_bytes == 0) tensor.span.offset_bytes = shard.head_bytes;
      shard.live_bytes = std::min(shard.live_bytes + tensor.span.size_bytes,
                                  shard.identity.size_bytes - shard.head_bytes);
    }
  }

  Result<FileIndex> index(std::uint64_t part_count) {
    facts_.metadata = std::move(model_.metadata);
    for (const std::string& sentence : model_.left_out)
      warnings_.push_back(path() + ": " + sentence);
    FileIndex index{std::move(file_), std::move(facts_),  std::move(warnings_),
                    part_count,       std::move(others_), {}};
    CAIRN_CHECK(decoded_.finish(how_.name, index));
    count_bytes(index.facts);
    return index;
  }

  OpenShard file_;
  const FileReadOptions& how_;
  format::onnx::Model model_;
  std::map<std::string, std::uint32_t> external_shards_;  // by name: the number of each
  format::IndexFacts facts_;
  std::vector<OpenShard> others_;
  std::vector<std::string> warnings_;
  DecodedShard decoded_;
};

}  // namespace

Result<FileIndex> read_onnx(OpenShard file, const FileReadOptions& how) {
  auto reader = reader_of(file, how.whole);
  auto model = format::onnx::decode_model(reader, {how.whole});
  if (!model) return refused(file, model.error());
  return OnnxReader(std::move(file), how, *std::move(model)).read();
}

}  // namespace cairn::internal
