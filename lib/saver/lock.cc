// The lock is flock's: it belongs to the open file, so it excludes the threads of one process from
// each other as well as processes, and, unlike a record lock, does not vanish when somebody else in
// the process closes the same file. The file stays when the lock goes: removing it would let two
// writers hold locks on two files of the same name. Its text names the holder and is for messages
// only; the kernel alone says who holds it.

#include "lib/saver/lock.h"

#include <algorithm>
#include <array>
#include <string>
#include <thread>

#include "format/le.h"
#include "format/quoted.h"
#include "lib/try.h"

namespace cairn::saver {
namespace {

constexpr std::size_t kTextBytes = 128;
constexpr std::chrono::milliseconds kPauseMax{20};

void name_holder(const os::File& file) {
  std::string text = os::process_name();
  text.resize(kTextBytes - 1, ' ');
  // On a full disk the message does without.
  (void)file.write_at(0, format::as_bytes(text + "\n"));
}

std::string holder(const os::File& file) {
  std::array<std::byte, kTextBytes> bytes{};
  const auto count = file.read_some_at(0, bytes);
  std::string_view text = format::as_text(std::span(bytes).first(count.value_or(0)));
  text = text.substr(0, text.find('\n'));
  text = text.substr(0, text.find_last_not_of(' ') + 1);
  return text.empty() ? "another process" : format::quoted(text);
}

}  // namespace

Result<DirectoryLock> DirectoryLock::take(const os::Directory& directory,
                                          std::chrono::milliseconds wait,
                                          const std::stop_token& stop) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (std::chrono::milliseconds pause{1};; pause = std::min(2 * pause, kPauseMax)) {
    CAIRN_TRY(file, directory.open_or_create_file(kLockName));
    CAIRN_TRY(ours, file.try_lock());
    CAIRN_TRY(opened, file.info());
    CAIRN_TRY(named, directory.look(kLockName));
    // Somebody may have removed the file by hand meanwhile; then this lock excludes nobody.
    const bool same = named && named->inode == opened.inode;
    if (ours && same) {
      name_holder(file);
      return DirectoryLock(std::move(file));
    }
    if (stop.stop_requested()) return Error{Code::Cancelled, 0, "cancelled by the caller"};
    if (!ours && std::chrono::steady_clock::now() >= deadline) {
      return Error{Code::Busy, 0,
                   directory.path() + ": is being written to by " + holder(file) + "; waited " +
                       std::to_string(wait.count()) + " ms: try again, or wait longer (lock_wait)"};
    }
    if (!ours) std::this_thread::sleep_for(pause);
  }
}

}  // namespace cairn::saver
