// A Keras model: the archive NAME.keras, a zip with the HDF5 file model.weights.h5 in it; or
// weights in several HDF5 files, by the index NAME.weights.json beside them.
//
// Keras stores its archives' members as they are, so the datasets lie in the archive, from where
// the member begins. A weights file that somebody has deflated is decoded into memory first.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "format/hdf5/keras_index.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/sorted.h"
#include "lib/open/hdf5.h"
#include "lib/open/zip_file.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::TensorFacts;
using format::zip::Member;

constexpr std::string_view kWeights = "model.weights.h5";
constexpr std::string_view kTexts[] = {"config.json", "metadata.json"};

// ---- Archives -----------------------------------------------------------------------------------

class ArchiveReader {
 public:
  ArchiveReader(FileIndex& index, const FileReadOptions& how)
      : index_(index), how_(how), decoded_(file().path() + " (decoded)") {}

  Result<void> run() {
    CAIRN_TRY(members, read_zip_members(file(), {0, index_.shard.identity.size_bytes}));
    const auto weights = std::ranges::find(members, kWeights, &Member::name);
    if (weights == members.end())
      return Error{Code::Unsupported, 0,
                   file().path() +
                       ": is an archive without the member model.weights.h5, which "
                       "would hold the weights of a Keras model"};
    CAIRN_CHECK(read_weights(*weights));
    for (const std::string_view name : kTexts) {
      const auto found = std::ranges::find(members, name, &Member::name);
      if (found != members.end()) CAIRN_CHECK(add_text(*found));
    }
    std::ranges::sort(index_.facts.metadata);
    index_.facts.shards.push_back(hdf5_shard(how_.name, 0, index_.shard, index_.facts));
    return decoded_.finish(how_.name, index_);
  }

 private:
  const os::File& file() const noexcept { return index_.shard.file; }

  Error error(const Member& member, const std::string& why) const {
    return {Code::Unsupported, 0,
            file().path() + ": member " + format::quoted(member.name) + ": " + why};
  }

  Result<void> check(const Member& member) const {
    if (member.encrypted) return error(member, "it is encrypted");
    if (member.method == format::zip::kStored || member.method == format::zip::kDeflated) return {};
    return error(member, "it is compressed by another method than deflate");
  }

  Result<void> read_weights(const Member& member) {
    CAIRN_CHECK(check(member));
    CAIRN_TRY(data_offset, zip_data_offset(file(), member));
    std::string path = file().path() + ": member " + format::quoted(member.name);
    if (member.method == format::zip::kStored) {
      return read_hdf5_file(
          {file(), {data_offset, member.size_bytes}, std::move(path), 0, 1, how_.whole}, decoded_,
          index_);
    }
    CAIRN_CHECK(check_memory({member.size_bytes, path,
                              "'unzip' writes the member as a file, which "
                              "opens without being decoded"}));
    InflatedMember inflated(file(), member, data_offset);
    constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20;
    std::vector<std::byte> block;
    for (std::uint64_t done = 0; done < member.size_bytes; done += block.size()) {
      block.resize(std::min(kBlockBytes, member.size_bytes - done));
      CAIRN_CHECK(inflated.read(block));
      CAIRN_CHECK(decoded_.add(block));
    }
    CAIRN_CHECK(inflated.finish());
    if (decoded_.empty()) return error(member, "it is empty");
    return read_hdf5_file(
        {decoded_.file(), {0, member.size_bytes}, std::move(path), 1, 1, how_.whole}, decoded_,
        index_);
  }

  // What the archive says of the model, whole: the member's name is the key.
  Result<void> add_text(const Member& member) {
    CAIRN_CHECK(check(member));
    if (member.size_bytes > format::limits::kHdf5MetadataBytesMax) {
      index_.left_out.push_back(error(member, "it is too long, and left out").what);
      return {};
    }
    CAIRN_TRY(data_offset, zip_data_offset(file(), member));
    std::string text(member.size_bytes, '\0');
    const auto bytes = std::as_writable_bytes(std::span(text));
    if (member.method == format::zip::kStored) {
      CAIRN_CHECK(file().read_at(data_offset, bytes));
    } else {
      InflatedMember inflated(file(), member, data_offset);
      CAIRN_CHECK(inflated.read(bytes));
      CAIRN_CHECK(inflated.finish());
    }
    index_.facts.metadata.emplace_back(member.name, std::move(text));
    return {};
  }

  FileIndex& index_;
  const FileReadOptions& how_;
  DecodedShard decoded_;
};

// ---- Several files ------------------------------------------------------------------------------

class PartsReader {
 public:
  PartsReader(const Location& location, const format::hdf5::KerasIndex& index, std::string path)
      : location_(location), index_(index), path_(std::move(path)) {}

  Result<FileIndex> read(bool whole) {
    std::vector<OpenShard> files;
    for (const std::string& name : index_.files) {
      CAIRN_TRY(file, open(name));
      files.push_back(std::move(file));
    }
    FileIndex all{std::move(files.front()), {}, {}, files.size() + 1, {}, {}};
    all.others.assign(std::make_move_iterator(files.begin() + 1),
                      std::make_move_iterator(files.end()));
    DecodedShard decoded(path_);
    const auto count = static_cast<std::uint32_t>(index_.files.size());
    for (std::uint32_t i = 0; i < count; ++i) {
      const OpenShard& part = part_of(all, i);
      CAIRN_CHECK(read_hdf5_file(
          {part.file, {0, part.identity.size_bytes}, part.file.path(), i, count, whole}, decoded,
          all));
    }
    for (std::uint32_t i = 0; i < count; ++i)
      all.facts.shards.push_back(hdf5_shard(index_.files[i], i, part_of(all, i), all.facts));
    CAIRN_CHECK(decoded.finish(index_.files.front(), all));
    CAIRN_CHECK(join(all));
    return all;
  }

 private:
  static const OpenShard& part_of(const FileIndex& all, std::uint32_t number) {
    return number == 0 ? all.shard : all.others[number - 1];
  }

  Error error(Code code, const std::string& why) const { return {code, 0, path_ + ": " + why}; }

  Result<OpenShard> open(const std::string& name) const {
    if (!is_bare(name) || has_control_characters(name)) {
      return error(Code::Unsafe, "names the file " + format::quoted(name) +
                                     ", which is no plain name in the index's own directory");
    }
    auto opened = open_shard(location_.directory, name, location_.links == os::Links::Follow);
    if (opened) return opened;
    Error missing = std::move(opened).error();
    missing.what += "; " + path_ + " names it";
    return missing;
  }

  // Groups that have no weights of their own, and their attributes, are in several files.
  Result<void> join(FileIndex& all) {
    format::sort_by_name(all.facts.tensors);
    if (const TensorFacts* const twice = format::find_twice(all.facts.tensors))
      return error(Code::Corrupt,
                   "two of its files have a tensor called " + format::quoted(twice->name));
    for (const auto& [key, value] : index_.metadata) all.facts.metadata.emplace_back(key, value);
    std::ranges::sort(all.facts.metadata);
    const auto rest =
        std::ranges::unique(all.facts.metadata, {}, &format::KeyValues::value_type::first);
    all.facts.metadata.erase(rest.begin(), rest.end());
    return {};
  }

  const Location& location_;
  const format::hdf5::KerasIndex& index_;
  const std::string path_;
};

}  // namespace

Result<FileIndex> read_keras(OpenShard file, const FileReadOptions& how) {
  FileIndex index{std::move(file), {}, {}, 1, {}, {}};
  auto done = ArchiveReader(index, how).run();
  if (done) return index;
  return named_for_what_it_is(index.shard.file, std::move(done).error(),
                              {FileType::KerasArchive, FileType::Zip});
}

Result<FileIndex> read_keras_index(OpenShard file, const FileReadOptions& how) {
  const std::string path = file.file.path();
  CAIRN_TRY(json, os::read_whole(file.file, format::limits::kSafetensorsHeaderBytesMax));
  const auto index = format::hdf5::decode_keras_index(json);
  if (!index) return error_of(path, index.error());
  if (index->files.empty())
    return Error{Code::Corrupt, 0, path + ": names no file, so there is no model"};
  if (how.model != nullptr) return PartsReader(*how.model, *index, path).read(how.whole);
  return FileIndex{std::move(file), {}, {}, index->files.size() + 1, {}, {}};
}

}  // namespace cairn::internal
