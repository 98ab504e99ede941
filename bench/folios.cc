// usage: folios DIR PAYLOAD [--benchmark_…]
//
// What does the way a file came into the page cache cost the next who maps it? The kernel keeps a
// file in folios, and one page fault maps what lies in one. A copy of the payload's shard is
// brought in anew by each of these, untimed; then it is mapped plainly, and one byte of each page
// is read:
//
//     written-64k … written-4m   written in blocks of this size, and synced
//     read                       read from beginning to end in blocks of 1 MiB
//     advised                    POSIX_FADV_WILLNEED for all of it, then read
//     touched                    touched in a new mapping
//     touched-huge               touched in a new mapping with MADV_HUGEPAGE, as a restore does

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "measure.h"
#include "plain.h"

namespace cairn::bench {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kReadBytes = std::size_t{1} << 20;

Error failed(const std::string& path) {
  return {Code::Io, errno, path + ": " + std::strerror(errno)};
}

// Writes the file anew.
Result<void> write_in(std::size_t block_bytes, const std::string& path, const Bytes& bytes) {
  std::filesystem::remove(path);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return failed(path);
  bool good = true;
  for (std::size_t at = 0; good && at < bytes.size(); at += block_bytes) {
    const std::size_t count = std::min(block_bytes, bytes.size() - at);
    good = ::pwrite(fd, bytes.data() + at, count, static_cast<off_t>(at)) ==
           static_cast<ssize_t>(count);
  }
  good = good && ::fsync(fd) == 0;
  const auto done = good ? Result<void>() : Result<void>(failed(path));
  ::close(fd);
  return done;
}

Result<void> read_through(const File& file) {
  Bytes block(kReadBytes);
  for (std::size_t at = 0; at < file.size(); at += block.size()) {
    const auto part = std::span(block).first(std::min(block.size(), file.size() - at));
    if (const auto done = file.read(part, at); !done) return done;
  }
  return {};
}

enum class Fill { Read, Advised, Touched, TouchedHuge };

// Brings a file in that is not in the page cache.
Result<void> fill(Fill how, const std::string& path) {
  const auto file = File::open(path);
  if (!file) return file.error();
  const auto dropped = file->drop();
  if (!dropped) return dropped.error();
  if (how == Fill::Advised) ::posix_fadvise(file->descriptor(), 0, 0, POSIX_FADV_WILLNEED);
  if (how == Fill::Read || how == Fill::Advised) return read_through(*file);
  const auto memory = Memory::of_file(path, Pages::OnTouch);
  if (!memory) return memory.error();
  if (how == Fill::TouchedHuge)
    ::madvise(memory->bytes().data(), memory->bytes().size(), MADV_HUGEPAGE);
  touch(memory->bytes());
  return {};
}

Result<Memory> map_and_touch(const std::string& path) {
  auto memory = Memory::of_file(path, Pages::OnTouch);
  if (memory) touch(memory->bytes());
  return memory;
}

void add_figures(const Subject& subject) {
  const std::string path = subject.directory + "/folios";
  const auto bytes = std::make_shared<Bytes>();
  const auto load = [=]() -> Result<void> {
    if (!bytes->empty()) return {};
    const auto file = File::open(subject.file());
    if (!file) return file.error();
    bytes->resize(file->size());
    return file->read(*bytes, 0);
  };
  const auto add_way = [=](const std::string& name, const auto& bring) {
    add(
        "folios/plain-" + name, [path] { return map_and_touch(path); },
        [load, bring] { return load().and_then(bring); });
  };
  for (const std::size_t kib : {64u, 256u, 1024u, 2048u, 4096u}) {
    const std::string size =
        kib < 1024 ? std::to_string(kib) + "k" : std::to_string(kib / 1024) + "m";
    add_way("written-" + size, [=] { return write_in(kib << 10, path, *bytes); });
  }
  for (const auto& [name, how] :
       {std::pair("read", Fill::Read), std::pair("advised", Fill::Advised),
        std::pair("touched", Fill::Touched), std::pair("touched-huge", Fill::TouchedHuge)}) {
    const Fill each = how;
    add_way(name, [=]() -> Result<void> {
      if (const auto there =
              std::filesystem::exists(path) ? Result<void>() : write_in(kReadBytes, path, *bytes);
          !there)
        return there;
      return fill(each, path);
    });
  }
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures);
}
