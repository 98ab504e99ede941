#include "lib/open/torch_archive.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "format/le.h"
#include "format/limits.h"
#include "format/pickle/machine.h"
#include "format/quoted.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::zip::Member;

bool is_deflated(const Member& member) noexcept { return member.method == format::zip::kDeflated; }

}  // namespace

Result<StoragePlace> place_of_pickled(TorchMemory& memory, const format::torch::Storage& storage,
                                      const PicklePlace& pickle) {
  if (storage.size_bytes == 0) return StoragePlace();
  const std::string_view all = format::as_text(pickle.bytes);
  const char* const begin = storage.pickled.data();
  const bool is_there = storage.form == format::torch::PickledForm::Bytes &&
                        std::greater_equal<>()(begin, all.data()) &&
                        std::less<>()(begin, all.data() + all.size());
  if (is_there && pickle.offset_bytes) {
    const auto at = static_cast<std::uint64_t>(begin - all.data());
    return StoragePlace{0, *pickle.offset_bytes + at, storage.size_bytes, {}};
  }
  CAIRN_TRY(offset, memory.add_pickled(storage));
  return StoragePlace{1, offset, storage.size_bytes, {}};
}

// An exported program holds archives of its own: where it is cut off behind one, that one ends
// the file. PyTorch reads no archive that does not begin with its file.
Result<TorchArchive> TorchArchive::open(const os::File& file, format::FileRange range,
                                        TorchMemory& memory) {
  CAIRN_TRY(members, read_zip_members(file, range));
  const auto first = std::ranges::min_element(members, {}, &Member::header_offset_bytes);
  if (first == members.end() || first->header_offset_bytes == range.offset_bytes)
    return TorchArchive(file, memory, std::move(members));
  const bool is_part = range.offset_bytes != 0;
  return Error{
      Code::Corrupt, 0,
      file.path() + ": the archive " +
          (is_part ? "that ends at byte " + std::to_string(range.offset_bytes + range.size_bytes)
                   : "at its end") +
          " begins at byte " + std::to_string(first->header_offset_bytes) + ", and not " +
          (is_part ? "at byte " + std::to_string(range.offset_bytes) : "with the file") +
          ": it is truncated, or something was put in front"};
}

TorchArchive::TorchArchive(const os::File& file, TorchMemory& memory, std::vector<Member> members)
    : file_(&file),
      memory_(&memory),
      members_(std::move(members)),
      heads_(file, members_, 0),
      records_(members_.size()) {
  if (members_.empty()) return;
  root_ = members_.front().name;
  root_.resize(std::min(root_.find('/'), root_.size() - 1) + 1);
  for (std::uint32_t i = 0; i < members_.size(); ++i) {
    const std::string_view name = members_[i].name;
    if (name.starts_with(root_)) records_.add(name.substr(root_.size()), i);
  }
  records_.sort();
}

// Storages lie in the order in which the pickle names them.
const Member* TorchArchive::record(std::string_view name) {
  const auto is_next = [&](const Member& member) {
    return member.name.size() == root_.size() + name.size() && member.name.ends_with(name) &&
           member.name.starts_with(root_);
  };
  if (next_ < members_.size() && is_next(members_[next_])) return &members_[next_++];
  const auto found = records_.find(name);
  if (!found) return nullptr;
  next_ = *found + std::size_t{1};
  return &members_[*found];
}

bool TorchArchive::has_record_below(std::string_view folder) const {
  return std::ranges::any_of(members_, [&](const Member& member) {
    return member.name.starts_with(root_) &&
           std::string_view(member.name).substr(root_.size()).starts_with(folder);
  });
}

Error TorchArchive::error(const Member& member, Code code, const std::string& why) const {
  return {code, 0, file_->path() + ": member " + format::quoted(member.name) + ": " + why};
}

Result<void> TorchArchive::check_readable(const Member& member) const {
  if (member.encrypted) return error(member, Code::Unsupported, "it is encrypted");
  if (member.method == format::zip::kStored || is_deflated(member)) return {};
  return error(member, Code::Unsupported, "it is compressed by another method than deflate");
}

Result<os::Bytes> TorchArchive::read_record(const Member& member, std::uint64_t bytes_max) {
  CAIRN_CHECK(check_readable(member));
  if (member.size_bytes > bytes_max) {
    return error(member, Code::Unsupported,
                 "it has " + std::to_string(member.size_bytes) + " bytes, more than the limit of " +
                     std::to_string(bytes_max));
  }
  CAIRN_TRY(head, heads_.read(member));
  os::Bytes bytes(member.size_bytes);
  if (!is_deflated(member)) {
    const auto begin = head.data(member);
    if (!begin.empty()) std::memcpy(bytes.data(), begin.data(), begin.size());
    CAIRN_CHECK(file_->read_at(head.data_offset_bytes + begin.size(),
                               std::span(bytes).subspan(begin.size())));
    return bytes;
  }
  InflatedMember inflated(*file_, member, head.data_offset_bytes);
  CAIRN_CHECK(inflated.read(bytes));
  CAIRN_CHECK(inflated.finish());
  return bytes;
}

// Archives of before PyTorch 2.1 do not say it: they are little-endian.
Result<bool> TorchArchive::is_big_endian() {
  constexpr std::uint64_t kWordBytesMax = 64;
  const Member* const order = record("byteorder");
  if (order == nullptr) return false;
  CAIRN_TRY(bytes, read_record(*order, kWordBytesMax));
  const std::string_view word = format::as_text(bytes);
  if (word == "big" || word == "little") return word == "big";
  return error(*order, Code::Corrupt,
               "it says " + format::quoted(word) + ", and little or big is known");
}

Result<TorchArchive::Saved> TorchArchive::read_pickle(const Member& data,
                                                      format::torch::ReadOptions how,
                                                      std::string_view folder) {
  CAIRN_TRY(bytes, read_record(data, format::limits::kPickleBytesMax));
  const auto pickle = format::pickle::decode(bytes, format::pickle::Input::Whole);
  if (!pickle)
    return error(data, pickle.error().code,
                 "byte " + std::to_string(pickle.error().byte_offset) + ": " + pickle.error().what);
  how.memory_max = format::torch::pickle_memory_max(bytes.size());
  auto contents = format::torch::read_contents(**pickle, how);
  if (!contents) return error(data, contents.error().code, contents.error().what);
  std::vector<StoragePlace> places;
  places.reserve(contents->storages.size());
  std::string name;
  for (const format::torch::Storage& storage : contents->storages) {
    if (storage.form != format::torch::PickledForm::None) {
      CAIRN_TRY(place, place_pickled(storage, data, bytes));
      places.push_back(std::move(place));
      continue;
    }
    name = folder;
    name += storage.key;
    CAIRN_TRY(place, place_record(name));
    places.push_back(std::move(place));
  }
  contents->storages.clear();  // their keys lie in the pickle
  return Saved{*std::move(contents), std::move(places)};
}

Result<StoragePlace> TorchArchive::place_pickled(const format::torch::Storage& storage,
                                                 const Member& data, const os::Bytes& bytes) {
  if (is_deflated(data)) return place_of_pickled(*memory_, storage, {bytes, std::nullopt});
  CAIRN_TRY(offset, zip_data_offset(*file_, data));
  return place_of_pickled(*memory_, storage, {bytes, offset});
}

Result<StoragePlace> TorchArchive::place_record(const std::string& name) {
  const Member* const member = record(name);
  if (member == nullptr)
    return StoragePlace{.missing = "the archive has no member " + format::quoted(root_ + name)};
  CAIRN_CHECK(check_readable(*member));
  CAIRN_TRY(head, heads_.read(*member));
  if (is_deflated(*member)) return decode(*member, head.data_offset_bytes);
  return StoragePlace{0, head.data_offset_bytes, member->size_bytes, {}};
}

Result<StoragePlace> TorchArchive::decode(const Member& member, std::uint64_t data_offset_bytes) {
  constexpr std::uint64_t kBlockBytes = std::uint64_t{1} << 20;
  CAIRN_CHECK(memory_->reserve(member.size_bytes));
  InflatedMember inflated(*file_, member, data_offset_bytes);
  const std::uint64_t begin = memory_->decoded().begin();
  std::vector<std::byte> block;
  for (std::uint64_t done = 0; done < member.size_bytes; done += block.size()) {
    block.resize(std::min(kBlockBytes, member.size_bytes - done));
    CAIRN_CHECK(inflated.read(block));
    CAIRN_CHECK(memory_->decoded().add(block));
  }
  CAIRN_CHECK(inflated.finish());
  return StoragePlace{1, begin, member.size_bytes, {}};
}

}  // namespace cairn::internal
