// An archive of PyTorch's torch.save (.pt, .pth, .bin) as a checkpoint, one of TorchScript, and an
// exported program (.pt2), which needs no pickle.
//
// The archive is a zip: a pickle, data.pkl, says what there is, and each storage is a record beside
// it, data/KEY, stored as it is and aligned, so that tensors are served from the file. PyTorch runs
// the pickle; here it is only read (format/pickle), and what it wants run is left out.

#include <algorithm>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/limits.h"
#include "format/quoted.h"
#include "format/torch/contents.h"
#include "format/torch/exported.h"
#include "lib/open/file_formats.h"
#include "lib/open/torch_archive.h"
#include "lib/open/torch_index.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::zip::Member;

Error no_pickle(const os::File& file, const TorchArchive& archive) {
  if (archive.has_record_below("data/")) {
    return {Code::Corrupt, 0,
            file.path() +
                ": the archive has no member data.pkl, which says what its storages hold: it is "
                "damaged"};
  }
  return {Code::Unsupported, 0,
          file.path() + ": is a Zip archive without a member data.pkl, so it is none of PyTorch's"};
}

// ---- Exported programs (.pt2) -------------------------------------------------------------------

// The folder of the records that this one tells of, with its slash; empty: it tells of none.
std::string_view folder_of_config(std::string_view name) noexcept {
  for (const std::string_view folder : {"data/weights/", "data/constants/"}) {
    if (name.starts_with(folder) && name.ends_with("_config.json")) return folder;
  }
  return {};
}

class ExportedReader {
 public:
  explicit ExportedReader(TorchArchive& archive) : archive_(archive) {}

  // Whether it is a program at all: a member tells of tensors.
  Result<bool> read() {
    bool has_config = false;
    for (const Member& member : archive_.members()) {
      if (!member.name.starts_with(archive_.root())) continue;
      const auto folder =
          folder_of_config(std::string_view(member.name).substr(archive_.root().size()));
      if (folder.empty()) continue;
      has_config = true;
      CAIRN_CHECK(read_config(member, std::string(folder)));
    }
    return has_config;
  }

  // Once. Corrupt: two tensors have one name.
  Result<void> add_to(TorchIndex& index, const std::string& path) {
    const auto name_of = [](const auto& each) -> const std::string& { return each.facts.name; };
    std::ranges::sort(contents_.tensors, {}, name_of);
    const auto twice = std::ranges::adjacent_find(contents_.tensors, {}, name_of);
    if (twice != contents_.tensors.end()) {
      return Error{Code::Corrupt, 0,
                   path + ": two tensors are called " + format::quoted(twice->facts.name)};
    }
    CAIRN_CHECK(index.add(std::move(contents_), places_));
    index.leave_out(path + ": its program is left out: only tensors are read");
    return {};
  }

 private:
  Result<void> read_config(const Member& member, const std::string& folder) {
    CAIRN_TRY(json, archive_.read_record(member, format::limits::kSafetensorsHeaderBytesMax));
    auto exported = format::torch::decode_exported(
        json, [&](std::string_view name) -> std::optional<std::uint64_t> {
          const Member* const found = archive_.record(folder + std::string(name));
          if (found == nullptr) return std::nullopt;
          return found->size_bytes;
        });
    if (!exported) return archive_.error(member, exported.error().code, exported.error().what);
    const auto first = static_cast<std::uint32_t>(places_.size());
    for (const std::string& name : exported->records) {
      CAIRN_TRY(place, archive_.place_record(folder + name));
      places_.push_back(std::move(place));
    }
    for (format::torch::StoredTensor& tensor : exported->tensors) {
      tensor.facts.span.shard += first;
      contents_.tensors.push_back(std::move(tensor));
    }
    std::ranges::move(exported->left_out, std::back_inserter(contents_.left_out));
    return {};
  }

  TorchArchive& archive_;
  format::torch::Contents contents_;
  std::vector<StoragePlace> places_;
};

// -------------------------------------------------------------------------------------------------

// What the code of TorchScript uses: all weights of a frozen module, which has no attributes any
// more. Numbers among them are no metadata of the checkpoint: add() forgets them for what follows.
Result<void> add_constants(TorchArchive& archive, TorchIndex& index, const FileReadOptions& how) {
  const Member* const constants = archive.record("constants.pkl");
  if (constants == nullptr) return {};
  CAIRN_TRY(read, archive.read_pickle(*constants,
                                      {.whole = how.whole,
                                       .name = "CONSTANTS",
                                       .expand = how.formats.expand,
                                       .plain = how.plain},
                                      "constants/"));
  return index.add(std::move(read.contents), read.places);
}

Result<FileIndex> read_archive(TorchArchive& archive, TorchIndex& index, OpenShard& file,
                               const FileReadOptions& how) {
  const std::string& path = file.file.path();
  const Member* const data = archive.record("data.pkl");
  CAIRN_TRY(big_endian, archive.is_big_endian());
  if (big_endian) index.set_big_endian();
  if (data == nullptr) {
    ExportedReader exported(archive);
    CAIRN_TRY(is_program, exported.read());
    if (!is_program) return no_pickle(file.file, archive);
    CAIRN_CHECK(exported.add_to(index, path));
    return index.finish(std::move(file));
  }
  CAIRN_CHECK(add_constants(archive, index, how));
  CAIRN_TRY(saved,
            archive.read_pickle(
                *data, {.whole = how.whole, .expand = how.formats.expand, .plain = how.plain}));
  CAIRN_CHECK(index.add(std::move(saved.contents), saved.places));
  const auto is_code = [&](const Member& member) {
    return member.name.starts_with(archive.root() + "code/");
  };
  if (std::ranges::any_of(archive.members(), is_code))
    index.leave_out(path + ": its code (TorchScript) is left out: only tensors are read");
  return index.finish(std::move(file));
}

}  // namespace

Result<FileIndex> read_torch(OpenShard file, const FileReadOptions& how) {
  TorchIndex index(file.file, how);
  auto archive = TorchArchive::open(file.file, {0, file.identity.size_bytes}, index.memory());
  if (archive) return read_archive(*archive, index, file, how);
  return named_for_what_it_is(file.file, std::move(archive).error(),
                              {FileType::PyTorchArchive, FileType::Zip});
}

}  // namespace cairn::internal
