// A safetensors model in several files, by the index beside them: model.safetensors.index.json of
// the Hugging Face libraries.
//
// Those libraries ask the index which files there are, and each file which tensors it has. So does
// this reader. Where the two disagree the libraries load the tensor of the last file, or random
// values, and say nothing; here it is an error or a warning.

#include <algorithm>
#include <string>
#include <tuple>
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

class HubReader {
 public:
  HubReader(const Location& location, const HubIndex& index, std::string path, bool whole)
      : location_(location), index_(index), path_(std::move(path)), whole_(whole) {}

  Result<FileIndex> read() {
    add_metadata(facts_.safetensors_metadata, index_.metadata, path_);
    for (const std::string& name : index_.files) CAIRN_CHECK(read_shard(name));
    std::ranges::sort(tensors_, {}, [](const TensorFacts& tensor) {
      return std::tuple(std::string_view(tensor.name), tensor.span.shard);
    });
    CAIRN_CHECK(check_index());
    CAIRN_CHECK(choose());
    FileIndex result{std::move(shards_.front()),
                     std::move(facts_),
                     std::move(warnings_),
                     index_.files.size() + 1,
                     {},
                     {}};
    shards_.erase(shards_.begin());
    result.others = std::move(shards_);
    return result;
  }

 private:
  Error error(Code code, const std::string& why) const { return {code, 0, path_ + ": " + why}; }

  Result<void> read_shard(const std::string& name) {
    if (!is_bare(name)) {
      return error(Code::Unsafe, "names the file " + format::quoted(name) +
                                     ", which does not lie in the index's own directory");
    }
    auto opened = open_shard(location_.directory, name, location_.links == os::Links::Follow);
    if (!opened) {
      Error missing = std::move(opened).error();
      missing.what += "; " + path_ + " names it";
      return missing;
    }
    CAIRN_TRY(read, read_safetensors(*std::move(opened), name, whole_));
    const auto shard = static_cast<std::uint32_t>(shards_.size());
    for (TensorFacts& tensor : read.facts.tensors) {
      tensor.span.shard = shard;
      tensors_.push_back(std::move(tensor));
    }
    if (shard == 0) facts_.step = read.facts.step;
    if (facts_.step != read.facts.step) facts_.step.reset();
    const std::string path = read.shard.file.path();
    add_metadata(facts_.metadata, read.facts.metadata, path);
    add_metadata(facts_.safetensors_metadata, read.facts.safetensors_metadata, path);
    facts_.shards.push_back(std::move(read.facts.shards.front()));
    shards_.push_back(std::move(read.shard));
    return {};
  }

  // What was said first stays.
  void add_metadata(format::KeyValues& all, const format::KeyValues& metadata,
                    const std::string& path) {
    for (const auto& [key, value] : metadata) {
      const auto found = std::ranges::find(all, key, &format::KeyValues::value_type::first);
      if (found == all.end()) {
        all.emplace_back(key, value);
      } else if (found->second != value) {
        warnings_.push_back(path + ": its metadata " + format::quoted(key) +
                            " differs from that of a file before it, and is left out");
      }
    }
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
      if (end - i > 1) {
        warnings_.push_back(
            path_ + ": tensor " + format::quoted(name) + " lies in several of the files; that of " +
            format::quoted(index_.files[next->second]) + " is used, as the index says");
      }
      for (; i < end; ++i) {
        if (is_named && tensors_[i].span.shard != next->second) continue;
        facts_.tensors.push_back(std::move(tensors_[i]));
      }
      if (is_named) ++next;
    }
    if (!unnamed.empty()) {
      warnings_.push_back(path_ + ": the files have tensors that it does not name, " +
                          std::to_string(unnamed.size()) +
                          " in all; they are read: " + shortened(unnamed));
    }
    return {};
  }

  static std::string shortened(const std::vector<std::string>& names) {
    constexpr std::size_t kShown = 3;
    std::string text;
    for (std::size_t i = 0; i < std::min(kShown, names.size()); ++i)
      text += (i == 0 ? "" : ", ") + names[i];
    return text + (names.size() > kShown ? ", …" : "");
  }

  const Location& location_;
  const HubIndex& index_;
  const std::string path_;
  const bool whole_;
  std::vector<TensorFacts> tensors_;  // of all files, by name and file
  format::IndexFacts facts_;
  std::vector<OpenShard> shards_;
  std::vector<std::string> warnings_;
};

}  // namespace

namespace {

Result<HubIndex> decode_index(const OpenShard& file) {
  CAIRN_TRY(json, os::read_whole(file.file, format::limits::kSafetensorsHeaderBytesMax));
  auto index = format::safetensors::decode_hub_index(json);
  if (!index) return error_of(file.file.path(), index.error());
  if (index->files.empty())
    return Error{Code::Corrupt, 0, file.file.path() + ": names no file, so there is no model"};
  return *std::move(index);
}

}  // namespace

Result<FileIndex> read_hub_index(OpenShard file, const std::string& /*name*/, bool /*whole*/) {
  CAIRN_TRY(index, decode_index(file));
  FileIndex result{std::move(file), {}, {}, index.files.size() + 1, {}, {}};
  return result;
}

Result<FileIndex> read_hub_parts(const Location& location, const FileIndex& part, bool whole) {
  CAIRN_TRY(index, decode_index(part.shard));
  return HubReader(location, index, part.shard.file.path(), whole).read();
}

}  // namespace cairn::internal
