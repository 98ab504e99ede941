#include "block_log.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>

namespace power {
namespace {

struct Head {
  std::uint64_t event;
  std::uint64_t offset_bytes;
  std::uint64_t size_bytes;
};

}  // namespace

BlockLog::BlockLog(const std::filesystem::path& path)
    : file_(open_file(path, O_WRONLY | O_CREAT | O_APPEND)) {}

bool BlockLog::append(const Entry& entry) const {
  Head head{static_cast<std::uint64_t>(entry.event), entry.offset_bytes, entry.bytes.size()};
  const iovec parts[] = {{&head, sizeof head},
                         {const_cast<std::byte*>(entry.bytes.data()), entry.bytes.size()}};
  const auto wanted = static_cast<ssize_t>(sizeof head + entry.bytes.size());
  const ssize_t written = ::writev(file_.get(), parts, 2);
  if (written >= 0 && written != wanted) errno = ENOSPC;
  return written == wanted;
}

bool BlockLog::mark(std::string_view text) const {
  return append({Event::Mark, 0, std::as_bytes(std::span(text))});
}

std::vector<Entry> entries_of(std::span<const std::byte> log) {
  std::vector<Entry> entries;
  while (!log.empty()) {
    Head head{};
    if (log.size() < sizeof head) die("the log ends within an entry");
    std::memcpy(&head, log.data(), sizeof head);
    log = log.subspan(sizeof head);
    if (head.size_bytes > log.size()) die("the log ends within an entry");
    entries.push_back(
        {static_cast<Event>(head.event), head.offset_bytes, log.first(head.size_bytes)});
    log = log.subspan(head.size_bytes);
  }
  return entries;
}

}  // namespace power
