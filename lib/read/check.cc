// Verify: comparing all bytes with what the index says of them.
//
// Every check reads through the shard's descriptor, which returns errors, and not through the
// mapping, which would kill the process if a file was truncated or a disk fails. It costs less than
// it seems: 548 MB take 30 ms by pread and 17–19 ms through the mapping, and the first touch of a
// mapping costs page faults too. Memory of our own (Access::Copy) is summed where it lies.
//
// All bytes are read once, in the order of the files (scan_plan.cc). So one large tensor keeps all
// cores busy even if only one sum is stored for it, and 100,000 small tensors do not cost a system
// call each. If chunk sums are stored, the report of damage names the chunk.

#include "lib/read/check.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <utility>

#include "format/checked.h"
#include "format/digest.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "lib/os/parallel.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

Damage damage_of(const OpenCheckpoint& checkpoint, const Piece& piece) {
  Damage damage;
  if (piece.tensor != kNoTensor) damage.tensor = checkpoint.index().tensor_name(piece.tensor);
  damage.shard = checkpoint.index().shard(piece.shard).name;
  damage.offset_bytes = piece.offset_bytes;
  damage.size_bytes = piece.size_bytes;
  damage.stored_crc32c = piece.crc32c;
  return damage;
}

// The damaged ranges of a piece; no `sums`: its bytes break the rules of their encoding.
void append_damage(const OpenCheckpoint& checkpoint, const Piece& piece,
                   const std::optional<ScanPlan::Sums>& sums, std::vector<Damage>& damage) {
  if (!sums) {
    damage.push_back(damage_of(checkpoint, piece));
    return;
  }
  const std::size_t before = damage.size();
  const std::uint64_t chunk_bytes = checkpoint.index().chunk_bytes();
  const bool chunked = piece.chunk_crc32cs.size() == sums->chunks.size();
  for (std::size_t i = 0; chunked && i < sums->chunks.size(); ++i) {
    if (sums->chunks[i] == piece.chunk_crc32cs[i]) continue;
    damage.push_back(damage_of(checkpoint, piece));
    damage.back().offset_bytes += i * chunk_bytes;
    damage.back().size_bytes = std::min(chunk_bytes, piece.size_bytes - i * chunk_bytes);
    damage.back().stored_crc32c = piece.chunk_crc32cs[i];
    damage.back().computed_crc32c = sums->chunks[i];
  }
  if (sums->whole == piece.crc32c || damage.size() != before) return;
  damage.push_back(damage_of(checkpoint, piece));
  damage.back().computed_crc32c = sums->whole;
}

bool is_own(format::ShardKind kind) noexcept {
  return kind == format::ShardKind::Universal || kind == format::ShardKind::Headerless;
}

// Padding holds zeros: a piece like any other, with the sum of that many of them.
Piece padding(std::uint32_t shard, std::uint64_t begin, std::uint64_t end) {
  Piece piece;
  piece.shard = shard;
  piece.offset_bytes = begin;
  piece.size_bytes = end - begin;
  static constexpr std::array<std::byte, 4096> kZeros{};
  for (std::uint64_t done = 0; done < piece.size_bytes; done += kZeros.size()) {
    const std::size_t count = std::min<std::uint64_t>(kZeros.size(), piece.size_bytes - done);
    piece.crc32c = format::crc32c(std::span(kZeros).first(count), piece.crc32c);
  }
  return piece;
}

// The rest of a Cairn shard: its header, and what lies between the tensors. Overlaps are an error.
Result<void> append_rest(const OpenCheckpoint& checkpoint, std::span<const Piece> tensors,
                         std::uint32_t shard, std::vector<Piece>& rest) {
  const auto facts = checkpoint.index().shard(shard);
  std::uint64_t end = facts.head_bytes;
  if (facts.head_bytes != 0) {
    Piece head;
    head.shard = shard;
    head.size_bytes = facts.head_bytes;
    head.crc32c = facts.head_crc32c;
    rest.push_back(head);
  }
  const Piece* previous = nullptr;
  for (const Piece& piece : tensors) {
    if (previous != nullptr && previous->place() == piece.place()) continue;
    if (piece.offset_bytes < end) {
      return Error{Code::Corrupt, 0,
                   checkpoint.shard_path(shard) + ": tensor " +
                       format::quoted(checkpoint.index().tensor_name(piece.tensor)) + " at byte " +
                       std::to_string(piece.offset_bytes) + " overlaps bytes that end at byte " +
                       std::to_string(end)};
    }
    if (piece.offset_bytes > end) rest.push_back(padding(shard, end, piece.offset_bytes));
    end = piece.offset_bytes + piece.size_bytes;
    previous = &piece;
  }
  if (end < facts.identity.size_bytes)
    rest.push_back(padding(shard, end, facts.identity.size_bytes));
  return {};
}

// The bytes that pieces in the order of their files cover. Foreign ones may overlap.
std::uint64_t covered_bytes(std::span<const Piece> pieces) noexcept {
  std::uint64_t covered = 0;
  std::uint32_t shard = 0;
  std::uint64_t end = 0;
  for (const Piece& piece : pieces) {
    if (std::exchange(shard, piece.shard) != piece.shard) end = 0;
    const std::uint64_t piece_end = piece.offset_bytes + piece.size_bytes;
    if (piece_end <= end) continue;
    covered += piece_end - std::max(end, piece.offset_bytes);
    end = piece_end;
  }
  return covered;
}

// The tensors, or their slices, that have no sum.
std::vector<Piece> unsummed_pieces(const format::IndexView& index) {
  std::vector<Piece> pieces;
  const auto append = [&](const format::Span& span) {
    if (span.crc32c) return;
    Piece piece;
    piece.shard = span.shard;
    piece.offset_bytes = span.offset_bytes;
    piece.size_bytes = span.size_bytes;
    pieces.push_back(piece);
  };
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const auto tensor = index.tensor(i);
    if (!tensor.partitioned()) append(tensor.span);
    for (std::uint32_t slice = tensor.slices_begin; slice < tensor.slices_end; ++slice)
      append(index.slice(slice).span);
  }
  return pieces;
}

// The bytes of tensors that none of the summed pieces covers.
std::uint64_t unsummed_bytes(const format::IndexView& index, std::span<const Piece> summed) {
  std::vector<Piece> pieces = unsummed_pieces(index);
  if (pieces.empty()) return 0;
  pieces.insert(pieces.end(), summed.begin(), summed.end());
  std::ranges::sort(pieces, {}, &Piece::place);
  return covered_bytes(pieces) - covered_bytes(summed);
}

// P.index belongs to the checkpoint, although it is not read here: if it is still the file that
// P.cairn records, it must have the recorded digest.
Result<void> check_tensorflow_index(const Parts& parts) {
  const auto record = parts.index.tensorflow_index();
  if (!record.present || parts.format != Format::Cairn) return {};
  const Prefix prefix = Prefix::of(parts.prefix);
  const auto directory = os::Directory::open(prefix.directory);
  if (!directory) return {};
  const auto file =
      directory->open_file(prefix.base + std::string(kTensorFlowSuffix), os::Links::Follow);
  if (!file) return {};
  CAIRN_TRY(info, file->info());
  const format::FileIdentity identity = identity_of(info);
  if (identity != record.identity) return {};
  CAIRN_TRY(bytes, os::read_whole(*file, format::limits::kForeignIndexBytesMax));
  if (format::xxh3_128(bytes) == record.digest) return {};
  return Error{Code::Corrupt, 0,
               file->path() + ": is damaged: its digest is not the one that " + prefix.base +
                   std::string(kCairnSuffix) +
                   " records; to write it again, use export_index() with replace (cairn export "
                   "--to tensorflow --replace)"};
}

// The places of members that are decoded on their first use, each with one of its tensors.
std::map<std::uint64_t, std::size_t> decoded_places(const OpenCheckpoint& checkpoint) {
  std::map<std::uint64_t, std::size_t> places;
  const auto& index = checkpoint.index();
  const auto last = static_cast<std::uint32_t>(index.shard_count() - 1);
  if (index.shard_count() == 0 || !checkpoint.shards().is_decoded(last)) return places;
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const format::Span span = index.tensor(i).span;
    if (span.shard == last && span.size_bytes != 0) places.try_emplace(span.offset_bytes, i);
  }
  return places;
}

Piece piece_of(std::uint32_t shard, format::FileRange range) {
  Piece piece;
  piece.shard = shard;
  piece.offset_bytes = range.offset_bytes;
  piece.size_bytes = range.size_bytes;
  return piece;
}

// Tensors without a sum in the index, some of whose bytes have another sum than the file says;
// where there is none, the range itself.
void append_damage_of_range(const format::IndexView& index, const Piece& range,
                            std::vector<Damage>& damage) {
  const std::size_t before = damage.size();
  const auto append = [&](std::string_view name, const format::Span& span) {
    const bool inside = span.shard == range.shard && span.offset_bytes >= range.offset_bytes &&
                        span.offset_bytes < range.offset_bytes + range.size_bytes;
    if (!inside || span.crc32c || span.size_bytes == 0) return;
    damage.push_back({std::string(name), std::string(index.shard(span.shard).name),
                      span.offset_bytes, span.size_bytes});
  };
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const auto tensor = index.tensor(i);
    if (!tensor.partitioned()) append(tensor.name, tensor.span);
    for (std::uint32_t slice = tensor.slices_begin; slice < tensor.slices_end; ++slice)
      append(tensor.name, index.slice(slice).span);
  }
  if (damage.size() != before) return;
  damage.push_back(
      {"", std::string(index.shard(range.shard).name), range.offset_bytes, range.size_bytes});
}

// What the index has no sums of, and the files have.
Result<void> compare_own_sums(const OpenCheckpoint& checkpoint, CompareOwnSums compare,
                              const ExecOptions& exec, Verification& seen) {
  const auto& index = checkpoint.index();
  CAIRN_TRY(summed, all_pieces(checkpoint));
  const std::uint64_t unsummed_before = unsummed_bytes(index, summed);
  std::vector<Damage> damage;
  for (std::uint32_t shard = 0; shard < index.shard_count(); ++shard) {
    if (checkpoint.shards().is_decoded(shard)) continue;
    CAIRN_TRY(ranges, compare(checkpoint.shards().file(shard), exec));
    for (const SummedRange& one : ranges) {
      summed.push_back(piece_of(shard, one.range));
      if (one.damaged) append_damage_of_range(index, summed.back(), damage);
    }
  }
  std::ranges::sort(summed, {}, &Piece::place);
  const std::uint64_t compared_bytes = unsummed_before - unsummed_bytes(index, summed);
  seen.bytes_checked += compared_bytes;
  seen.unchecked_bytes -= compared_bytes;
  seen.damage.insert(seen.damage.begin(), damage.begin(), damage.end());
  return {};
}

}  // namespace

Error OpenCheckpoint::damaged(std::size_t position, const format::Span& span,
                              std::uint32_t computed) const {
  Error error{Code::Corrupt, 0,
              shard_path(span.shard) + ": tensor " + format::quoted(index().tensor_name(position)) +
                  " is damaged: bytes " + std::to_string(span.offset_bytes) + " to " +
                  std::to_string(span.offset_bytes + span.size_bytes) + " have the checksum " +
                  format::crc32c_hex(computed) + ", but the stored checksum is " +
                  format::crc32c_hex(span.crc32c.value_or(0)) +
                  "; get the file again, or use salvage() to keep the other tensors"};
  tell({EventKind::Damaged, parts_.prefix.native(), error.what, index().tensor_name(position),
        span.size_bytes});
  return error;
}

Result<Verification> OpenCheckpoint::verify(const ExecOptions& exec) const {
  ScanPlan plan(*this);
  CAIRN_TRY(seen,
            check_by(plan, access() == Access::Copy ? ByteSource::Memory : ByteSource::File, exec));
  CAIRN_CHECK(add_own_sums(seen, exec));
  return seen;
}

// What is left out has no bytes that are counted, but its sum says whether it is damaged.
Result<void> OpenCheckpoint::add_own_sums(Verification& seen, const ExecOptions& exec) const {
  const bool all_known = seen.unchecked_bytes == 0 && parts_.left_out.empty();
  if (all_known || parts_.compare_own_sums == nullptr) return {};
  const std::size_t known = seen.damage.size();
  CAIRN_CHECK(compare_own_sums(*this, parts_.compare_own_sums, exec, seen));
  for (const Damage& damage : std::span(seen.damage).first(seen.damage.size() - known))
    tell({EventKind::Damaged, parts_.prefix.native(), {}, damage.tensor, damage.size_bytes});
  return {};
}

Result<Verification> OpenCheckpoint::check_by(ScanPlan& plan, ByteSource source,
                                              const ExecOptions& exec) const {
  const auto begin = std::chrono::steady_clock::now();
  CompleteCheck check(*this, plan, source);
  CAIRN_CHECK(check.prepare(exec));
  CAIRN_CHECK(check.run(exec));
  Verification seen = check.result();
  tell({EventKind::Checked,
        parts_.prefix.native(),
        {},
        {},
        seen.bytes_checked,
        std::chrono::steady_clock::now() - begin});
  return seen;
}

Result<std::uint64_t> OpenCheckpoint::check_whole(ScanPlan& plan, ByteSource source,
                                                  const ExecOptions& exec) {
  CAIRN_TRY(seen, check_by(plan, source, exec));
  if (!seen.damage.empty()) return damage_error(*this, seen);
  mark_checked();
  return seen.bytes_checked;
}

void OpenCheckpoint::mark_checked() const noexcept {
  for (std::size_t i = 0; i < index().tensor_count(); ++i) checks_.mark_checked(i);
}

Result<std::vector<Piece>> all_pieces(const OpenCheckpoint& checkpoint) {
  const auto& index = checkpoint.index();
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < index.tensor_count(); ++i) append_pieces(index, i, pieces);
  const auto by_key = [](const Piece& piece) { return piece.key(); };
  std::ranges::sort(pieces, {}, by_key);
  pieces.erase(std::ranges::unique(pieces, {}, by_key).begin(), pieces.end());
  std::vector<Piece> rest;
  for (std::uint32_t shard = 0; shard < index.shard_count(); ++shard) {
    if (!is_own(index.shard(shard).kind)) continue;
    const auto own = std::ranges::equal_range(pieces, shard, {}, &Piece::shard);
    CAIRN_CHECK(append_rest(checkpoint, std::span(own.begin(), own.end()), shard, rest));
  }
  pieces.insert(pieces.end(), rest.begin(), rest.end());
  std::ranges::sort(pieces, {}, by_key);
  return pieces;
}

Error damage_error(const OpenCheckpoint& checkpoint, const Verification& seen) {
  const Damage& first = seen.damage.front();
  return {
      Code::Corrupt, 0,
      checkpoint.parts().prefix.string() + ": " + std::to_string(seen.damage.size()) +
          (seen.damage.size() == 1 ? " damaged range, in " : " damaged ranges; the first in ") +
          first.shard + ", " +
          (first.tensor.empty() ? "header or padding" : "tensor " + format::quoted(first.tensor)) +
          ", bytes " + std::to_string(first.offset_bytes) + " to " +
          std::to_string(first.offset_bytes + first.size_bytes) + ": checksum " +
          format::crc32c_hex(first.computed_crc32c) + ", stored " +
          format::crc32c_hex(first.stored_crc32c)};
}

// ---- In one pass or in steps --------------------------------------------------------------------

Result<void> CompleteCheck::prepare(const ExecOptions& exec, const CheckScope& scope) {
  const format::IndexView& index = checkpoint_.index();
  CAIRN_CHECK(checkpoint_.ensure_has_bytes());
  CAIRN_CHECK(checkpoint_.shards().ensure_not_faulted());
  CAIRN_CHECK(check_tensorflow_index(checkpoint_.parts()));
  for (std::size_t i = 0; i < index.tensor_count(); ++i)
    CAIRN_CHECK(checkpoint_.checks().ensure_disjoint(i));
  CAIRN_TRY(pieces, all_pieces(checkpoint_));
  pieces_ = std::move(pieces);
  request(scope);
  if (scope.read_unsummed) request_unsummed();
  CAIRN_CHECK(plan_.read_heads(source_, exec));
  const auto members = decoded_places(checkpoint_);
  members_.assign(members.begin(), members.end());
  damaged_members_.resize(members_.size());
  pass_bytes_ = total_bytes_ = plan_.plan();
  for (const auto& [offset_bytes, position] : members_)
    total_bytes_ += index.tensor(position).size_bytes;
  return {};
}

void CompleteCheck::request(const CheckScope& scope) {
  requests_.reserve(pieces_.size());
  for (const Piece& piece : pieces_) {
    const bool chunked = !piece.chunk_crc32cs.empty();
    const bool known = scope.known && scope.known(piece);
    requests_.push_back(
        known ? kKnown
              : plan_.sum(piece, chunked ? checkpoint_.index().chunk_bytes() : piece.size_bytes));
  }
}

// Their sums are computed and compared with nothing.
void CompleteCheck::request_unsummed() {
  for (const Piece& piece : unsummed_pieces(checkpoint_.index())) {
    if (!checkpoint_.shards().is_decoded(piece.shard)) plan_.sum(piece, piece.size_bytes);
  }
}

Result<void> CompleteCheck::run(const ExecOptions& exec) {
  CAIRN_CHECK(plan_.run(source_, os::part_of(exec, {0, total_bytes_})));
  if (members_.empty()) return {};
  return os::run_parallel(os::part_of(exec, {pass_bytes_, total_bytes_}), members_.size(),
                          total_bytes_ - pass_bytes_,
                          [&](std::size_t member) { return decode(member); });
}

Result<std::uint64_t> CompleteCheck::step(std::size_t number, const ExecOptions& exec,
                                          std::span<std::byte> buffer) {
  if (number >= plan_.step_count()) return decode(number - plan_.step_count());
  return plan_.step(number, source_, exec, buffer);
}

Result<std::uint64_t> CompleteCheck::decode(std::size_t member) {
  const format::Span span = checkpoint_.index().tensor(members_[member].second).span;
  auto done = checkpoint_.shards().ensure_decoded(span);
  if (!done && done.error().code != Code::Corrupt) return std::move(done).error();
  damaged_members_[member] = !done.has_value();
  return span.size_bytes;
}

Verification CompleteCheck::result() {
  const format::IndexView& index = checkpoint_.index();
  const std::uint64_t member_bytes = total_bytes_ - pass_bytes_;
  plan_.finish_steps();
  Verification seen;
  seen.bytes_checked = covered_bytes(pieces_) + member_bytes;
  seen.unchecked_bytes = unsummed_bytes(index, pieces_) - member_bytes;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    if (requests_[i] != kKnown)
      append_damage(checkpoint_, pieces_[i], plan_.sums(requests_[i]), seen.damage);
  }
  for (std::size_t i = 0; i < members_.size(); ++i) {
    if (damaged_members_[i] == 0) continue;
    const auto tensor = index.tensor(members_[i].second);
    seen.damage.push_back({std::string(tensor.name),
                           std::string(index.shard(tensor.span.shard).name),
                           tensor.span.offset_bytes, tensor.size_bytes});
  }
  for (const Damage& damage : seen.damage) {
    checkpoint_.tell({EventKind::Damaged,
                      checkpoint_.parts().prefix.native(),
                      {},
                      damage.tensor,
                      damage.size_bytes});
  }
  return seen;
}

}  // namespace cairn::internal
