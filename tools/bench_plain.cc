#include "bench_plain.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <span>
#include <thread>

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kBlockBytes = std::size_t{4} << 20;
constexpr std::size_t kCatBytes = std::size_t{128} << 10;          // as GNU cat
constexpr std::uint64_t kMemoryBytesMax = std::uint64_t{1} << 30;  // as copy

Error failed(const fs::path& file, int number) {
  return {Code::Io, number, fmt::format("{}: {}", file.native(), std::strerror(number))};
}

struct OpenFile {
  explicit OpenFile(const fs::path& path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (fd >= 0) ::close(fd);
  }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd;
};

// To its end, or until `out` is full. Gives errno, or 0.
int read_block(int fd, std::span<std::byte> out, std::uint64_t at) {
  while (!out.empty()) {
    const ssize_t count = ::pread(fd, out.data(), out.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    if (count == 0) return 0;
    out = out.subspan(static_cast<std::size_t>(count));
    at += static_cast<std::uint64_t>(count);
  }
  return 0;
}

// One file after another; the threads take turns at its blocks.
Result<void> read_file(const fs::path& path, std::span<std::byte> memory, unsigned threads) {
  const OpenFile file(path);
  if (file.fd < 0) return failed(path, errno);
  const std::uint64_t size = fs::file_size(path);
  const std::size_t slots = memory.size() / kBlockBytes;
  std::atomic<std::uint64_t> next = 0;
  std::atomic<int> number = 0;
  const auto work = [&] {
    for (std::uint64_t block; (block = next.fetch_add(1)) * kBlockBytes < size;) {
      const auto place = memory.subspan(block % slots * kBlockBytes, kBlockBytes);
      if (const int why = read_block(file.fd, place, block * kBlockBytes)) number = why;
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < threads && i * kBlockBytes < size; ++i) others.emplace_back(work);
    work();
  }
  if (number != 0) return failed(path, number);
  return {};
}

Result<void> read_like_cat(const std::vector<fs::path>& files) {
  std::vector<char> buffer(kCatBytes);
  for (const fs::path& path : files) {
    const OpenFile file(path);
    if (file.fd < 0) return failed(path, errno);
    for (ssize_t count = 1; count != 0;) {
      count = ::read(file.fd, buffer.data(), buffer.size());
      if (count < 0 && errno != EINTR) return failed(path, errno);
    }
  }
  return {};
}

Result<std::vector<fs::path>> files_of(const Bench& bench) {
  OpenOptions options;
  options.verify = Verify::None;
  options.follow_links = bench.options.follow_links;
  const auto checkpoint = Checkpoint::open(bench.options.path, options);
  if (!checkpoint) return checkpoint.error();
  return shard_files(*checkpoint);
}

}  // namespace

Result<void> measure_plain(Bench& bench) {
  const auto files = files_of(bench);
  if (!files) return files.error();
  const std::uint64_t bytes = bench.report.file_bytes;
  const std::uint64_t slots_max = kMemoryBytesMax / kBlockBytes;
  const unsigned threads = std::min(bench.report.cores, static_cast<unsigned>(slots_max));
  const std::uint64_t slots = std::min(slots_max, bytes / kBlockBytes + 1);
  std::vector<std::byte> memory(slots * kBlockBytes);  // zeros: each page is touched
  const auto nothing = [] { return Result<void>(); };
  const auto read_all = [&]() -> Result<void> {
    for (const fs::path& file : *files) {
      const auto done = read_file(file, memory, threads);
      if (!done) return done;
    }
    return {};
  };
  const auto done =
      bench.add_warm_and_cold({"pread", "", Group::Machine, bytes, {}}, {nothing, read_all, [] {}});
  if (!done) return done;
  return bench.add_warm_and_cold({"cat", "", Group::Machine, bytes, {}},
                                 {nothing, [&] { return read_like_cat(*files); }, [] {}});
}

Result<void> warm_up(const Bench& bench) {
  const auto files = files_of(bench);
  return files ? read_like_cat(*files) : Result<void>(files.error());
}

}  // namespace cairn::tools
