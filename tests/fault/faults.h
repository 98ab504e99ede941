#pragma once

// Checkpoints whose files are cut off while they are mapped, and processes that may die of it.

#include <cairn/cairn.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::faults {

inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::int64_t kCount = 1 << 20;  // of elements of "w": 4 MiB
inline constexpr std::int32_t kValue = 0x01020304;

inline void must(const auto& done) {
  if (!done) throw std::runtime_error(done.error().what);
}

// Numbers in one shard, a string in another, and as many more names as make the index large.
inline void save(const std::filesystem::path& prefix, int more_names = 0,
                 const WriterOptions& options = {}) {
  std::vector<TensorSpec> specs{
      {"v", DType::Int32, {2}}, {"w", DType::Int32, {kCount}}, {"text", DType::String, {}}};
  for (int i = 0; i < more_names; ++i)
    specs.push_back({"more/" + std::to_string(i), DType::Int32, {1}});
  auto writer = Writer::create(prefix, specs, options);
  must(writer);
  const std::vector<std::int32_t> values(kCount, kValue);
  const auto bytes = std::as_bytes(std::span(values));
  must(writer->write("v", bytes.first(8)));
  must(writer->write("w", bytes));
  for (int i = 0; i < more_names; ++i)
    must(writer->write("more/" + std::to_string(i), bytes.first(4)));
  const std::string_view text = "a string";
  must(writer->write_strings("text", std::span(&text, 1)));
  must(writer->commit());
}

inline std::filesystem::path shard_of(const std::filesystem::path& prefix, int number = 0) {
  return prefix.string() + ".data-0000" + std::to_string(number) + "-of-00002";
}

inline void cut(const std::filesystem::path& file, std::uint64_t size_bytes) {
  ::chmod(file.c_str(), 0600);  // published files have no write bits
  if (::truncate(file.c_str(), static_cast<off_t>(size_bytes)) != 0)
    throw std::runtime_error("cannot truncate " + file.string());
}

// Reads each page of the bytes; how many of them begin with zeros.
inline std::size_t touch(std::span<const std::byte> bytes) {
  std::size_t zeros = 0;
  for (std::size_t at = 0; at < bytes.size(); at += kPageBytes) {
    const volatile std::byte* const page = &bytes[at];
    zeros += *page == std::byte{0} ? 1 : 0;
  }
  return zeros;
}

// Runs `work` in a process of its own; 0 where it said so, and did not die.
inline int status_of(const std::function<bool()>& body) {
  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("cannot fork");
  if (child == 0) {
    try {
      ::_exit(body() ? 0 : 1);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
  }
  int status = 0;
  if (::waitpid(child, &status, 0) != child) throw std::runtime_error("cannot wait");
  return status;
}
inline bool survives(const std::function<bool()>& body) { return status_of(body) == 0; }

// A sanitizer answers the signal with its report and an exit.
inline bool dies(const std::function<bool()>& body) {
  const int status = status_of(body);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return status != 0;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  return status != 0;
#endif
#endif
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS;
}

}  // namespace cairn::faults
