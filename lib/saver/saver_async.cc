// A save behind the caller's back: what it needs is decided, copied or borrowed while the caller
// waits; the rest is the same save, in a thread that holds the directory's lock.

#include <system_error>
#include <thread>
#include <utility>

#include "lib/os/signals.h"
#include "lib/saver/pending.h"
#include "lib/saver/saver_state.h"
#include "lib/try.h"
#include "lib/write/writer_access.h"

namespace cairn {

void Saver::State::join() {
  if (thread_.joinable()) thread_.join();
}

Result<void> Saver::State::wait_for_pending() {
  join();
  const auto pending = std::exchange(pending_, nullptr);
  const auto error = pending ? pending->unheard() : std::nullopt;
  if (!error) return {};
  return Error{
      error->code, error->os_errno,
      "the previous asynchronous save failed, and this save has not begun: " + error->what};
}

namespace {

// A limit of the user or of the container may leave no thread.
template <class Run>
Result<std::thread> start(const std::filesystem::path& dir, Run run) {
  try {
    return std::thread(std::move(run));
  } catch (const std::system_error& failed) {
    return Error{Code::OutOfMemory, failed.code().value(),
                 dir.string() + ": cannot start a thread for an asynchronous save (" +
                     failed.code().message() +
                     "), so it has not begun; use save(), which needs no thread, or raise 'ulimit "
                     "-u' or the process limit of the container"};
  }
}

}  // namespace

Result<PendingSave> Saver::State::save_async(std::string_view name,
                                             std::span<const NamedTensor> tensors, Memory memory,
                                             const SaveOptions& what) {
  CAIRN_CHECK(wait_for_pending());
  CAIRN_TRY(base, checked_base(name, what));
  // Progress is told to the thread that called, and that one has gone on.
  ExecOptions exec = exec_of(what);
  exec.progress = nullptr;
  CAIRN_TRY(lock, internal::Lock::of_directory(directory_, lock_wait(exec)));
  const internal::StagingLimits limits{options_.staging_bytes_max, options_.idle_max};
  std::vector<NamedTensor> lent;
  std::shared_ptr<internal::StagingBuffer> staging;
  if (memory == Memory::Borrow) {
    lent.assign(tensors.begin(), tensors.end());
  } else {
    staging = std::make_shared<internal::StagingBuffer>(limits);
    CAIRN_CHECK(staging->copy(tensors, staging_, exec));
  }
  internal::SaveContents contents;
  for (const NamedTensor& tensor : tensors) contents.specs.push_back(tensor.spec);
  contents.in_memory = [lent, staging] { return staging ? staging->tensors() : lent; };
  contents.idle_max = limits.idle_max;
  contents.fill = [lent = std::move(lent), staging, exec, limits](Writer& writer) {
    if (staging) return staging->write(writer, exec);
    WriterAccess::in_idle_time(writer, limits.idle_max);
    return internal::write_all(writer, lent, exec);
  };
  auto pending = std::make_shared<PendingSave::State>();
  auto write = [this, base, contents = std::move(contents), what, exec, staging, pending,
                lock = std::move(lock)]() mutable {
    auto result = at_boundary([&] { return run(base, std::move(contents), what, exec); });
    if (staging) staging->release();
    // Whoever is told that the save is done may take the lock at once.
    {
      const internal::Lock released = std::move(lock);
    }
    pending->finish(std::move(result));
  };
  {
    const os::SignalsBlocked blocked;  // in the new thread too
    CAIRN_TRY(thread, start(dir_, std::move(write)));
    thread_ = std::move(thread);
  }
  pending_ = pending;
  if (staging) staging->wait_until_released();
  return PendingSave(std::move(pending));
}

}  // namespace cairn
