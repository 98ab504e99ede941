#include "plain.h"

#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <isa-l/crc.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <thread>
#include <vector>

namespace cairn::bench {
namespace {

Error failed(const std::string& what) {
  return {Code::Io, errno, what + ": " + std::strerror(errno)};
}

// Of linux/mman.h since 6.5, which Debian 12's headers do not have yet.
constexpr long kCachestat = 451;
struct CachestatRange {
  std::uint64_t offset, size;
};
struct Cachestat {
  std::uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

}  // namespace

unsigned core_count() {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  return static_cast<unsigned>(CPU_COUNT(&allowed));
}

Result<void> in_parallel(
    std::size_t size, const std::function<Result<void>(std::size_t at, std::size_t size)>& work) {
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  Result<void> answer;
  const auto loop = [&] {
    for (std::size_t at; (at = next.fetch_add(kBlockBytes)) < size;) {
      auto done = work(at, std::min(kBlockBytes, size - at));
      if (done) continue;
      const std::lock_guard lock(mutex);
      answer = std::move(done);
      return;
    }
  };
  {
    std::vector<std::jthread> others;
    for (unsigned i = 1; i < core_count(); ++i) others.emplace_back(loop);
    loop();
  }
  return answer;
}

Result<File> File::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return failed(path);
  struct stat facts;
  if (fstat(descriptor, &facts) != 0) return failed(path);
  return File(descriptor, static_cast<std::size_t>(facts.st_size));
}

File::~File() {
  if (descriptor_ >= 0) close(descriptor_);
}

Result<void> File::read(std::span<std::byte> out, std::size_t at) const {
  while (!out.empty()) {
    const ssize_t count = pread(descriptor_, out.data(), out.size(), static_cast<off_t>(at));
    if (count <= 0) return failed("pread");
    out = out.subspan(static_cast<std::size_t>(count));
    at += static_cast<std::size_t>(count);
  }
  return {};
}

Result<std::uint64_t> File::drop() const {
  if (fsync(descriptor_) != 0) return failed("fsync");
  if (posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED) != 0) return failed("posix_fadvise");
  CachestatRange range = {0, 0};  // the whole file
  Cachestat seen = {};
  if (syscall(kCachestat, descriptor_, &range, &seen, 0) != 0) return failed("cachestat");
  return seen.cached * kPageBytes;
}

Result<Memory> Memory::of_file(const std::string& path, Pages pages) {
  const auto file = File::open(path);
  if (!file) return file.error();
  const int flags = MAP_SHARED | (pages == Pages::Populated ? MAP_POPULATE : 0);
  void* const at = mmap(nullptr, file->size(), PROT_READ, flags, file->descriptor(), 0);
  if (at == MAP_FAILED) return failed(path);
  return Memory({static_cast<std::byte*>(at), file->size()});
}

Result<Memory> Memory::own(std::size_t size, Pages pages) {
  constexpr std::size_t kHugeBytes = std::size_t{2} << 20;
  size = (size + kHugeBytes - 1) / kHugeBytes * kHugeBytes;
  void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return failed("mmap");
  madvise(at, size, MADV_HUGEPAGE);
  Memory memory({static_cast<std::byte*>(at), size});
  if (pages == Pages::Populated)
    std::fill(memory.bytes_.begin(), memory.bytes_.end(), std::byte{1});
  return memory;
}

Memory::~Memory() {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

void settle(std::size_t size) {
  using Clock = std::chrono::steady_clock;
  constexpr int kPassesMax = 8;
  constexpr double kSettledBytesPerSecond = 1.5e9;  // a tenth of that where the host has to help
  const auto pages = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES));
  size = std::min(size, pages * kPageBytes / 4);
  for (int pass = 0; pass < kPassesMax; ++pass) {
    const Clock::time_point start = Clock::now();
    const auto memory = Memory::own(size, Pages::Populated);
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    if (!memory || static_cast<double>(size) > kSettledBytesPerSecond * elapsed.count()) return;
  }
}

void touch(std::span<const std::byte> bytes) {
  unsigned seen = 0;
  for (std::size_t at = 0; at < bytes.size(); at += kPageBytes) {
    seen += std::to_integer<unsigned>(bytes[at]);
  }
  benchmark::DoNotOptimize(seen);
}

std::uint32_t crc32c(std::span<const std::byte> bytes) {
  // The parameter is not const, and nothing is written through it.
  auto* const at = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  return ~crc32_iscsi(at, static_cast<int>(bytes.size()), ~std::uint32_t{0});
}

std::uint64_t rollup_bytes(std::string_view line) {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string text; std::getline(file, text);) {
    if (!text.starts_with(line) || text[line.size()] != ':') continue;
    const std::size_t digits = text.find_first_of("0123456789", line.size());
    std::uint64_t kibibytes = 0;
    std::from_chars(text.data() + digits, text.data() + text.size(), kibibytes);
    return kibibytes << 10;
  }
  return 0;
}

}  // namespace cairn::bench
