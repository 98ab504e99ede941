// A file of torch.save of before PyTorch 1.6: five pickles one after another (a number that tells
// what it is, a version, the machine, what was saved, and the keys of the storages), then the
// storages in the order of their keys, each behind the count of its elements.

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/checked.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/name_index.h"
#include "format/pickle/machine.h"
#include "format/quoted.h"
#include "format/torch/contents.h"
#include "lib/open/file_formats.h"
#include "lib/open/torch_index.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::pickle::Input;
using format::pickle::Kind;
using format::pickle::Pickle;
using format::torch::Storage;

// What is read at first; then four times as much, and so on.
constexpr std::uint64_t kHeadBytes = std::uint64_t{64} << 10;
constexpr std::uint64_t kCountBytes = 8;

// All but the pickle of the machine, which is not needed to read the file.
struct Pickles {
  std::vector<std::byte> head;  // of the file, into which they point
  std::vector<Pickle> all;
  std::uint64_t size_bytes = 0;
};

// Nothing: the pickles go on behind `head`.
Result<std::optional<Pickles>> decode_all(const std::string& path, std::vector<std::byte>& head,
                                          bool is_all) {
  constexpr std::size_t kPickles = 5;
  std::vector<Pickle> all;
  std::uint64_t at = 0;
  while (all.size() < kPickles) {
    auto one =
        format::pickle::decode(std::span(head).subspan(at), is_all ? Input::Whole : Input::Head);
    if (!one) {
      format::DecodeError error = std::move(one).error();
      error.byte_offset += at;
      return error_of(path, error);
    }
    if (!*one) return std::optional<Pickles>();
    at += (*one)->size_bytes;
    all.push_back(**std::move(one));
  }
  return std::optional(Pickles{std::move(head), std::move(all), at});
}

Result<Pickles> read_pickles(const OpenShard& file) {
  const std::uint64_t size_bytes = file.identity.size_bytes;
  std::vector<std::byte> head;
  std::uint64_t next_bytes = kHeadBytes;
  while (true) {
    head.resize(std::min(next_bytes, size_bytes));
    CAIRN_CHECK(file.file.read_at(0, head));
    CAIRN_TRY(pickles, decode_all(file.file.path(), head, head.size() == size_bytes));
    if (pickles) return *std::move(pickles);
    next_bytes *= 4;
  }
}

class LegacyReader {
 public:
  LegacyReader(const os::File& file, std::uint64_t size_bytes, const FileReadOptions& how)
      : file_(file),
        size_bytes_(size_bytes),
        index_(file, how),
        whole_(how.whole),
        expand_(how.formats.expand) {}

  Result<FileIndex> read(OpenShard& file) {
    CAIRN_TRY(pickles, read_pickles(file));
    CAIRN_CHECK(check_version(pickles));
    const Pickle& saved = pickles.all[3];
    auto contents = format::torch::read_contents(
        saved, {.whole = whole_,
                .memory_max = format::torch::pickle_memory_max(saved.size_bytes),
                .expand = expand_});
    if (!contents)
      return Error{contents.error().code, 0, file_.path() + ": " + contents.error().what};
    CAIRN_TRY(places, place_storages(pickles, contents->storages));
    CAIRN_CHECK(index_.add(*std::move(contents), places));
    return index_.finish(std::move(file));
  }

 private:
  Error corrupt(const std::string& why) const {
    return {Code::Corrupt, 0, file_.path() + ": " + why};
  }

  Result<void> check_version(const Pickles& pickles) const {
    constexpr std::int64_t kVersion = 1001;
    const Pickle& version = pickles.all[1];
    const format::pickle::Node& node = version.graph[version.root];
    if (node.kind == Kind::Int && node.integer == kVersion) return {};
    return Error{Code::Unsupported, 0,
                 file_.path() + ": its second pickle is not the version " +
                     std::to_string(kVersion) + ", which is the one that is known"};
  }

  Result<std::vector<StoragePlace>> place_storages(const Pickles& pickles,
                                                   const std::vector<Storage>& storages) {
    format::NameIndex position_of(storages.size());
    std::vector<StoragePlace> places(storages.size(),
                                     {.missing = "the file does not list its storage"});
    for (std::uint32_t i = 0; i < storages.size(); ++i) {
      if (storages[i].form == format::torch::PickledForm::None) {
        position_of.add(storages[i].key, i);
        continue;
      }
      CAIRN_TRY(place, place_of_pickled(index_.memory(), storages[i], {pickles.head, 0}));
      places[i] = std::move(place);
    }
    position_of.sort();
    const format::pickle::Graph& graph = pickles.all[4].graph;
    if (!graph.is(pickles.all[4].root, Kind::List))
      return corrupt("its last pickle is no list of storages");
    std::uint64_t at = pickles.size_bytes;
    for (const format::pickle::Ref key : graph.cells(pickles.all[4].root)) {
      const auto found = position_of.find(graph.text(key));
      if (!found || !graph.is(key, Kind::Text))
        return corrupt("it lists a storage that its tensors do not name, " +
                       format::quoted(graph.text(key)));
      const Storage& storage = storages[*found];
      CAIRN_TRY(place, place_at(at, storage));
      // Where one ends behind the file, nobody knows where the next one begins.
      at = place.missing.empty() ? place.offset_bytes + place.size_bytes : size_bytes_;
      places[*found] = std::move(place);
    }
    return places;
  }

  Result<StoragePlace> place_at(std::uint64_t at, const Storage& storage) const {
    if (storage.element_bytes == 0) {
      return Error{Code::Unsupported, 0,
                   file_.path() + ": the elements of storage " + format::quoted(storage.key) +
                       " are of a type that is not known, so nobody can tell where the storages "
                       "behind it begin"};
    }
    if (!format::inside(at, kCountBytes, size_bytes_))
      return StoragePlace{.missing = "the file ends before its storage: it is truncated"};
    std::array<std::byte, kCountBytes> bytes;
    CAIRN_CHECK(file_.read_at(at, bytes));
    const auto count = format::load_le<std::uint64_t>(bytes.data());
    const auto size = format::checked_mul(count, storage.element_bytes);
    if (!size || *size < storage.size_bytes)
      return corrupt("byte " + std::to_string(at) + ": storage " + format::quoted(storage.key) +
                     " has " + std::to_string(count) +
                     " elements, and the pickle says that it has " +
                     std::to_string(storage.size_bytes) + " bytes");
    if (!format::inside(at + kCountBytes, *size, size_bytes_))
      return StoragePlace{.missing = "the file ends in its storage: it is truncated"};
    return StoragePlace{0, at + kCountBytes, *size, {}};
  }

  const os::File& file_;
  const std::uint64_t size_bytes_;
  TorchIndex index_;
  const bool whole_;
  const bool expand_;
};

}  // namespace

Result<FileIndex> read_torch_legacy(OpenShard file, const FileReadOptions& how) {
  CAIRN_TRY(type, identify(file.file));
  if (type != FileType::PyTorchLegacy)
    return Error{Code::Corrupt, 0, file.file.path() + ": is " + describe(how.name, type)};
  return LegacyReader(file.file, file.identity.size_bytes, how).read(file);
}

Result<FileIndex> read_torch_file(OpenShard file, const FileReadOptions& how) {
  CAIRN_TRY(type, identify(file.file));
  return type == FileType::PyTorchLegacy ? read_torch_legacy(std::move(file), how)
                                         : read_torch(std::move(file), how);
}

}  // namespace cairn::internal
