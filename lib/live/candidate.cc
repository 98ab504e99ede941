// The check comes first and populates nothing: it reads by descriptor, so a bad sector is an error
// and no signal, and it holds no lock of the process's address space while it waits for a disk or
// for idle time. Populating comes second, when all bytes are in the page cache, and then only fills
// the page table. It is done at the caller's priority: a thread of idle priority that is preempted
// inside madvise holds the address space's lock, and a request that calls mmap or munmap waits for
// it.

#include "lib/live/candidate.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <utility>

#include "lib/live/seen_files.h"
#include "lib/os/machine.h"
#include "lib/os/mapping.h"
#include "lib/saver/sums_digest.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kCheckWindowBytes = 1u << 20;
constexpr std::uint64_t kPopulateBytes = 256u << 10;

// How long a slice waits for idle time, before the caller's thread does the rest: so a swap ends
// also where there is none, at a fifth of the default limit.
constexpr auto kIdleMax = std::chrono::milliseconds(250);

constexpr auto kByKey = [](const Piece& piece) { return piece.key(); };

bool has_all_sums(const format::IndexView& index) {
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const auto tensor = index.tensor(i);
    if (!tensor.partitioned() && !tensor.span.crc32c) return false;
    for (std::uint32_t slice = tensor.slices_begin; slice < tensor.slices_end; ++slice)
      if (!index.slice(slice).span.crc32c) return false;
  }
  return true;
}

// Where the shard is among those of another checkpoint.
std::optional<std::uint32_t> twin_of(const SeenFile& shard, const Generation& other) {
  const auto found = std::ranges::find_if(
      other.shards, [&](const SeenFile& its) { return is_same_file(its, shard); });
  if (found == other.shards.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - other.shards.begin());
}

}  // namespace

Result<void> Candidate::open(const LiveOptions& options, const Generation* current) {
  const auto begin = Clock::now();
  if (sighting_.refused) return *sighting_.refused;
  std::vector<TensorSpec> expected = options.expected;
  if (expected.empty() && options.same_tensors && current != nullptr)
    expected = specs_of(OpenCheckpoint::of(current->checkpoint).index());
  CAIRN_TRY(checkpoint,
            Checkpoint::open(sighting_.prefix, {.follow_links = options.follow_links,
                                                .expected = expected,
                                                .expected_digest = options.expected_digest,
                                                .exec = {.threads_max = 1},
                                                .on_event = options.on_event}));
  auto made = std::make_unique<Generation>(std::move(checkpoint));
  const Parts& parts = OpenCheckpoint::of(made->checkpoint).parts();
  made->digest = made->checkpoint.digest();
  made->sums = digest_of_sums(parts.index);
  made->has_all_sums = has_all_sums(parts.index);
  made->prefix = sighting_.prefix;
  made->identity = sighting_.files;
  CAIRN_TRY(shards, shard_files(parts));
  made->shards = std::move(shards);
  made->opened = index_files(parts);
  const std::size_t in_files = made->shards.size() - (parts.decoded ? 1 : 0);
  made->opened.insert(made->opened.end(), made->shards.begin(),
                      made->shards.begin() + static_cast<std::ptrdiff_t>(in_files));
  if (!sighting_.warning.empty()) made->warnings.push_back(sighting_.warning);
  const auto warnings = made->checkpoint.warnings();
  made->warnings.insert(made->warnings.end(), warnings.begin(), warnings.end());
  generation_ = made.release();
  times.open = Clock::now() - begin;
  return {};
}

// Without checksums only the files themselves tell.
bool Candidate::is_same_as(const Generation& current) const {
  if (current.prefix.native() != generation_->prefix.native() || current.sums != generation_->sums)
    return false;
  return (current.has_all_sums && generation_->has_all_sums) ||
         std::ranges::equal(current.shards, generation_->shards, is_same_file);
}

Result<void> Candidate::begin_check(std::span<const Generation* const> published) {
  known_.assign(generation_->shards.size(), {});
  for (const Generation* const other : published) {
    if (other == nullptr) continue;
    std::vector<Piece> pieces;  // of `other`, when a shard has a twin there
    for (std::uint32_t i = 0; i < known_.size(); ++i) {
      const auto twin = twin_of(generation_->shards[i], *other);
      if (!twin || !known_[i].empty()) continue;
      if (pieces.empty()) {
        CAIRN_TRY(all, all_pieces(OpenCheckpoint::of(other->checkpoint)));
        pieces = std::move(all);
      }
      for (Piece piece : std::ranges::equal_range(pieces, *twin, {}, &Piece::shard)) {
        piece.shard = i;
        known_[i].push_back(piece);
      }
    }
  }
  plan_.emplace(opened(), kCheckWindowBytes);
  check_.emplace(opened(), *plan_, ByteSource::File);
  const auto known = [this](const Piece& piece) {
    return std::ranges::binary_search(known_[piece.shard], piece.key(), {}, kByKey);
  };
  CAIRN_CHECK(check_->prepare({.threads_max = 1}, {.known = known, .read_unsummed = true}));
  total_bytes = check_->total_bytes();
  check_began_ = Clock::now();
  return {};
}

Result<SliceDone> Candidate::check(const Pace& pace) {
  std::uint64_t read_bytes = 0;
  const ExecOptions exec{.threads_max = 1, .stop = pace.stop};
  if (next_step_ < check_->window_count()) {
    const std::size_t count =
        std::min<std::size_t>(check_->window_count() - next_step_,
                              std::max<std::uint64_t>(1, pace.bytes / kCheckWindowBytes));
    CAIRN_TRY(bytes, check_windows(count, pace));
    read_bytes = bytes;
    next_step_ += count;
  } else if (next_step_ < check_->step_count()) {  // these allocate
    CAIRN_TRY(bytes, check_->step(next_step_, exec, {}));
    read_bytes = bytes;
    ++next_step_;
  }
  done_bytes = std::min(total_bytes, done_bytes + read_bytes);
  const bool last = next_step_ == check_->step_count();
  if (last) CAIRN_CHECK(finish_check(pace.stop));
  return SliceDone{read_bytes, read_bytes, last};
}

// The windows are given out one by one: the calling thread takes some where there is no idle time.
Result<std::uint64_t> Candidate::check_windows(std::size_t count, const Pace& pace) {
  const ExecOptions exec{.threads_max = 1, .stop = pace.stop};
  std::atomic<std::size_t> next = next_step_;
  std::atomic<std::size_t> bodies = 0;
  std::mutex mutex;
  std::uint64_t read_bytes = 0;
  std::optional<Error> error;
  for (auto& buffer : buffers_) buffer.resize(kCachedBlockBytes);
  const std::size_t end = next_step_ + count;
  const std::function<void()> body = [&]() noexcept {
    const std::span<std::byte> buffer = buffers_[bodies++];
    for (std::size_t number = next++; number < end; number = next++) {
      auto bytes = at_boundary([&] { return check_->step(number, exec, buffer); });
      const std::lock_guard lock(mutex);
      if (bytes) {
        read_bytes += *bytes;
        continue;
      }
      if (!error) error = std::move(bytes).error();
      next = end;
    }
  };
  if (pace.idle_thread == nullptr) {
    body();
  } else {
    pace.idle_thread->run(body, kIdleMax);
  }
  if (error) return *std::move(error);
  return read_bytes;
}

Result<void> Candidate::finish_check(const std::stop_token& stop) {
  Verification seen = check_->result();
  if (seen.damage.empty())
    CAIRN_CHECK(opened().add_own_sums(seen, {.threads_max = 1, .stop = stop}));
  if (!seen.damage.empty()) return damage_error(opened(), seen);
  if (seen.unchecked_bytes != 0) {
    generation_->warnings.push_back(
        generation_->checkpoint.prefix().string() + ": " + std::to_string(seen.unchecked_bytes) +
        " bytes have no checksum, so damage in them is not found; import it ('cairn import', "
        "import_index) to store checksums");
  }
  opened().mark_checked();
  opened().tell({EventKind::Checked,
                 generation_->checkpoint.prefix().native(),
                 {},
                 {},
                 seen.bytes_checked,
                 Clock::now() - check_began_});
  check_.reset();
  plan_.reset();
  return {};
}

std::uint64_t Candidate::shard_bytes(std::uint32_t shard) const noexcept {
  return opened().shards().memory(shard).size();
}

// The pages of the current one count as available too, because the kernel could drop them; but
// they are in use.
void Candidate::begin_populate(const LiveOptions& options, const Generation* current) {
  std::uint64_t new_bytes = 0;
  total_bytes = 0;
  done_bytes = 0;
  for (std::uint32_t i = 0; i < generation_->shards.size(); ++i) {
    total_bytes += shard_bytes(i);
    if (current == nullptr || !twin_of(generation_->shards[i], *current))
      new_bytes += shard_bytes(i);
  }
  std::optional<std::uint64_t> room = options.populate_bytes_max;
  if (!room) {
    room = os::available_memory_bytes();
    const auto used = current == nullptr
                          ? Result<std::uint64_t>(0u)
                          : OpenCheckpoint::of(current->checkpoint).shards().resident_bytes();
    if (room && used) *room -= std::min(*room, *used);
  }
  populates_ = !room || new_bytes <= *room;
  if (populates_) return;
  generation_->warnings.push_back(
      generation_->checkpoint.prefix().string() + ": needs " + std::to_string(new_bytes) +
      " bytes of memory, and " + std::to_string(*room) +
      " are left for it: it is mapped and not populated, so its pages are read when they are used");
}

Result<SliceDone> Candidate::populate() {
  if (!populates_ || shard_ == generation_->shards.size()) return SliceDone{.last = true};
  const std::uint64_t size_bytes = shard_bytes(shard_);
  if (offset_bytes_ == 0) {
    const auto resident = os::resident_bytes(opened().shards().file(shard_), size_bytes);
    reads_ = resident && *resident && **resident < size_bytes;
  }
  const std::uint64_t bytes = std::min(kPopulateBytes, size_bytes - offset_bytes_);
  CAIRN_CHECK(opened().shards().populate({shard_, offset_bytes_, bytes, {}}));
  offset_bytes_ += bytes;
  done_bytes += bytes;
  if (offset_bytes_ == size_bytes) {
    ++shard_;
    offset_bytes_ = 0;
  }
  return SliceDone{bytes, reads_ ? bytes : 0, shard_ == generation_->shards.size()};
}

Result<void> Candidate::prepare(const LiveOptions& options) {
  if (!options.prepare) return {};
  const auto begin = Clock::now();
  CAIRN_TRY(model, at_boundary([&] { return options.prepare(generation_->checkpoint); }));
  generation_->model = std::move(model);
  times.prepare = Clock::now() - begin;
  return {};
}

Result<void> Candidate::ensure_still_there() const {
  const auto& opened_files = generation_->opened;
  if (are_unchanged(opened_files.empty() ? generation_->identity : opened_files)) return {};
  return Error{Code::NotFound, 0,
               sighting_.prefix.string() + ": was removed or replaced before it was published"};
}

}  // namespace cairn::internal
