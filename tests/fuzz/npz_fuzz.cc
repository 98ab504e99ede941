// A zip archive of .npy files: its directory, its members, and each array's header, stored or
// deflated.

#include <algorithm>
#include <optional>

#include "format/checked.h"
#include "format/numpy/array.h"
#include "format/zip/archive.h"
#include "format/zip/inflate.h"
#include "fuzz.h"

using namespace cairn;
namespace numpy = cairn::format::numpy;
namespace zip = cairn::format::zip;

namespace {

// The first bytes that it becomes, at most so many, and no more than it is to have.
std::vector<std::byte> inflated(std::span<const std::byte> packed, std::size_t bytes_max) {
  std::vector<std::byte> out(bytes_max);
  std::size_t made_bytes = 0;
  zip::Inflater inflater;
  while (made_bytes < out.size()) {
    const auto step = inflater.run(packed, std::span(out).subspan(made_bytes));
    if (!step) break;
    fuzz::demand(step->taken_bytes <= packed.size(), "no more is taken than there is");
    fuzz::demand(step->made_bytes <= out.size() - made_bytes, "no more is made than fits");
    made_bytes += step->made_bytes;
    packed = packed.subspan(step->taken_bytes);
    if (step->ended || (step->taken_bytes == 0 && step->made_bytes == 0)) break;
  }
  out.resize(made_bytes);
  return out;
}

void read_array(std::span<const std::byte> data, std::uint64_t size_bytes) {
  const auto head_bytes =
      numpy::data_offset_bytes(data.first(std::min(data.size(), numpy::kPreambleBytes)));
  if (!head_bytes) return;
  const auto tensor = numpy::decode_array(
      data.first(std::min<std::uint64_t>(data.size(), *head_bytes)), size_bytes);
  if (!tensor) return;
  fuzz::demand(tensor->span.offset_bytes + tensor->span.size_bytes == size_bytes,
               "elements end with the member");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<std::byte> copy = fuzz::bytes_of(fuzz::text_of(data, size));
  const std::span<const std::byte> file(copy);
  const auto place = zip::find_directory(file.last(std::min(size, zip::kTailBytes)), size);
  if (!place) return 0;
  fuzz::demand(format::inside(place->offset_bytes, place->size_bytes, size), "directory inside");
  const auto members =
      zip::decode_directory(file.subspan(place->offset_bytes, place->size_bytes), *place);
  if (!members) return 0;
  fuzz::demand(members->size() == place->member_count, "as many members as are said");
  std::vector<std::pair<std::uint64_t, std::uint64_t>> places;
  for (const zip::Member& member : *members) {
    const auto offset = zip::data_offset_bytes(file.subspan(member.header_offset_bytes), member);
    if (!offset) continue;
    places.emplace_back(member.header_offset_bytes, *offset + member.packed_bytes);
    const auto packed = file.subspan(*offset, member.packed_bytes);
    const std::size_t most = std::min<std::uint64_t>(member.size_bytes, 8u << 10);
    if (member.method == zip::kDeflated && !member.encrypted) {
      fuzz::demand(member.size_bytes <= 1'032 * packed.size(), "no bomb");
      read_array(inflated(packed, most), member.size_bytes);
    } else if (member.method == zip::kStored && !member.encrypted) {
      fuzz::demand(member.size_bytes == packed.size(), "stored as it is");
      read_array(packed, member.size_bytes);
    }
  }
  std::ranges::sort(places);
  for (std::size_t i = 1; i < places.size(); ++i)
    fuzz::demand(places[i - 1].second <= places[i].first, "members lie apart");
  fuzz::demand(places.empty() || places.back().second <= place->offset_bytes,
               "members lie in front of the directory");
  return 0;
}
