// The locks are Linux's record locks of the open file: they exclude the threads of one process from
// each other as well as processes, and do not vanish when somebody else in the process closes the
// same file. flock() would be one lock for all prefixes, and over NFS it is a record lock on the
// whole file.
//
// Nobody is told when a byte is free again, so those who wait look again and again; and whoever has
// it all the time would nearly always be first. So each byte has a queue: further bytes, each a
// ticket. Who comes takes the first ticket behind all that are held, asks for the byte once no
// ticket before its own is held, and gives the ticket back when it has the byte. Tickets vanish
// with who holds them, as the byte does. A turnstile, one byte that only who comes next may hold,
// is fair to two and not to six: whoever looks at the right moment gets through, and in 180 turns
// one of six had 10 and another 45. Who is stopped (SIGSTOP, a debugger) while it waits keeps its
// ticket and takes no byte: those behind it go past once the byte has been free for a while.
//
// Who waits looks again after an eighth of the time that it has waited, so that waiting costs
// little and a lock that is free does not stay unused for long.
//
// The file stays when the lock goes: removing it would let two writers hold locks on two files of
// the same name. Its text names the holders and is for messages only; the kernel alone says who
// holds what.

#include "lib/write/lock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "format/digest.h"
#include "format/le.h"
#include "format/quoted.h"
#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::uint64_t kDirectoryByte = 0;
constexpr std::uint64_t kPrefixBytes = std::uint64_t{1} << 60;  // 1 to this
// Behind them, for each byte a stretch of tickets. Two prefixes may share one, and wait for each
// other then.
constexpr std::uint64_t kQueues = std::uint64_t{1} << 62;
constexpr std::uint64_t kQueueCount = std::uint64_t{1} << 41;
constexpr std::uint64_t kTickets = std::uint64_t{1} << 20;
constexpr std::size_t kTextBytes = 128;  // a line of the text
constexpr std::uint64_t kLines = 32;
constexpr std::chrono::milliseconds kPauseMin{1};
constexpr std::chrono::milliseconds kPauseMax{20};
constexpr std::chrono::milliseconds kPauseMaxOfNext{2};  // of the one that comes next
constexpr std::chrono::seconds kStopped{1};              // who leaves a free byte alone so long
constexpr int kPausePart = 8;                            // of the time that was waited

using Clock = std::chrono::steady_clock;

std::uint64_t line_of(std::uint64_t byte) {
  return byte == kDirectoryByte ? 0 : 1 + byte % (kLines - 1);
}

// Two prefixes may have one line; the byte that it begins with tells whose it is.
std::string byte_text(std::uint64_t byte) { return std::to_string(byte) + " "; }

void describe_holder(const os::File& file, std::uint64_t byte) {
  std::string text = byte_text(byte) + os::process_name();
  text.resize(kTextBytes - 1, ' ');
  // On a full disk the message does without.
  (void)file.write_at(line_of(byte) * kTextBytes, format::as_bytes(text + "\n"));
}

std::string holder(const os::File& file, std::uint64_t byte) {
  std::array<std::byte, kTextBytes> bytes{};
  const auto count = file.read_some_at(line_of(byte) * kTextBytes, bytes);
  std::string_view text = format::as_text(std::span(bytes).first(count.value_or(0)));
  text = text.substr(0, text.find('\n'));
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  const std::string own = byte_text(byte);
  if (!text.starts_with(own)) return "another process";
  return format::quoted(text.substr(own.size()));
}

Result<os::File> opened_lock(const os::Directory& directory) {
  auto file = directory.open_or_create_file(kLockName);
  if (file) return file;
  Error error = std::move(file).error();
  if (error.code == Code::NotFound)
    error.what = directory.path() + ": was removed after it was opened; open it again";
  if (error.os_errno == EACCES || error.os_errno == EPERM) {
    error.what +=
        "; to change checkpoints here, you need write permission for this file and its directory; "
        "ask the owner, or choose another directory";
  }
  return error;
}

class LockWaiter {
 public:
  explicit LockWaiter(const LockWait& wait) : wait_(wait), since_(Clock::now()) {
    // No clock reaches that far.
    const std::chrono::milliseconds longest = std::chrono::hours{24 * 365 * 100};
    if (wait.at_most <= longest)
      until_ = since_ + std::max(wait.at_most, std::chrono::milliseconds(0));
  }

  // Until `attempt` succeeds: true. false: the time is up.
  template <class Attempt>
  Result<bool> until(Clock::duration pause_max, Attempt attempt) const {
    while (true) {
      CAIRN_TRY(done, attempt());
      if (done) return true;
      CAIRN_CHECK(os::unless_stopped(wait_.stop));
      const Clock::time_point now = Clock::now();
      if (until_ && now >= *until_) return false;
      const Clock::duration pause = (now - since_) / kPausePart;
      std::this_thread::sleep_for(std::clamp<Clock::duration>(pause, kPauseMin, pause_max));
    }
  }

 private:
  const LockWait& wait_;
  Clock::time_point since_;
  std::optional<Clock::time_point> until_;  // nothing: for ever
};

// A place in a byte's queue, until it is left.
class QueueSlot {
 public:
  QueueSlot(const os::File& file, std::uint64_t byte)
      : file_(file), queue_(kQueues + byte % kQueueCount * kTickets) {}
  QueueSlot(const QueueSlot&) = delete;
  QueueSlot& operator=(const QueueSlot&) = delete;
  ~QueueSlot() {
    if (held_) file_.unlock_byte(queue_ + ticket_);
  }

  // false: the queue is full, or another took the ticket; to be tried again.
  Result<bool> take() {
    ticket_ = 0;
    while (ticket_ < kTickets) {
      CAIRN_TRY(held, file_.locked_byte({queue_ + ticket_, kTickets - ticket_}));
      if (!held) break;
      ticket_ = *held - queue_ + 1;
    }
    if (ticket_ == kTickets) return false;
    CAIRN_TRY(taken, file_.try_lock_byte(queue_ + ticket_));
    held_ = taken;
    return held_;
  }

  Result<bool> is_first() const {
    CAIRN_TRY(held, file_.locked_byte({queue_, ticket_}));
    return !held;
  }

 private:
  const os::File& file_;
  std::uint64_t queue_;
  std::uint64_t ticket_ = 0;
  bool held_ = false;
};

// Whether a byte was free whenever it was looked at, for so long that who is next must be stopped.
class IdleByte {
 public:
  IdleByte(const os::File& file, std::uint64_t byte) : file_(file), byte_(byte) {}

  Result<bool> for_long() {
    CAIRN_TRY(held, file_.locked_byte({byte_, 1}));
    if (held) used_ = Clock::now();
    return Clock::now() - used_ >= kStopped;
  }

 private:
  const os::File& file_;
  std::uint64_t byte_;
  Clock::time_point used_ = Clock::now();
};

// false: the time is up.
Result<bool> take_in_turn(const os::File& file, std::uint64_t byte, const LockWaiter& waiting) {
  QueueSlot place(file, byte);
  CAIRN_TRY(queued, waiting.until(kPauseMax, [&] { return place.take(); }));
  if (!queued) return false;
  IdleByte unused(file, byte);
  const auto is_next = [&]() -> Result<bool> {
    CAIRN_TRY(first, place.is_first());
    if (first) return true;
    return unused.for_long();
  };
  CAIRN_TRY(next, waiting.until(kPauseMax, is_next));
  if (!next) return false;
  return waiting.until(kPauseMaxOfNext, [&] { return file.try_lock_byte(byte); });
}

// Whose turn did not come in time. `what` it is that was to be written to.
Error busy(const os::File& file, std::uint64_t byte, const std::string& what,
           const LockWait& wait) {
  const auto waited = std::max(wait.at_most, std::chrono::milliseconds(0)).count();
  const auto held = file.locked_byte({byte, 1});
  const std::string why = held && !*held ? "other processes wait for it and come first"
                                         : "is locked by " + holder(file, byte);
  return {Code::Busy, 0,
          what + ": " + why + "; waited " + std::to_string(waited) +
              " ms; try again, or wait longer (lock_wait)"};
}

}  // namespace

// `what` it is that is written to, for messages.
struct Lock::Request {
  std::uint64_t byte;
  std::string what;
};

Lock::Lock(Lock&& other) noexcept
    : file_(std::move(other.file_)), byte_(other.byte_), held_(std::exchange(other.held_, false)) {}

Lock::~Lock() {
  // Not by closing alone: a forked child may have the file open too.
  if (held_) file_.unlock_byte(byte_);
}

Result<Lock> Lock::of_directory(const os::Directory& directory, const LockWait& wait) {
  return take(directory, {kDirectoryByte, directory.path()}, wait);
}

Result<bool> Lock::directory_is_held(const os::Directory& directory) {
  const auto file = directory.open_file(kLockName, os::Links::Refuse);
  if (!file && file.error().code == Code::NotFound) return false;
  if (!file) return file.error();
  CAIRN_TRY(held, file->locked_byte({kDirectoryByte, 1}));
  return held.has_value();
}

Result<Lock> Lock::of_prefix(const os::Directory& directory, std::string_view base,
                             const LockWait& wait) {
  const Digest128 digest = format::xxh3_128(format::as_bytes(base));
  const auto hash = format::load_le<std::uint64_t>(digest.bytes.data());
  const std::string what = (std::filesystem::path(directory.path()) / base).string();
  return take(directory, {1 + hash % kPrefixBytes, what}, wait);
}

Result<Lock> Lock::take(const os::Directory& directory, const Request& wanted,
                        const LockWait& wait) {
  const LockWaiter waiting(wait);
  while (true) {
    CAIRN_TRY(file, opened_lock(directory));
    CAIRN_TRY(ours, take_in_turn(file, wanted.byte, waiting));
    if (!ours) return busy(file, wanted.byte, wanted.what, wait);
    CAIRN_TRY(opened, file.info());
    CAIRN_TRY(named, directory.look(kLockName));
    // Somebody may have removed the file by hand meanwhile; then this lock excludes nobody.
    if (!named || named->inode != opened.inode) continue;
    describe_holder(file, wanted.byte);
    return Lock(std::move(file), wanted.byte);
  }
}

}  // namespace cairn::internal
