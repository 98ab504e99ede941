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
#include "cairn/writer.h"
#include "measure.h"
#include "output.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr unsigned kRuns = 5;

// The 148 tensors of the smallest GPT-2 (124 million parameters).
std::vector<TensorSpec> gpt2() {
  constexpr std::int64_t kVocabulary = 50257;
  constexpr std::int64_t kPositions = 1024;
  constexpr std::int64_t kWidth = 768;
  std::vector<TensorSpec> specs;
  const auto add = [&specs](std::string name, std::vector<std::int64_t> shape) {
    specs.push_back({std::move(name), DType::Float32, std::move(shape)});
  };
  const auto add_pair = [&add](const std::string& name, std::vector<std::int64_t> weight) {
    const std::int64_t width = weight.back();
    add(name + "/w", std::move(weight));
    add(name + "/b", {width});
  };
  add("model/wte", {kVocabulary, kWidth});
  add("model/wpe", {kPositions, kWidth});
  for (int layer = 0; layer < 12; ++layer) {
    const std::string block = fmt::format("model/h{}/", layer);
    add_pair(block + "ln_1", {kWidth});
    add_pair(block + "attn/c_attn", {kWidth, 3 * kWidth});
    add_pair(block + "attn/c_proj", {kWidth, kWidth});
    add_pair(block + "ln_2", {kWidth});
    add_pair(block + "mlp/c_fc", {kWidth, 4 * kWidth});
    add_pair(block + "mlp/c_proj", {4 * kWidth, kWidth});
  }
  add_pair("model/ln_f", {kWidth});
  return specs;
}

std::uint64_t bytes_of(const TensorSpec& spec) {
  std::uint64_t bytes = element_bytes(spec.dtype);
  for (const std::int64_t dimension : spec.shape) bytes *= static_cast<std::uint64_t>(dimension);
  return bytes;
}

// Fills memory with xorshift64*'s numbers: bytes that no file system can compress or share.
class Noise {
 public:
  void fill(std::vector<std::uint64_t>& words) {
    for (std::uint64_t& word : words) {
      state_ ^= state_ >> 12;
      state_ ^= state_ << 25;
      state_ ^= state_ >> 27;
      word = state_ * 0x2545f4914f6cdd1d;
    }
  }

 private:
  std::uint64_t state_ = 88172645463325252;
};

Result<void> write_model(const std::filesystem::path& prefix,
                         const std::vector<TensorSpec>& specs) {
  auto writer = Writer::create(prefix, specs);
  if (!writer) return writer.error();
  Noise noise;
  std::vector<std::uint64_t> words(kChunkBytes / sizeof(std::uint64_t));
  const auto chunk = std::as_bytes(std::span(words));
  for (const TensorSpec& spec : specs) {
    for (std::uint64_t left = bytes_of(spec); left > 0;) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left, chunk.size()));
      noise.fill(words);
      const auto done = writer->append(spec.name, chunk.first(size));
      if (!done) return done;
      left -= size;
    }
  }
  return writer->commit();
}

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
  const std::vector<TensorSpec> specs = gpt2();
  std::uint64_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += bytes_of(spec);
  print(fmt::format(
      "\nA model of GPT-2's size: {} tensors, {} bytes of noise, through cairn::Writer.\n",
      specs.size(), grouped(bytes)));
  std::fflush(stdout);
  const auto start = std::chrono::steady_clock::now();
  auto written = write_model(prefix, specs);
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
