// Many requests as one pass: neighbouring ranges are read together, a range that several requests
// need is read once, large ranges are read into their place without another copy, and every sum
// that was not compared before is compared in the same pass.
//
// Some requests cannot be part of the pass: strings have no place until they are decoded, pages
// that the caller may have changed (Access::Private) are not in the file, and a slice of very many
// short runs needs more memory for its plan than for its bytes. These are read one by one,
// afterwards.

#include <algorithm>
#include <tuple>

#include "format/checked.h"
#include "lib/os/parallel.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/scan_plan.h"
#include "lib/read/slices.h"
#include "lib/read/small_reads.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

// A run takes 24 bytes of the plan. If the runs of a request are shorter than this on average, the
// request is read alone.
constexpr std::uint64_t kRunBytesMin = 512;

// The number of contiguous runs that the elements `shared` have where `stored` is stored.
std::uint64_t run_count(const Box& stored, const Box& shared) {
  std::uint64_t elements = 1;  // of one run
  for (std::size_t i = stored.size(); i-- > 0;) {
    elements *= static_cast<std::uint64_t>(shared[i].count);
    if (shared[i].count != stored[i].count) break;
  }
  return elements == 0 ? 0 : element_count(shared) / elements;
}

}  // namespace

class ReadPlan {
 public:
  ReadPlan(const OpenCheckpoint& checkpoint, std::size_t requests)
      : checkpoint_(checkpoint), plan_(checkpoint) {
    plan_.reserve(requests);
    checks_.reserve(requests);
  }

  Result<void> add(const Read& read) {
    CAIRN_TRY(position, find(read.name));
    if (add_whole(position, read)) return {};
    CAIRN_TRY(width, checkpoint_.check_request(position, read.out, read.slice));
    const auto tensor = checkpoint_.index().tensor(position);
    const bool placed = is_addressable(tensor) && tensor.strides.empty();
    if (!placed || checkpoint_.access() == Access::Private) return add_single(position, read);
    CAIRN_TRY(box, checkpoint_.box_of_request(position, read.slice));
    CAIRN_TRY(parts, checkpoint_.parts_of(position, box));
    std::uint64_t runs = 0;
    for (const StoredPart& part : parts) {
      CAIRN_CHECK(checkpoint_.shards().ensure_not_faulted(part.span.shard));
      runs += run_count(part.box, part.shared);
    }
    if (runs > 1 && read.out.size() / runs < kRunBytesMin) return add_single(position, read);
    const bool whole = element_count(box) == format::element_count(tensor.shape);
    for (const StoredPart& part : parts) {
      const auto copy = [&](const Run& run) -> Result<void> {
        plan_.copy(part.span.shard, part.span.offset_bytes + run.from_bytes,
                   read.out.subspan(run.to_bytes, run.size_bytes));
        return {};
      };
      CAIRN_CHECK(for_each_run(part.box, box, part.shared, tensor.element_bits / 8, copy));
      add_checks(position, part, whole);
    }
    if (width > 1) swapped_.push_back({read.out, width});
    return {};
  }

  Result<void> run(const ExecOptions& exec, const ReaderPartition& partition) {
    if (!std::ranges::is_sorted(checks_, {}, &Check::key))
      std::ranges::sort(checks_, {}, &Check::key);
    checks_.erase(std::ranges::unique(checks_, {}, &Check::key).begin(), checks_.end());
    for (const Check& check : checks_) plan_.sum(piece_of(check), check.span.size_bytes);
    const std::uint64_t pass_bytes = plan_.plan();
    const std::uint64_t total_bytes = pass_bytes + single_bytes_;
    const ByteSource source =
        checkpoint_.access() == Access::Copy ? ByteSource::Memory : ByteSource::File;
    CAIRN_CHECK(plan_.run(source, os::part_of(exec, {0, total_bytes}), partition));
    for (std::size_t i = 0; i < checks_.size(); ++i) CAIRN_CHECK(end(checks_[i], i));
    for (const auto& [bytes, width] : swapped_) swap_in_place(bytes, width);
    return read_singles(os::part_of(exec, {pass_bytes, total_bytes}));
  }

 private:
  // A sum to be compared, and the flag to be set if it is right.
  struct Check {
    std::size_t tensor;
    LazyChecks::Flag* flag;
    format::Span span;
    std::tuple<std::uint32_t, std::uint64_t, const LazyChecks::Flag*> key() const noexcept {
      return {span.shard, span.offset_bytes, flag};
    }
  };
  struct Single {
    std::size_t tensor;
    const Read* read;
  };
  struct Swapped {
    std::span<std::byte> bytes;
    std::uint32_t width;
  };

  Result<std::size_t> find(std::string_view name) {
    const auto position = checkpoint_.position_of(name, next_);
    if (!position) return checkpoint_.find(name);
    next_ = *position + 1;
    return *position;
  }

  // Adds a request for all of a tensor whose stored bytes need only be copied. Nearly every request
  // is such, and needs no further planning. False: it is another request, or has an error, which
  // add() then finds.
  bool add_whole(std::size_t position, const Read& read) {
    const auto tensor = checkpoint_.index().tensor(position);
    if (!read.slice.empty() || tensor.partitioned() || !is_addressable(tensor) ||
        !tensor.strides.empty() || tensor.big_endian || read.out.size() != tensor.size_bytes ||
        checkpoint_.access() == Access::Private ||
        !checkpoint_.shards().ensure_not_faulted(tensor.span.shard)) {
      return false;
    }
    if (tensor.size_bytes == 0) return true;
    plan_.copy(tensor.span.shard, tensor.span.offset_bytes, read.out);
    const LazyChecks& checks = checkpoint_.checks();
    if (!checks.is_checked(position)) add_check(position, checks.of_tensor(position), tensor.span);
    return true;
  }

  Result<void> add_single(std::size_t position, const Read& read) {
    singles_.push_back({position, &read});
    single_bytes_ += read.out.size();
    return {};
  }

  // The sums that cover the part: of the tensor, of its chunks, or of a slice as it is stored.
  void add_checks(std::size_t position, const StoredPart& part, bool whole) {
    const OpenCheckpoint& from = checkpoint_;
    const LazyChecks& checks = from.checks();
    if (checks.is_checked(position)) return;
    const auto tensor = from.index().tensor(position);
    if (tensor.partitioned()) return add_check(position, checks.of_slice(part.slice), part.span);
    if (whole || tensor.chunk_crc32cs.empty())
      return add_check(position, checks.of_tensor(position), tensor.span);
    const std::uint64_t chunk_bytes = from.index().chunk_bytes();
    const auto touched =
        touched_blocks(part.box, part.shared, tensor.element_bits / 8, chunk_bytes);
    for (std::uint32_t i = 0; i < touched.size(); ++i) {
      if (!touched[i]) continue;
      const std::uint64_t begin = i * chunk_bytes;
      add_check(position, checks.of_chunk(tensor.chunks_begin + i),
                {tensor.span.shard, tensor.span.offset_bytes + begin,
                 std::min(chunk_bytes, tensor.span.size_bytes - begin), tensor.chunk_crc32cs[i]});
    }
  }

  void add_check(std::size_t position, LazyChecks::Flag& flag, const format::Span& span) {
    if (span.crc32c && !LazyChecks::is_set(flag)) checks_.push_back({position, &flag, span});
  }

  static Piece piece_of(const Check& check) {
    Piece piece;
    piece.shard = check.span.shard;
    piece.offset_bytes = check.span.offset_bytes;
    piece.size_bytes = check.span.size_bytes;
    return piece;
  }

  Result<void> end(const Check& check, std::size_t piece) const {
    const std::uint32_t computed = plan_.sums(piece)->whole;
    if (computed != check.span.crc32c)
      return checkpoint_.damaged(check.tensor, check.span, computed);
    LazyChecks::set(*check.flag);
    return {};
  }

  Result<void> read_singles(const ExecOptions& exec) const {
    return os::run_parallel(exec, singles_.size(), single_bytes_,
                            [&](std::size_t i) -> Result<std::uint64_t> {
                              const auto& [tensor, read] = singles_[i];
                              CAIRN_CHECK(checkpoint_.read(tensor, read->out, read->slice));
                              return read->out.size();
                            });
  }

  const OpenCheckpoint& checkpoint_;
  std::size_t next_ = 0;  // the position behind the tensor of the request before
  ScanPlan plan_;
  std::vector<Check> checks_;
  std::vector<Swapped> swapped_;
  std::vector<Single> singles_;
  std::uint64_t single_bytes_ = 0;
};

Result<void> OpenCheckpoint::read_all(std::span<const Read> reads, const ExecOptions& exec,
                                      const ReaderPartition& partition) const {
  CAIRN_CHECK(ensure_has_bytes());
  if (partition.index >= partition.count) {
    return Error{Code::Invalid, 0,
                 parts_.prefix.string() +
                     ": the index of a ReaderPartition must be less than its count, not " +
                     std::to_string(partition.index) + " of " + std::to_string(partition.count)};
  }
  CAIRN_TRY(done, read_small(*this, reads, exec, partition));
  if (done) return {};
  ReadPlan plan(*this, reads.size());
  for (const Read& read : reads) CAIRN_CHECK(plan.add(read));
  return plan.run(exec, partition);
}

}  // namespace cairn::internal
