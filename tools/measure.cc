#include "measure.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <set>

namespace cairn::tools {
namespace {

// Memory that a copying trial takes at most, unless one tensor is larger.
constexpr std::uint64_t kCopyBytesMax = std::uint64_t{1} << 30;

Spread spread(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const std::size_t middle = samples.size() / 2;
  const double median =
      samples.size() % 2 != 0 ? samples[middle] : (samples[middle - 1] + samples[middle]) / 2;
  return {samples.front(), median, samples.back()};
}

// Dirty pages cannot be dropped, hence the sync.
Result<void> drop_file(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return Error{Code::Io, errno, fmt::format("{}: {}", file.native(), std::strerror(errno))};
  }
  ::fdatasync(fd);
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ::close(fd);
  return {};
}

Result<double> run_timed(const Trial& trial) {
  const auto prepared = trial.prepare();
  if (!prepared) {
    trial.clear();
    return prepared.error();
  }
  const auto start = std::chrono::steady_clock::now();
  const auto done = trial.run();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  trial.clear();
  if (!done) return done.error();
  return elapsed.count();
}

}  // namespace

Result<Spread> Stopwatch::time(PageCache cache, const Trial& trial) {
  return collect(cache, repeat_, [&trial] { return run_timed(trial); });
}

Result<Spread> Stopwatch::collect(PageCache cache, unsigned count,
                                  const std::function<Result<double>()>& run) {
  if (cache == PageCache::Warm) {
    const auto warmed = run();
    if (!warmed) return warmed.error();
  }
  std::vector<double> samples;
  for (unsigned i = 0; i < count; ++i) {
    if (cache == PageCache::Cold) {
      const auto dropped = drop_page_cache();
      if (!dropped) return dropped.error();
    }
    const auto sample = run();
    if (!sample) return sample.error();
    samples.push_back(*sample);
  }
  return spread(std::move(samples));
}

Result<void> Stopwatch::drop_page_cache() {
  OpenOptions options;
  options.verify = Verify::None;
  options.follow_links = follow_links_;
  std::vector<std::filesystem::path> files;
  std::uint64_t total = 0;
  {
    // Closed again before dropping: pages of a mapping stay.
    const auto checkpoint = Checkpoint::open(checkpoint_, options);
    if (!checkpoint) return checkpoint.error();
    files = shard_files(*checkpoint);
    for (std::size_t i = 0; i < checkpoint->shard_count(); ++i)
      total += checkpoint->shard_at(i).size_bytes;
  }
  for (const auto& file : files) {
    const auto dropped = drop_file(file);
    if (!dropped) return dropped;
  }
  const auto again = Checkpoint::open(checkpoint_, options);
  if (!again) return again.error();
  const auto resident = again->resident_bytes();
  if (!resident && resident.error().code == Code::Unsupported) {
    stayed_resident_max_.reset();
    return {};
  }
  if (!resident) return resident.error();
  const double share = total == 0 ? 0 : static_cast<double>(*resident) / static_cast<double>(total);
  if (stayed_resident_max_) stayed_resident_max_ = std::max(*stayed_resident_max_, share);
  return {};
}

std::string cold_caveat(std::optional<double> stayed_resident_max) {
  if (!stayed_resident_max) {
    return "the system does not say how much of the shards stayed in the page cache, "
           "so the cold figures may not be cold";
  }
  if (*stayed_resident_max <= 0.01) return "";
  return fmt::format(
      "up to {:.0f} % of the shards stayed in the page cache when they were dropped, so the cold "
      "figures are not cold",
      *stayed_resident_max * 100);
}

Result<void> touch_every_page(const Checkpoint& checkpoint) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  std::byte seen{};
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const auto bytes = checkpoint.tensor_at(i).bytes();
    if (!bytes && bytes.error().code == Code::Unsupported) continue;
    if (!bytes) return bytes.error();
    for (std::size_t at = 0; at < bytes->size(); at += page) seen ^= (*bytes)[at];
  }
  // Keeps the compiler from leaving the reads out.
  const volatile std::byte kept = seen;
  static_cast<void>(kept);
  return {};
}

Copier::Copier(const Checkpoint& checkpoint) {
  std::uint64_t largest = 0;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    largest = std::max(largest, checkpoint.tensor_at(i).read_bytes().value_or(0));
  }
  memory_.resize(std::max(largest, std::min(tensor_bytes(checkpoint), kCopyBytesMax)));
}

Result<void> Copier::copy(const Checkpoint& checkpoint, const ExecOptions& exec) {
  std::vector<Read> group;
  std::uint64_t used = 0;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    const Tensor tensor = checkpoint.tensor_at(i);
    const auto size = tensor.read_bytes();
    if (!size) return size.error();
    if (*size > memory_.size() - used) {
      const auto done = checkpoint.read(group, exec);
      if (!done) return done;
      group.clear();
      used = 0;
    }
    group.push_back({tensor.name(), {}, std::span(memory_).subspan(used, *size)});
    used += *size;
  }
  return checkpoint.read(group, exec);
}

std::vector<std::filesystem::path> shard_files(const Checkpoint& checkpoint) {
  std::set<std::filesystem::path> files;
  for (std::size_t i = 0; i < checkpoint.shard_count(); ++i) {
    const auto file = checkpoint.prefix().parent_path() / checkpoint.shard_at(i).name;
    std::error_code ignored;
    if (std::filesystem::exists(file, ignored)) files.insert(file);
  }
  return {files.begin(), files.end()};
}

std::uint64_t tensor_bytes(const Checkpoint& checkpoint) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    total += checkpoint.tensor_at(i).size_bytes();
  }
  return total;
}

}  // namespace cairn::tools
