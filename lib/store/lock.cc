// The locks are Linux's record locks of the open file: they exclude the threads of one process from
// each other as well as processes, and do not vanish when somebody else in the process closes the
// same file. flock() would be one lock for all prefixes, and over NFS it is a record lock on the
// whole file.
//
// Nobody is told when a byte is free again, so those who wait look again and again; and whoever has
// it all the time would nearly always be first. So each byte has another one before it, as a
// turnstile: only who holds that may ask for the byte, and keeps it until it has got it. The holder
// of the byte, when it comes again, waits behind.
//
// The file stays when the lock goes: removing it would let two writers hold locks on two files of
// the same name. Its text names the holders and is for messages only; the kernel alone says who
// holds what.

#include "lib/store/lock.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>

#include "format/digest.h"
#include "format/le.h"
#include "format/quoted.h"
#include "lib/os/parallel.h"
#include "lib/try.h"

namespace cairn::store {
namespace {

constexpr std::uint64_t kDirectoryByte = 0;
constexpr std::uint64_t kPrefixBytes = std::uint64_t{1} << 60;  // 1 to this
constexpr std::uint64_t kTurnstiles = std::uint64_t{1} << 61;   // behind it, one for each byte
constexpr std::size_t kTextBytes = 128;                         // a line of the text
constexpr std::uint64_t kLines = 32;
constexpr std::chrono::milliseconds kPauseMax{20};
constexpr std::chrono::milliseconds kPauseMaxOfNext{2};  // of the one that comes next

using Clock = std::chrono::steady_clock;

std::uint64_t line_of(std::uint64_t byte) {
  return byte == kDirectoryByte ? 0 : 1 + byte % (kLines - 1);
}

// Two prefixes may have one line; the byte that it begins with tells whose it is.
std::string byte_text(std::uint64_t byte) { return std::to_string(byte) + " "; }

void name_holder(const os::File& file, std::uint64_t byte) {
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

// Holds a turnstile.
struct Turn {
  const os::File& file;
  std::uint64_t byte;
  ~Turn() { file.unlock_byte(byte); }
};

Result<os::File> opened_lock(const os::Directory& directory) {
  auto file = directory.open_or_create_file(kLockName);
  if (!file && (file.error().os_errno == EACCES || file.error().os_errno == EPERM)) {
    Error error = std::move(file).error();
    error.what +=
        "; whoever changes checkpoints here must be allowed to write to this file and to its "
        "directory: ask its owner, or choose another place";
    return error;
  }
  return file;
}

class Waiting {
 public:
  explicit Waiting(const LockWait& wait) : wait_(wait), until_(Clock::now()) {
    // No clock reaches that far.
    forever_ = wait.at_most > std::chrono::hours{24 * 365 * 100};
    if (!forever_) until_ += wait.at_most;
  }

  // Until `attempt` succeeds: true. false: the time is up.
  template <class Attempt>
  Result<bool> until(std::chrono::milliseconds pause_max, Attempt attempt) {
    for (std::chrono::milliseconds pause{1};; pause = std::min(2 * pause, pause_max)) {
      CAIRN_TRY(done, attempt());
      if (done) return true;
      CAIRN_CHECK(os::unless_stopped(wait_.stop));
      if (!forever_ && Clock::now() >= until_) return false;
      std::this_thread::sleep_for(pause);
    }
  }

 private:
  const LockWait& wait_;
  Clock::time_point until_;
  bool forever_;
};

}  // namespace

// `what` it is that is written to, for messages.
struct Lock::Wanted {
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

Result<Lock> Lock::of_prefix(const os::Directory& directory, std::string_view base,
                             const LockWait& wait) {
  const Digest128 digest = format::xxh3_128(format::as_bytes(base));
  const auto hash = format::load_le<std::uint64_t>(digest.bytes.data());
  const std::string what = (std::filesystem::path(directory.path()) / base).string();
  return take(directory, {1 + hash % kPrefixBytes, what}, wait);
}

Result<Lock> Lock::take(const os::Directory& directory, const Wanted& wanted,
                        const LockWait& wait) {
  const std::uint64_t turnstile = kTurnstiles + wanted.byte;
  Waiting waiting(wait);
  while (true) {
    CAIRN_TRY(file, opened_lock(directory));
    CAIRN_TRY(next, waiting.until(kPauseMax, [&] { return file.try_lock_byte(turnstile); }));
    bool ours = false;
    if (next) {
      const Turn turn{file, turnstile};
      CAIRN_TRY(taken,
                waiting.until(kPauseMaxOfNext, [&] { return file.try_lock_byte(wanted.byte); }));
      ours = taken;
    }
    if (!ours) {
      return Error{Code::Busy, 0,
                   wanted.what + ": is being written to by " + holder(file, wanted.byte) +
                       "; waited " + std::to_string(wait.at_most.count()) +
                       " ms: try again, or wait longer (lock_wait)"};
    }
    CAIRN_TRY(opened, file.info());
    CAIRN_TRY(named, directory.look(kLockName));
    // Somebody may have removed the file by hand meanwhile; then this lock excludes nobody.
    if (!named || named->inode != opened.inode) continue;
    name_holder(file, wanted.byte);
    return Lock(std::move(file), wanted.byte);
  }
}

}  // namespace cairn::store
