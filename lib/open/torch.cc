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
#include <unordered_map>
#include <utility>
#include <vector>

#include "format/le.h"
#include "format/limits.h"
#include "format/pickle/machine.h"
#include "format/quoted.h"
#include "format/torch/contents.h"
#include "format/torch/exported.h"
#include "lib/open/file_formats.h"
#include "lib/open/torch_index.h"
#include "lib/open/zip_file.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::zip::Member;

bool is_deflated(const Member& member) noexcept { return member.method == format::zip::kDeflated; }

class TorchArchive {
 public:
  TorchArchive(const os::File& file, const FileReadOptions& how, std::vector<Member> members)
      : file_(file), members_(std::move(members)), index_(file, how), whole_(how.whole) {}

  Result<FileIndex> read(OpenShard& file) {
    CAIRN_CHECK(check_start());
    find_root();
    const Member* const data = record("data.pkl");
    if (data == nullptr) return is_exported() ? read_exported(file) : no_pickle();
    CAIRN_CHECK(read_byte_order());
    CAIRN_TRY(bytes, read_record(*data, format::limits::kPickleBytesMax));
    CAIRN_CHECK(read_pickle(*data, bytes));
    for (const Member& member : members_) {
      if (!member.name.starts_with(root_ + "code/")) continue;
      index_.leave_out(file_.path() +
                       ": its code (TorchScript) is left out: only tensors are read");
      break;
    }
    return index_.finish(std::move(file));
  }

 private:
  Error error(const Member& member, Code code, const std::string& why) const {
    return {code, 0, file_.path() + ": member " + format::quoted(member.name) + ": " + why};
  }

  // An exported program holds archives of its own: where it is cut off behind one, that one ends
  // the file. PyTorch reads no archive that does not begin with its file.
  Result<void> check_start() const {
    const auto first = std::ranges::min_element(members_, {}, &Member::header_offset_bytes);
    if (first == members_.end() || first->header_offset_bytes == 0) return {};
    return Error{Code::Corrupt, 0,
                 file_.path() + ": the archive at its end begins at byte " +
                     std::to_string(first->header_offset_bytes) +
                     ", and not with the file: it is truncated, or something was put in front"};
  }

  // All records lie in one folder, which is called as the file once was.
  void find_root() {
    if (!members_.empty()) root_ = members_.front().name;
    root_.resize(std::min(root_.find('/'), root_.size() - 1) + 1);
    if (members_.empty()) root_.clear();
    records_.reserve(members_.size());
    for (const Member& member : members_) {
      if (member.name.starts_with(root_))
        records_.emplace(std::string_view(member.name).substr(root_.size()), &member);
    }
  }

  const Member* record(std::string_view name) const {
    const auto found = records_.find(name);
    return found == records_.end() ? nullptr : found->second;
  }

  Error no_pickle() const {
    const bool has_storages = std::ranges::any_of(
        records_, [](const auto& each) { return each.first.starts_with("data/"); });
    if (has_storages) {
      return {Code::Corrupt, 0,
              file_.path() +
                  ": the archive has no member data.pkl, which says what its storages hold: it is "
                  "damaged"};
    }
    return {Code::Unsupported, 0,
            file_.path() +
                ": is a Zip archive without a member data.pkl, so it is none of "
                "PyTorch's"};
  }

  Result<void> check_readable(const Member& member) const {
    if (member.encrypted) return error(member, Code::Unsupported, "it is encrypted");
    if (member.method == format::zip::kStored || is_deflated(member)) return {};
    return error(member, Code::Unsupported, "it is compressed by another method than deflate");
  }

  Result<os::Bytes> read_record(const Member& member, std::uint64_t most_bytes) const {
    CAIRN_CHECK(check_readable(member));
    if (member.size_bytes > most_bytes) {
      return error(member, Code::Unsupported,
                   "it has " + std::to_string(member.size_bytes) +
                       " bytes, more than the limit of " + std::to_string(most_bytes));
    }
    CAIRN_TRY(head, read_zip_head(file_, member, 0));
    os::Bytes bytes(member.size_bytes);
    if (!is_deflated(member)) {
      CAIRN_CHECK(file_.read_at(head.data_offset_bytes, bytes));
      return bytes;
    }
    InflatedMember inflated(file_, member, head.data_offset_bytes);
    CAIRN_CHECK(inflated.read(bytes));
    CAIRN_CHECK(inflated.finish());
    return bytes;
  }

  // Archives of before PyTorch 2.1 do not say it: they are little-endian.
  Result<void> read_byte_order() {
    constexpr std::uint64_t kWordBytesMax = 64;
    const Member* const order = record("byteorder");
    if (order == nullptr) return {};
    CAIRN_TRY(bytes, read_record(*order, kWordBytesMax));
    const std::string_view word = format::as_text(bytes);
    if (word == "big") index_.set_big_endian();
    if (word == "big" || word == "little") return {};
    return error(*order, Code::Corrupt,
                 "it says " + format::quoted(word) + ", and little or big is known");
  }

  Result<void> read_pickle(const Member& member, const os::Bytes& bytes) {
    const auto pickle = format::pickle::decode(bytes, format::pickle::Input::Whole);
    if (!pickle)
      return error(
          member, pickle.error().code,
          "byte " + std::to_string(pickle.error().byte_offset) + ": " + pickle.error().what);
    auto contents = format::torch::read_contents(**pickle, {whole_, bytes.size()});
    if (!contents) return error(member, contents.error().code, contents.error().what);
    CAIRN_TRY(places, place_storages(contents->storages));
    return index_.add(*std::move(contents), places);
  }

  Result<std::vector<StoragePlace>> place_storages(
      const std::vector<format::torch::Storage>& storages) {
    std::vector<StoragePlace> places;
    places.reserve(storages.size());
    std::string name;
    for (const format::torch::Storage& storage : storages) {
      name = "data/";
      name += storage.key;
      CAIRN_TRY(place, place_record(name));
      places.push_back(std::move(place));
    }
    return places;
  }

  // In the file where it is stored, in memory where it is deflated.
  Result<StoragePlace> place_record(const std::string& name) {
    const Member* const member = record(name);
    if (member == nullptr)
      return StoragePlace{.missing = "the archive has no member " + format::quoted(root_ + name)};
    CAIRN_CHECK(check_readable(*member));
    CAIRN_TRY(head, read_zip_head(file_, *member, 0));
    if (is_deflated(*member)) return decode(*member, head.data_offset_bytes);
    return StoragePlace{0, head.data_offset_bytes, member->size_bytes, {}};
  }

  // ---- Exported programs (.pt2) ----

  // The folder of the records that this one tells of, with its slash; empty: it tells of none.
  static std::string_view folder_of_config(std::string_view name) noexcept {
    for (const std::string_view folder : {"data/weights/", "data/constants/"}) {
      if (name.starts_with(folder) && name.ends_with("_config.json")) return folder;
    }
    return {};
  }

  bool is_exported() const noexcept {
    return std::ranges::any_of(
        records_, [](const auto& each) { return !folder_of_config(each.first).empty(); });
  }

  Result<FileIndex> read_exported(OpenShard& file) {
    CAIRN_CHECK(read_byte_order());
    format::torch::Contents contents;
    std::vector<StoragePlace> places;
    for (const Member& member : members_) {
      const std::string_view name = std::string_view(member.name).substr(root_.size());
      if (member.name.starts_with(root_) && !folder_of_config(name).empty())
        CAIRN_CHECK(read_config(member, std::string(folder_of_config(name)), contents, places));
    }
    std::ranges::sort(contents.tensors, {},
                      [](const auto& each) -> const std::string& { return each.facts.name; });
    const auto name_of = [](const auto& each) -> const std::string& { return each.facts.name; };
    const auto twice = std::ranges::adjacent_find(contents.tensors, {}, name_of);
    if (twice != contents.tensors.end()) {
      return Error{Code::Corrupt, 0,
                   file_.path() + ": two tensors are called " + format::quoted(twice->facts.name)};
    }
    CAIRN_CHECK(index_.add(std::move(contents), places));
    index_.leave_out(file_.path() + ": its program is left out: only tensors are read");
    return index_.finish(std::move(file));
  }

  Result<void> read_config(const Member& member, const std::string& folder,
                           format::torch::Contents& contents, std::vector<StoragePlace>& places) {
    CAIRN_TRY(json, read_record(member, format::limits::kSafetensorsHeaderBytesMax));
    auto exported = format::torch::decode_exported(
        json, [&](std::string_view name) -> std::optional<std::uint64_t> {
          const Member* const found = record(folder + std::string(name));
          if (found == nullptr) return std::nullopt;
          return found->size_bytes;
        });
    if (!exported) return error(member, exported.error().code, exported.error().what);
    const auto first = static_cast<std::uint32_t>(places.size());
    for (const std::string& name : exported->records) {
      CAIRN_TRY(place, place_record(folder + name));
      places.push_back(std::move(place));
    }
    for (format::torch::StoredTensor& tensor : exported->tensors) {
      tensor.facts.span.shard += first;
      contents.tensors.push_back(std::move(tensor));
    }
    std::ranges::move(exported->left_out, std::back_inserter(contents.left_out));
    return {};
  }

  Result<StoragePlace> decode(const Member& member, std::uint64_t data_offset_bytes) {
    constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20;
    CAIRN_CHECK(index_.reserve(member.size_bytes));
    InflatedMember inflated(file_, member, data_offset_bytes);
    const std::uint64_t begin = index_.decoded().begin();
    std::vector<std::byte> block;
    for (std::uint64_t done = 0; done < member.size_bytes; done += block.size()) {
      block.resize(std::min(kBlockBytes, member.size_bytes - done));
      CAIRN_CHECK(inflated.read(block));
      CAIRN_CHECK(index_.decoded().add(block));
    }
    CAIRN_CHECK(inflated.finish());
    return StoragePlace{1, begin, member.size_bytes, {}};
  }

  const os::File& file_;
  const std::vector<Member> members_;
  std::string root_;                                             // with its slash
  std::unordered_map<std::string_view, const Member*> records_;  // by their names in the folder
  TorchIndex index_;
  const bool whole_;
};

}  // namespace

Result<FileIndex> read_torch(OpenShard file, const FileReadOptions& how) {
  const auto refused = [&](Error error) {
    return named_for_what_it_is(file.file, std::move(error),
                                {FileType::PyTorchArchive, FileType::Zip});
  };
  auto members = read_zip_members(file.file, file.identity.size_bytes);
  if (!members) return refused(std::move(members).error());
  return TorchArchive(file.file, how, *std::move(members)).read(file);
}

}  // namespace cairn::internal
