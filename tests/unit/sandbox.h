#pragma once

// A temporary directory, and checkpoints to put in it.

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/cairn.h"
#include "format/le.h"
#include "golden.h"

namespace cairn::test {

namespace fs = std::filesystem;

class Sandbox {
 public:
  explicit Sandbox(const fs::path& parent = fs::temp_directory_path()) {
    std::string name = (parent / "cairn-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    root_ = name;
  }
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;
  ~Sandbox() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }

  const fs::path& root() const noexcept { return root_; }
  fs::path operator/(const fs::path& name) const { return root_ / name; }

 private:
  fs::path root_;
};

// The working directory, for as long as the object lives.
class WorkingDirectory {
 public:
  explicit WorkingDirectory(const fs::path& path) : before_(fs::current_path()) {
    fs::current_path(path);
  }
  WorkingDirectory(const WorkingDirectory&) = delete;
  WorkingDirectory& operator=(const WorkingDirectory&) = delete;
  ~WorkingDirectory() { fs::current_path(before_); }

 private:
  fs::path before_;
};

// Files by name with their bytes.
using Files = std::map<std::string, std::string>;

// Not in place: other names of the file keep their bytes.
inline void write_file(const fs::path& path, std::string_view bytes) {
  fs::remove(path);
  std::ofstream out(path, std::ios::binary);
  out.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!out.flush()) throw std::runtime_error("cannot write " + path.string());
}

// But for the file of locks, which says who wrote last.
inline Files read_files(const fs::path& dir) {
  Files files;
  for (const auto& entry : fs::directory_iterator(dir)) {
    if (entry.path().filename() == ".cairn-lock") continue;
    if (entry.is_regular_file()) files[entry.path().filename().string()] = read_file(entry.path());
  }
  return files;
}

inline void write_files(const fs::path& dir, const Files& files) {
  fs::create_directories(dir);
  for (const auto& [name, bytes] : files) write_file(dir / name, bytes);
}

// What a shard is recognised by: bytes, inode, modification time.
struct Stamp {
  std::string bytes;
  std::uint64_t inode = 0;
  std::int64_t mtime_ns = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

inline Stamp stamp(const fs::path& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw std::runtime_error("no " + path.string());
  return {read_file(path), status.st_ino,
          std::int64_t{status.st_mtim.tv_sec} * 1'000'000'000 + status.st_mtim.tv_nsec};
}

// A tensor's elements, little-endian and row-major, and what it is.
struct Value {
  DType dtype{};
  std::vector<std::int64_t> shape;
  std::string bytes;  // of strings: each with its length before it
  friend bool operator==(const Value&, const Value&) = default;
};
using Values = std::map<std::string, Value>;

inline Result<Value> value_of(const Tensor& tensor) {
  Value value{tensor.dtype(), {tensor.shape().begin(), tensor.shape().end()}, {}};
  if (tensor.dtype() == DType::String) {
    auto strings = tensor.strings();
    if (!strings) return std::move(strings).error();
    for (const std::string_view text : *strings)
      value.bytes += std::to_string(text.size()) + ":" + std::string(text);
    return value;
  }
  auto size_bytes = tensor.read_bytes();
  if (!size_bytes) return std::move(size_bytes).error();
  value.bytes.resize(*size_bytes);
  auto done = tensor.read(std::as_writable_bytes(std::span(value.bytes)));
  if (!done) return std::move(done).error();
  return value;
}

inline Result<Values> values_of(const Checkpoint& checkpoint) {
  Values values;
  for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i) {
    auto value = value_of(checkpoint.tensor_at(i));
    if (!value) return std::move(value).error();
    values[std::string(checkpoint.tensor_at(i).name())] = *std::move(value);
  }
  return values;
}

inline Result<Values> values_at(const fs::path& path, const OpenOptions& options = {}) {
  auto checkpoint = Checkpoint::open(path, options);
  if (!checkpoint) return std::move(checkpoint).error();
  return values_of(*checkpoint);
}

inline Value floats(std::vector<float> numbers) {
  const auto bytes = std::as_bytes(std::span(numbers));
  return {DType::Float32,
          {static_cast<std::int64_t>(numbers.size())},
          std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())};
}

inline Value int_scalar(std::int32_t number) {
  std::string bytes(sizeof number, '\0');
  std::memcpy(bytes.data(), &number, sizeof number);
  return {DType::Int32, {}, bytes};
}

// Strings that hold their own bytes only once written: see value_of.
struct Save {
  Values values;
  std::map<std::string, std::vector<std::string>> strings = {};
  std::map<std::string, std::string> ties = {};  // alias → owner, both in `values`
  WriterOptions options = {};
};

inline Result<void> try_save(const fs::path& prefix, const Save& what) {
  std::vector<TensorSpec> specs;
  for (const auto& [name, value] : what.values) specs.push_back({name, value.dtype, value.shape});
  for (const auto& [name, texts] : what.strings)
    specs.push_back({name, DType::String, {static_cast<std::int64_t>(texts.size())}});
  auto writer = Writer::create(prefix, specs, what.options);
  if (!writer) return std::move(writer).error();
  for (const auto& [alias, owner] : what.ties) {
    if (auto done = writer->tie(alias, owner); !done) return done;
  }
  for (const auto& [name, value] : what.values) {
    if (what.ties.contains(name)) continue;
    if (auto done = writer->write(name, format::as_bytes(value.bytes)); !done) return done;
  }
  for (const auto& [name, texts] : what.strings) {
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    if (auto done = writer->write_strings(name, views); !done) return done;
  }
  return writer->commit();
}

inline void save(const fs::path& prefix, const Save& what) {
  const auto done = try_save(prefix, what);
  if (!done) throw std::runtime_error(done.error().what);
}

inline std::string sentence(const Error& error) {
  return std::string(name(error.code)) + ": " + error.what;
}

// The sentence of a refusal; "opened" where there was none.
template <class T>
std::string refusal(const Result<T>& result) {
  return result ? "opened" : sentence(result.error());
}

inline bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Every prefix under a golden folder that has an index.
inline std::vector<fs::path> golden_prefixes() {
  std::vector<fs::path> prefixes = golden_files("tensorflow", ".index");
  for (fs::path& prefix : prefixes) prefix.replace_extension();
  return prefixes;
}

// The files of one checkpoint, copied under another prefix.
inline void copy_checkpoint(const fs::path& from, const fs::path& to) {
  fs::create_directories(to.parent_path());
  const std::string base = from.filename().string() + ".";
  for (const auto& entry : fs::directory_iterator(from.parent_path())) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(base) || name.ends_with(".json")) continue;
    fs::copy_file(entry.path(), to.string() + name.substr(base.size() - 1));
  }
}

}  // namespace cairn::test
