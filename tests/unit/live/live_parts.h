#pragma once

// A Live that is polled by hand, and a model whose every element is the number of its save.

#include <doctest/doctest.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/cairn.h"
#include "tests/unit/sandbox.h"

namespace cairn::test {

using std::chrono::milliseconds;

inline constexpr std::size_t kElements = 3000;

inline Values numbered(int number, std::size_t elements = kElements) {
  const auto value = static_cast<float>(number);
  return {{"a", floats(std::vector<float>(elements, value))},
          {"b", floats(std::vector<float>(7, value))},
          {"n", int_scalar(number)}};
}

inline void save_numbered(const fs::path& prefix, int number) {
  save(prefix, {.values = numbered(number)});
}

// By a Saver, so that the catalog lists it.
class NumberedSaver {
 public:
  explicit NumberedSaver(const fs::path& dir, SaverOptions options = {}) {
    auto opened = Saver::open(dir, options);
    REQUIRE_MESSAGE(opened, refusal(opened));
    saver_.emplace(*std::move(opened));
  }

  fs::path save(int number, std::size_t elements = kElements) {
    const Values values = numbered(number, elements);
    std::vector<NamedTensor> tensors;
    for (const auto& [name, value] : values) {
      tensors.push_back({{name, value.dtype, value.shape}, format::as_bytes(value.bytes), {}});
    }
    auto saved = saver_->save("m", tensors, {.step = number});
    REQUIRE_MESSAGE(saved, refusal(saved));
    return saved->prefix;
  }

 private:
  std::optional<Saver> saver_;
};

// Published shards have no write bits.
inline void make_writable(const fs::path& path) {
  fs::permissions(path, fs::perms::owner_write, fs::perm_options::add);
}

// In place, and without another time.
inline void flip_byte(const fs::path& path, std::size_t offset_bytes) {
  const auto time = fs::last_write_time(path);
  make_writable(path);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(offset_bytes));
  const int before = file.get();
  file.seekp(static_cast<std::streamoff>(offset_bytes));
  file.put(static_cast<char>(before ^ 1));
  file.close();
  REQUIRE(file);
  fs::last_write_time(path, time);
}

inline void truncate_file(const fs::path& path, std::uint64_t size_bytes) {
  make_writable(path);
  fs::resize_file(path, size_bytes);
}

inline std::size_t open_file_count() {
  const fs::directory_iterator listing("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(listing), end(listing)));
}

// No limits and no pauses.
inline LiveOptions quick(LiveOptions options = {}) {
  options.bytes_per_second_max = 0;
  options.poll = milliseconds(1);
  return options;
}

inline Live open_live(const fs::path& path, const LiveOptions& options = quick()) {
  auto live = Live::open(path, options);
  REQUIRE_MESSAGE(live, refusal(live));
  return *std::move(live);
}

inline LiveStatus status_of(const Live& live) {
  auto status = live.status();
  REQUIRE_MESSAGE(status, refusal(status));
  return *std::move(status);
}

// Polls until the condition holds; a test that waits so long has failed.
template <class Condition>
bool poll_until(Live& live, Condition condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    live.poll(milliseconds(1));
  }
  return true;
}

// Polls until there is nothing to do for what is there now.
inline void settle(Live& live) {
  REQUIRE(poll_until(live, [&] { return status_of(live).state == LiveState::Idle; }));
  const auto end = std::chrono::steady_clock::now() + milliseconds(10);
  REQUIRE(poll_until(live, [&] {
    return status_of(live).state == LiveState::Idle && std::chrono::steady_clock::now() > end;
  }));
}

// The number that every element of the snapshot has; -1: it is none, or they differ.
inline int number_in(const Snapshot& snapshot) {
  if (!snapshot) return -1;
  const auto number = snapshot.checkpoint().tensor("n");
  if (!number) return -1;
  const auto values = number->as<std::int32_t>();
  if (!values || values->size() != 1) return -1;
  const int answer = values->front();
  for (const char* name : {"a", "b"}) {
    const auto tensor = snapshot.checkpoint().tensor(name);
    if (!tensor) return -1;
    const auto elements = tensor->as<float>();
    if (!elements) return -1;
    for (const float element : *elements)
      if (element != static_cast<float>(answer)) return -1;
  }
  return answer;
}

inline int current_number(const Live& live) { return number_in(live.current()); }

inline constexpr const char* kShard = ".data-00000-of-00001";
inline fs::path shard_of(const fs::path& prefix) { return prefix.string() + kShard; }

// A Saver's directory, and a Live that has published its first checkpoint.
struct ServedModel {
  Sandbox dir;
  NumberedSaver saver{dir.root()};
  fs::path first = saver.save(1);
  Live live = open_live(dir.root());

  ServedModel() {
    REQUIRE(poll_until(live, [&] { return current_number(live) == 1; }));
  }
};

// The reason why a prefix is in quarantine; empty: it is not.
inline std::string reason_of(const LiveStatus& status, const fs::path& prefix) {
  for (const QuarantinedCheckpoint& each : status.quarantine)
    if (each.prefix == prefix) return each.why;
  return {};
}

}  // namespace cairn::test
