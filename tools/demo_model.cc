#include "demo_model.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "measure.h"
#include "noise_model.h"
#include "output.h"

namespace cairn::tools {
namespace {

constexpr unsigned kRuns = 5;

// What a loader does that knows no mapping: fresh memory, and read() into it.
Result<std::unique_ptr<char[]>> read_whole(const std::filesystem::path& file) {
  const auto size = static_cast<std::size_t>(std::filesystem::file_size(file));
  std::unique_ptr<char[]> memory(new char[size]);
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : 1;
  for (std::size_t at = 0; at < size && got > 0; at += static_cast<std::size_t>(got)) {
    got = ::read(fd, memory.get() + at, size - at);
  }
  const int failed = got < 0 ? errno : 0;
  if (fd >= 0) ::close(fd);
  if (failed != 0) {
    return Error{Code::Io, failed, fmt::format("{}: {}", file.native(), std::strerror(failed))};
  }
  return memory;
}

// A way to restore the model, and what its row says.
struct Way {
  std::string_view label;
  Trial trial;
};

Result<void> print_times(const std::filesystem::path& prefix, const std::filesystem::path& shard) {
  std::optional<Checkpoint> checkpoint;
  std::unique_ptr<char[]> copy;
  const auto nothing = [] { return Result<void>(); };
  const auto close = [&checkpoint] { checkpoint.reset(); };
  const auto open = [&](Verify verify) -> Result<void> {
    OpenOptions options;
    options.verify = verify;
    auto opened = Checkpoint::open(prefix, options);
    if (!opened) return opened.error();
    checkpoint = *std::move(opened);
    return {};
  };
  const auto restore = [&](Verify verify) -> Result<void> {
    const auto opened = open(verify);
    return opened ? touch_every_page(*checkpoint) : opened;
  };
  const auto read = [&]() -> Result<void> {
    auto whole = read_whole(shard);
    if (!whole) return whole.error();
    copy = *std::move(whole);
    return {};
  };
  const Way ways[] = {
      {"open: ready to use", {nothing, [&] { return open(Verify::Lazy); }, close}},
      {"open, touch all pages", {nothing, [&] { return restore(Verify::None); }, close}},
      {"open, check, touch all", {nothing, [&] { return restore(Verify::Lazy); }, close}},
      {"plain read() into memory", {nothing, read, [&copy] { copy.reset(); }}},
  };
  Stopwatch watch(prefix, kRuns);
  print(fmt::format("   {:<26}{:>12}{:>12}   median of {} runs\n", "", "cold", "warm", kRuns));
  for (const Way& way : ways) {
    const auto cold = watch.time(PageCache::Cold, way.trial);
    if (!cold) return cold.error();
    const auto warm = watch.time(PageCache::Warm, way.trial);
    if (!warm) return warm.error();
    print(fmt::format("   {:<26}{:>9.3f} ms{:>9.3f} ms\n", way.label, cold->median * 1e3,
                      warm->median * 1e3));
    std::fflush(stdout);
  }
  print(
      "   cold: before each run the shard was synced and dropped from the page cache with\n"
      "   posix_fadvise(DONTNEED); warm: it ran once before, untimed.\n");
  const std::string caveat = cold_caveat(watch.stayed_resident_max());
  if (!caveat.empty()) print(fmt::format("   warning: {}.\n", caveat));
  return {};
}

}  // namespace

Result<void> demo_model(const std::filesystem::path& prefix) {
  const std::vector<TensorSpec> specs = gpt2_tensors();
  print(fmt::format(
      "\nA model of GPT-2's size: {} tensors, {} bytes of noise, through cairn::Writer.\n",
      specs.size(), grouped(size_bytes(specs))));
  std::fflush(stdout);
  const auto start = std::chrono::steady_clock::now();
  auto written = write_noise(prefix, specs);
  if (!written) return written;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  print(fmt::format("   written, checksummed, hashed and synced in {:.2f} s; now restored:\n",
                    elapsed.count()));
  std::fflush(stdout);
  const auto checkpoint = Checkpoint::open(prefix);
  if (!checkpoint) return checkpoint.error();
  return print_times(prefix, prefix.parent_path() / checkpoint->shard_at(0).name);
}

}  // namespace cairn::tools
