// A model in several files, by the index beside them: model.safetensors.index.json of the Hugging
// Face libraries, or pytorch_model.bin.index.json of older ones.
//
// Those libraries read the names of the files from the index, and the names of the tensors from
// each file. So does this reader. If the two disagree, the libraries load the tensor of the last
// file, or random values, without a message; here it is an error or a warning.

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "format/limits.h"
#include "format/plain_tensors.h"
#include "format/quoted.h"
#include "format/safetensors/hub_index.h"
#include "lib/open/file_formats.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::TensorFacts;
using format::safetensors::HubIndex;

// What the index and its files say of the model beside its tensors. What was said first stays.
class MetadataUnion {
 public:
  // One sentence about the keys of this file that say something else; empty: there are none.
  std::string add(const format::KeyValues& metadata, const std::string& path) {
    std::vector<std::string> differing;
    for (const auto& [key, value] : metadata) {
      const auto [at, is_new] = position_of_.emplace(key, all_.size());
      if (is_new) {
        all_.emplace_back(key, value);
      } else if (all_[at->second].second != value) {
        differing.push_back(format::quoted(key));
      }
    }
    if (differing.empty()) return {};
    return path + ": its metadata " + first_few(differing) +
           " differs from that of a file before it, and is left out";
  }

  format::KeyValues take() { return std::move(all_); }

 private:
  format::KeyValues all_;
  std::unordered_map<std::string, std::size_t> position_of_;  // of a key in all_
};

using Reader = Result<FileIndex>(OpenShard file, const FileReadOptions& how);

class HubReader {
 public:
  // `read_shard_file`: what reads one of the files.
  HubReader(const HubIndex& index, std::string path, const FileReadOptions& how,
            Reader* read_shard_file)
      : location_(*how.model),
        index_(index),
        path_(std::move(path)),
        whole_(how.whole),
        read_(read_shard_file),
        is_safetensors_(read_shard_file == read_safetensors) {}

  Result<FileIndex> read() {
    CAIRN_CHECK(read_shards(false));
    std::ranges::sort(tensors_, {}, [](const TensorFacts& tensor) {
      return std::tuple(std::string_view(tensor.name), tensor.span.shard);
    });
    CAIRN_CHECK(check_index());
    CAIRN_CHECK(choose());
    return take();
  }

  // The same, with the tensors in FileIndex::plain. std::nullopt: call read() of another reader,
  // because a file has tensors that are not plain, or the index does not name each tensor of each
  // file.
  Result<std::optional<FileIndex>> read_plain() {
    CAIRN_TRY(all_plain, read_shards(true));
    if (!all_plain) return std::optional<FileIndex>();
    auto merged = merge();
    if (!merged) return std::optional<FileIndex>();
    FileIndex read = take();
    read.plain = std::move(merged);
    return std::optional(std::move(read));
  }

 private:
  FileIndex take() {
    facts_.metadata = metadata_.take();
    std::ranges::sort(facts_.metadata);
    facts_.safetensors_metadata = safetensors_metadata_.take();
    OpenShard first = std::move(shards_.front());
    shards_.erase(shards_.begin());
    return {std::move(first),        std::move(facts_),  std::move(warnings_),
            index_.files.size() + 1, std::move(shards_), {}};
  }

  Error error(Code code, const std::string& why) const { return {code, 0, path_ + ": " + why}; }

  void warn(std::string sentence) {
    if (!sentence.empty()) warnings_.push_back(std::move(sentence));
  }

  // False: `plain` was wanted, and a file has other tensors. Then the files behind it are not read.
  Result<bool> read_shards(bool plain) {
    warn((is_safetensors_ ? safetensors_metadata_ : metadata_).add(index_.metadata, path_));
    for (const std::string& name : index_.files) {
      CAIRN_CHECK(read_shard(name, plain));
      if (plain && plain_.size() != shards_.size()) return false;
    }
    return true;
  }

  Result<void> read_shard(const std::string& name, bool plain) {
    CAIRN_TRY(opened, open_named_shard(location_, name, path_));
    CAIRN_TRY(read, read_(std::move(opened), {name, whole_, nullptr, location_.formats, plain}));
    if (read.plain) plain_.push_back(*std::move(read.plain));
    if (read.decoded) {
      return Error{Code::Unsupported, 0,
                   read.shard.file.path() +
                       ": has tensors that must be decoded, which is not done for one of several "
                       "files; convert() (cairn convert) writes it alone"};
    }
    std::ranges::move(read.left_out, std::back_inserter(warnings_));
    const auto shard = static_cast<std::uint32_t>(shards_.size());
    for (TensorFacts& tensor : read.facts.tensors) {
      tensor.span.shard = shard;
      tensors_.push_back(std::move(tensor));
    }
    if (shard == 0) facts_.step = read.facts.step;
    if (facts_.step != read.facts.step) facts_.step.reset();
    const std::string path = read.shard.file.path();
    warn(metadata_.add(read.facts.metadata, path));
    warn(safetensors_metadata_.add(read.facts.safetensors_metadata, path));
    facts_.shards.push_back(std::move(read.facts.shards.front()));
    shards_.push_back(std::move(read.shard));
    return {};
  }

  // The tensors of each file are sorted by name, and so is the index. So if the index names each
  // tensor of each file, and nothing else, the next tensor that it names is the next one of a file.
  // std::nullopt: it does not, or the columns would be too long.
  std::optional<format::PlainTensors> merge() const {
    format::PlainTensors::Sizes sizes;
    for (const format::PlainTensors& of_file : plain_) {
      sizes.tensors += of_file.used().tensors;
      sizes.names_bytes += of_file.used().names_bytes;
      sizes.dims += of_file.used().dims;
    }
    constexpr std::size_t kMost = std::numeric_limits<std::uint32_t>::max();
    if (sizes.tensors != index_.tensors.size() || sizes.names_bytes > kMost || sizes.dims > kMost)
      return std::nullopt;
    format::PlainTensors merged(sizes);
    std::vector<std::size_t> next(plain_.size());
    for (const auto& [name, file] : index_.tensors) {
      const format::PlainTensors& from = plain_[file];
      const std::size_t position = next[file]++;
      if (position == from.size() || from.name(position) != name) return std::nullopt;
      merged.add(from, position);
      merged.records().back().shard = file;
    }
    return merged;
  }

  std::span<const TensorFacts> named(std::string_view name) const {
    const auto range = std::ranges::equal_range(tensors_, name, {}, &TensorFacts::name);
    return {range.begin(), range.end()};
  }

  Result<void> check_index() const {
    for (const auto& [name, file] : index_.tensors) {
      const auto all = named(name);
      const auto in_file = [&](const TensorFacts& each) { return each.span.shard == file; };
      if (std::ranges::any_of(all, in_file)) continue;
      return error(Code::Corrupt, "says that tensor " + format::quoted(name) + " lies in " +
                                      format::quoted(index_.files[file]) +
                                      (all.empty() ? ", but no file of the model has it"
                                                   : ", but that file does not have it"));
    }
    return {};
  }

  // Of tensors of one name the one that the index means.
  Result<void> choose() {
    std::vector<std::string> unnamed;
    std::vector<std::string> twice;
    auto next = index_.tensors.begin();
    for (std::size_t i = 0; i < tensors_.size();) {
      const std::string& name = tensors_[i].name;
      std::size_t end = i + 1;
      while (end < tensors_.size() && tensors_[end].name == name) ++end;
      const bool is_named = next != index_.tensors.end() && next->first == name;
      if (!is_named && end - i > 1) {
        return error(Code::Corrupt, "does not name tensor " + format::quoted(name) +
                                        ", which lies in two of the files");
      }
      if (!is_named) unnamed.push_back(format::quoted(name));
      if (end - i > 1) twice.push_back(format::quoted(name));
      for (; i < end; ++i) {
        if (is_named && tensors_[i].span.shard != next->second) continue;
        facts_.tensors.push_back(std::move(tensors_[i]));
      }
      if (is_named) ++next;
    }
    if (!twice.empty()) {
      warn(path_ + ": tensors that lie in several of the files, " + std::to_string(twice.size()) +
           " in all, are read from the file that it names: " + first_few(twice));
    }
    if (!unnamed.empty()) {
      warn(path_ + ": the files have tensors that it does not name, " +
           std::to_string(unnamed.size()) + " in all; they are read: " + first_few(unnamed));
    }
    return {};
  }

  const Location& location_;
  const HubIndex& index_;
  const std::string path_;
  const bool whole_;
  Reader* const read_;
  const bool is_safetensors_;
  std::vector<TensorFacts> tensors_;         // of all files, by name and file
  std::vector<format::PlainTensors> plain_;  // of each file
  MetadataUnion metadata_;
  MetadataUnion safetensors_metadata_;
  format::IndexFacts facts_;
  std::vector<OpenShard> shards_;
  std::vector<std::string> warnings_;
};

Result<FileIndex> read_index(OpenShard file, const FileReadOptions& how, Reader* read) {
  const std::string path = file.file.path();
  CAIRN_TRY(json, os::read_whole(file.file, format::limits::kSafetensorsHeaderBytesMax));
  const auto index = format::safetensors::decode_hub_index(json);
  if (!index) return error_of(path, index.error());
  if (index->files.empty())
    return Error{Code::Corrupt, 0, path + ": names no file, so there is no model"};
  if (how.model != nullptr) {
    if (how.plain && read == read_safetensors) {
      CAIRN_TRY(plain, HubReader(*index, path, how, read).read_plain());
      if (plain) return *std::move(plain);
    }
    return HubReader(*index, path, how, read).read();
  }
  return FileIndex{std::move(file), {}, {}, index->files.size() + 1, {}, {}};
}

}  // namespace

Result<FileIndex> read_hub_index(OpenShard file, const FileReadOptions& how) {
  return read_index(std::move(file), how, read_safetensors);
}

Result<FileIndex> read_torch_hub_index(OpenShard file, const FileReadOptions& how) {
  return read_index(std::move(file), how, read_torch_file);
}

}  // namespace cairn::internal
