// A model in several files, by the index beside them: model.safetensors.index.json of the Hugging
// Face libraries, or pytorch_model.bin.index.json of older ones.
//
// Those libraries read the names of the files from the index, and the names of the tensors from
// each file. So does this reader. If the two disagree, the libraries load the tensor of the last
// file, or random values, without a message; here it is an error or a warning.

#include <algorithm>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "format/limits.h"
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
  HubReader(const Location& location, const HubIndex& index, std::string path, bool whole,
            Reader* read_shard_file)
      : location_(location),
        index_(index),
        path_(std::move(path)),
        whole_(whole),
        read_(read_shard_file),
        is_safetensors_(read_shard_file == read_safetensors) {}

  Result<FileIndex> read() {
    warn((is_safetensors_ ? safetensors_metadata_ : metadata_).add(index_.metadata, path_));
    for (const std::string& name : index_.files) CAIRN_CHECK(read_shard(name));
    std::ranges::sort(tensors_, {}, [](const TensorFacts& tensor) {
      return std::tuple(std::string_view(tensor.name), tensor.span.shard);
    });
    CAIRN_CHECK(check_index());
    CAIRN_CHECK(choose());
    facts_.metadata = metadata_.take();
    std::ranges::sort(facts_.metadata);
    facts_.safetensors_metadata = safetensors_metadata_.take();
    OpenShard first = std::move(shards_.front());
    shards_.erase(shards_.begin());
    return FileIndex{std::move(first),        std::move(facts_),  std::move(warnings_),
                     index_.files.size() + 1, std::move(shards_), {}};
  }

 private:
  Error error(Code code, const std::string& why) const { return {code, 0, path_ + ": " + why}; }

  void warn(std::string sentence) {
    if (!sentence.empty()) warnings_.push_back(std::move(sentence));
  }

  Result<void> read_shard(const std::string& name) {
    CAIRN_TRY(opened, open_named_shard(location_, name, path_));
    CAIRN_TRY(read, read_(std::move(opened), {name, whole_, nullptr, location_.formats}));
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
  std::vector<TensorFacts> tensors_;  // of all files, by name and file
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
  if (how.model != nullptr) return HubReader(*how.model, *index, path, how.whole, read).read();
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
