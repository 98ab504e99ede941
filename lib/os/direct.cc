// A disk is busy only while it has more to do than one read. Through the page cache the kernel
// reads ahead; past it, whoever reads must ask for several at once. io_uring does that without a
// thread for each: every thread of the call has a ring of its own, takes the next reads from a
// counter that all share, and works on one block while the others come in.
//
// Where io_uring is refused (containers do that), threads that wait in pread do the same work;
// since they sleep, there are more of them than cores.

#include "lib/os/direct.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <utility>

#include "lib/os/descriptor.h"
#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::os {
namespace {

// Reads under way for each thread: with 1 MiB each, 4 keep a fast disk busy.
constexpr unsigned kDepth = 4;

// One thread's reads under way. Its owner must reap all before their memory goes.
class Ring {
 public:
  // Nothing: the kernel refuses. A sandbox may allow the call that makes a ring and refuse the one
  // that uses it, so a request to do nothing goes first.
  static std::optional<Ring> create() {
    Ring ring;
    if (::io_uring_queue_init(kDepth, &ring.ring_, 0) != 0) return std::nullopt;
    ring.open_ = true;
    ring.ring_.ring_fd = ring.ring_.enter_ring_fd = above_standard_streams(ring.ring_.ring_fd);
    if (ring.ring_.ring_fd < 0) return std::nullopt;
    ::io_uring_prep_nop(::io_uring_get_sqe(&ring.ring_));
    if (::io_uring_submit(&ring.ring_) != 1) return std::nullopt;
    ++ring.under_way_;
    ring.wait();
    return ring;
  }

  Ring(Ring&& other) noexcept
      : ring_(other.ring_), open_(std::exchange(other.open_, false)), under_way_(0) {}
  Ring& operator=(Ring&&) = delete;
  ~Ring() {
    while (open_ && under_way_ > 0) {
      io_uring_cqe* entry = nullptr;
      if (::io_uring_wait_cqe(&ring_, &entry) == 0) reap(entry);
    }
    if (open_) ::io_uring_queue_exit(&ring_);
  }

  bool full() const noexcept { return under_way_ == kDepth; }
  bool idle() const noexcept { return under_way_ == 0; }

  Result<void> start(const DirectRead& read, std::size_t number) {
    io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
    CAIRN_ASSERT(entry != nullptr);
    ::io_uring_prep_read(entry, read.file->fd(), read.out.data(),
                         static_cast<unsigned>(read.out.size()), read.offset_bytes);
    ::io_uring_sqe_set_data64(entry, number);
    const int submitted = ::io_uring_submit(&ring_);
    if (submitted == 1) {
      ++under_way_;
      return {};
    }
    errno = submitted < 0 ? -submitted : EIO;
    return system_error(read.file->path(), "cannot start a read");
  }

  struct Ended {
    std::size_t number;
    int count;  // of bytes, or an errno below 0
  };
  Ended wait() {
    io_uring_cqe* entry = nullptr;
    int failed = 0;
    do {
      failed = ::io_uring_wait_cqe(&ring_, &entry);
    } while (failed == -EINTR || failed == -EAGAIN);
    CAIRN_ASSERT(failed == 0);  // nothing else can be wrong with a ring that has reads under way
    return reap(entry);
  }

 private:
  Ring() = default;

  Ended reap(io_uring_cqe* entry) noexcept {
    const Ended ended{::io_uring_cqe_get_data64(entry), entry->res};
    ::io_uring_cqe_seen(&ring_, entry);
    --under_way_;
    return ended;
  }

  io_uring ring_{};
  bool open_ = false;
  unsigned under_way_ = 0;
};

// A read that came back short is gone on with; it is rare, and not worth a place in the ring.
Result<void> finish(const DirectRead& read, int count) {
  if (count < 0) {
    errno = -count;
    return system_error(read.file->path(),
                        "cannot read at byte " + std::to_string(read.offset_bytes));
  }
  if (static_cast<std::size_t>(count) == read.out.size()) return {};
  const std::size_t kept =
      static_cast<std::size_t>(count) / kDirectAlignmentBytes * kDirectAlignmentBytes;
  return read.file->read_at(read.offset_bytes + kept, read.out.subspan(kept));
}

// Reads to be made, and whom to tell.
struct Reads {
  std::span<const DirectRead> reads;
  const std::function<Result<void>(std::size_t)>& done;

  Result<void> end(std::size_t number, int count, WorkQueue& queue) const {
    CAIRN_CHECK(finish(reads[number], count));
    CAIRN_CHECK(done(number));
    queue.did(reads[number].out.size());
    return {};
  }
};

Result<void> read_by_calls(const Reads& all, WorkQueue& queue) {
  while (const auto number = queue.next()) {
    const DirectRead& read = all.reads[*number];
    CAIRN_CHECK(read.file->read_at(read.offset_bytes, read.out));
    CAIRN_CHECK(all.end(*number, static_cast<int>(read.out.size()), queue));
  }
  return {};
}

Result<void> read_by_ring(const Reads& all, Ring& ring, WorkQueue& queue) {
  bool more = true;
  while (true) {
    while (more && !ring.full()) {
      const auto number = queue.next();
      more = number.has_value();
      if (more) CAIRN_CHECK(ring.start(all.reads[*number], *number));
    }
    if (ring.idle()) return {};
    const Ring::Ended ended = ring.wait();
    CAIRN_CHECK(all.end(ended.number, ended.count, queue));
  }
}

// Whether what a file system asks for is kept by kDirectAlignmentBytes; 0: it has no such reads.
bool is_one_to(std::uint32_t alignment_bytes) noexcept {
  return alignment_bytes != 0 && kDirectAlignmentBytes % alignment_bytes == 0;
}

// The file system has none, or the file cannot be opened again: there is no /proc, or it was handed
// over by somebody with other rights.
bool means_no_direct_reads(int number) noexcept {
  return number == EINVAL || number == EOPNOTSUPP || number == ENOENT || number == EACCES ||
         number == EPERM;
}

}  // namespace

Result<File> reopen_direct(const File& file) {
  const std::string same = "/proc/self/fd/" + std::to_string(file.fd());
  const int fd = above_standard_streams(::open(same.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (fd < 0) {
    Error error = system_error(file.path(), "cannot be read past the page cache");
    if (means_no_direct_reads(error.os_errno)) error.code = Code::Unsupported;
    return error;
  }
  File direct(fd, file.path());
  struct statx status{};
  const bool known = ::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &status) == 0 &&
                     (status.stx_mask & STATX_DIOALIGN) != 0;
  if (!known || (is_one_to(status.stx_dio_offset_align) && is_one_to(status.stx_dio_mem_align)))
    return direct;
  return Error{Code::Unsupported, 0, file.path() + ": cannot be read past the page cache"};
}

Result<void> read_direct(const ExecOptions& exec, std::span<const DirectRead> reads,
                         const std::function<Result<void>(std::size_t)>& done, DirectCalls calls) {
  std::uint64_t total_bytes = 0;
  for (const DirectRead& read : reads) {
    CAIRN_ASSERT(read.offset_bytes % kDirectAlignmentBytes == 0 &&
                 read.out.size() % kDirectAlignmentBytes == 0 &&
                 reinterpret_cast<std::uintptr_t>(read.out.data()) % kDirectAlignmentBytes == 0);
    total_bytes += read.out.size();
  }
  const Reads all{reads, done};
  const bool rings = calls == DirectCalls::Ring && Ring::create().has_value();
  const unsigned threads = thread_count(exec) * (rings ? 1 : kDepth);
  return run_threads(exec, {reads.size(), total_bytes, threads}, [&](WorkQueue& queue) {
    auto ring = rings ? Ring::create() : std::nullopt;
    return ring ? read_by_ring(all, *ring, queue) : read_by_calls(all, queue);
  });
}

}  // namespace cairn::os
