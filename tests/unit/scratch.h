#pragma once

// A temporary directory that goes away, and the verbs that tests of whole checkpoints arrange with.

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

#include "cairn/checkpoint.h"
#include "cairn/writer.h"

namespace cairn::test {

class Scratch {
 public:
  Scratch() {
    std::string name = (std::filesystem::temp_directory_path() / "cairn-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const noexcept { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  // The names in it, sorted.
  std::set<std::string> names() const {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.insert(entry.path().filename().string());
    }
    return names;
  }

 private:
  std::filesystem::path path_;
};

// REQUIRE that tells the sentence.
#define REQUIRE_OK(expression)                                    \
  do {                                                            \
    const auto& require_ok_result = (expression);                 \
    const bool require_ok = static_cast<bool>(require_ok_result); \
    INFO(cairn::test::sentence_of(require_ok_result));            \
    REQUIRE(require_ok);                                          \
  } while (false)

template <class T>
std::string sentence_of(const Result<T>& result) {
  return result ? std::string("fine")
                : std::string(name(result.error().code)) + ": " + result.error().what;
}

// The code of a result that must be an error, and that must say all of these.
template <class T>
Code refusal(const Result<T>& result, std::initializer_list<std::string_view> said = {}) {
  REQUIRE_FALSE(static_cast<bool>(result));
  INFO(result.error().what);
  for (const std::string_view words : said) {
    INFO("wanted: ", std::string(words));
    CHECK(result.error().what.find(words) != std::string::npos);
  }
  return result.error().code;
}

// One tensor to be written: raw bytes, or strings.
struct Content {
  TensorSpec spec;
  std::vector<std::byte> bytes;
  std::vector<std::string> strings;
};

inline std::vector<std::byte> random_bytes(std::size_t size_bytes, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::byte> bytes(size_bytes);
  for (std::size_t at = 0; at < size_bytes; at += sizeof(std::uint64_t)) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, std::min(sizeof word, size_bytes - at));
  }
  return bytes;
}

inline std::uint64_t count_of(std::span<const std::int64_t> shape) {
  std::uint64_t count = 1;
  for (const std::int64_t dimension : shape) count *= static_cast<std::uint64_t>(dimension);
  return count;
}

// A raw tensor of bytes that follow from its name.
inline Content raw(std::string name, DType dtype, std::vector<std::int64_t> shape) {
  Content content;
  const std::size_t size_bytes = count_of(shape) * element_bytes(dtype);
  content.bytes = random_bytes(size_bytes, std::hash<std::string>()(name));
  content.spec = {std::move(name), dtype, std::move(shape)};
  return content;
}

inline Content text(std::string name, std::vector<std::int64_t> shape,
                    std::vector<std::string> strings) {
  Content content;
  content.spec = {std::move(name), DType::String, std::move(shape)};
  content.strings = std::move(strings);
  return content;
}

inline std::vector<TensorSpec> specs_of(const std::vector<Content>& contents) {
  std::vector<TensorSpec> specs;
  for (const Content& content : contents) specs.push_back(content.spec);
  return specs;
}

inline Result<void> write_content(Writer& writer, const Content& content) {
  if (content.spec.dtype != DType::String) return writer.write(content.spec.name, content.bytes);
  const std::vector<std::string_view> values(content.strings.begin(), content.strings.end());
  return writer.write_strings(content.spec.name, values);
}

inline void write_checkpoint(const std::filesystem::path& prefix,
                             const std::vector<Content>& contents,
                             const WriterOptions& options = {}) {
  auto writer = Writer::create(prefix, specs_of(contents), options);
  REQUIRE_OK(writer);
  for (const Content& content : contents) REQUIRE_OK(write_content(*writer, content));
  REQUIRE_OK(writer->commit());
}

inline Checkpoint open_checkpoint(const std::filesystem::path& path,
                                  const OpenOptions& options = {}) {
  auto checkpoint = Checkpoint::open(path, options);
  REQUIRE_OK(checkpoint);
  return *std::move(checkpoint);
}

inline Tensor tensor_of(const Checkpoint& checkpoint, std::string_view name) {
  const auto tensor = checkpoint.tensor(name);
  REQUIRE_OK(tensor);
  return *tensor;
}

// The tensor's elements as bytes, by read().
inline std::vector<std::byte> bytes_of(const Tensor& tensor, Slice slice = {}) {
  const auto size_bytes = tensor.read_bytes(slice);
  REQUIRE_OK(size_bytes);
  std::vector<std::byte> out(*size_bytes);
  REQUIRE_OK(tensor.read(out, slice));
  return out;
}

// Whether the checkpoint holds these contents, and nothing else.
inline void check_holds(const Checkpoint& checkpoint, const std::vector<Content>& contents) {
  CHECK(checkpoint.tensor_count() == contents.size());
  for (const Content& content : contents) {
    INFO(content.spec.name);
    const Tensor tensor = tensor_of(checkpoint, content.spec.name);
    CHECK(tensor.dtype() == content.spec.dtype);
    CHECK(std::ranges::equal(tensor.shape(), content.spec.shape));
    if (content.spec.dtype == DType::String) {
      const auto strings = tensor.strings();
      REQUIRE_OK(strings);
      CHECK(std::ranges::equal(*strings, content.strings));
    } else {
      CHECK(bytes_of(tensor) == content.bytes);
    }
  }
}

// Published shards have no write bits, which root does not need and others do.
inline void make_writable(const std::filesystem::path& path) {
  using std::filesystem::perms;
  std::filesystem::permissions(path, perms::owner_write, std::filesystem::perm_options::add);
}

// Changes one bit, and neither the size nor the time of the file.
inline void flip_bit(const std::filesystem::path& path, std::uint64_t offset_bytes,
                     unsigned bit = 0) {
  const auto time = std::filesystem::last_write_time(path);
  make_writable(path);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(offset_bytes));
  const int was = file.get();
  REQUIRE(was != std::char_traits<char>::eof());
  file.seekp(static_cast<std::streamoff>(offset_bytes));
  file.put(static_cast<char>(was ^ (1 << bit)));
  file.close();
  REQUIRE(file);
  std::filesystem::last_write_time(path, time);
}

inline void truncate_file(const std::filesystem::path& path, std::uint64_t size_bytes) {
  make_writable(path);
  std::filesystem::resize_file(path, size_bytes);
}

// A limit of this process, as it was when the guard goes.
class Limit {
 public:
  Limit(__rlimit_resource resource, rlim_t value) : resource_(resource) {
    REQUIRE(::getrlimit(resource, &before_) == 0);
    rlimit limit = before_;
    limit.rlim_cur = value;
    REQUIRE(::setrlimit(resource, &limit) == 0);
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  ~Limit() { ::setrlimit(resource_, &before_); }

 private:
  __rlimit_resource resource_;
  rlimit before_{};
};

inline std::size_t open_descriptor_count() {
  const std::filesystem::directory_iterator listing("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(listing), end(listing)));
}

}  // namespace cairn::test
