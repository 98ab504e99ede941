// Structures of HDF5 that no writer of today makes, or that nobody should: files that are put
// together by hand.

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "format/hdf5/contents.h"
#include "format/hdf5/elements.h"
#include "format/le.h"
#include "format/limits.h"

namespace cairn {
namespace {

namespace hdf5 = format::hdf5;

template <class... Numbers>
std::string le(Numbers... numbers) {
  std::string bytes;
  (format::append_le(bytes, numbers), ...);
  return bytes;
}

std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + 7) / 8 * 8, '\0');
  return bytes;
}

constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
constexpr std::uint64_t kRootAt = 128;
constexpr std::uint64_t kSetAt = 1024;
constexpr std::uint64_t kDataAt = 2048;
constexpr std::uint64_t kTreeAt = 3072;
constexpr std::uint64_t kFileBytes = 4096;

std::string message(std::uint16_t type, const std::string& data) {
  const std::string body = padded(data);
  return le(type, static_cast<std::uint16_t>(body.size()), std::uint32_t{0}) + body;
}

std::string header(const std::vector<std::string>& messages) {
  std::string all;
  for (const std::string& each : messages) all += each;
  return le(std::uint8_t{1}, std::uint8_t{0}, static_cast<std::uint16_t>(messages.size()),
            std::uint32_t{1}, static_cast<std::uint32_t>(all.size()), std::uint32_t{0}) +
         all;
}

std::string link(const std::string& name, std::uint64_t address) {
  return message(6, le(std::uint8_t{1}, std::uint8_t{0}, static_cast<std::uint8_t>(name.size())) +
                        name + le(address));
}

std::string continuation(std::uint64_t address, std::uint64_t size) {
  return message(0x10, le(address, size));
}

std::string space(const std::vector<std::uint64_t>& dimensions) {
  std::string data = le(std::uint8_t{1}, static_cast<std::uint8_t>(dimensions.size()),
                        std::uint16_t{0}, std::uint32_t{0});
  for (const std::uint64_t size : dimensions) data += le(size);
  return message(1, data);
}

std::string float32() {
  return message(3, le(std::uint8_t{0x11}, std::uint8_t{0x20}, std::uint8_t{31}, std::uint8_t{0},
                       std::uint32_t{4}, std::uint16_t{0}, std::uint16_t{32}, std::uint8_t{23},
                       std::uint8_t{8}, std::uint8_t{0}, std::uint8_t{23}, std::uint32_t{127}));
}

std::string floats(std::size_t count) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(i);
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return bytes;
}

enum class Kind : std::uint8_t { Compact, Contiguous, Chunked };

// Of two by two floats.
std::string layout(std::uint8_t version, Kind kind) {
  const std::uint32_t two = 2;
  const std::uint32_t four = 4;
  const auto number = static_cast<std::uint8_t>(kind);
  const std::uint64_t address = kind == Kind::Chunked ? kTreeAt : kDataAt;
  if (version < 3) {
    const auto rank = static_cast<std::uint8_t>(kind == Kind::Chunked ? 3 : 2);
    std::string data = le(version, rank, number, std::uint8_t{0}, std::uint32_t{0});
    if (kind != Kind::Compact) data += le(address);
    data += le(two, two);
    if (kind == Kind::Chunked) data += le(four);
    if (kind == Kind::Compact) data += le(std::uint32_t{16}) + floats(4);
    return message(8, data);
  }
  std::string data = le(version, number);
  if (kind == Kind::Compact) data += le(std::uint16_t{16}) + floats(4);
  if (kind == Kind::Contiguous) data += le(address, std::uint64_t{16});
  if (kind == Kind::Chunked) data += le(std::uint8_t{3}, address, two, two, four);
  return message(8, data);
}

struct Chunk {
  std::uint64_t row = 0;
  std::uint64_t address = kDataAt;
};

std::string tree(std::uint8_t level, const std::vector<Chunk>& chunks) {
  std::string bytes = "TREE" + le(std::uint8_t{1}, level, static_cast<std::uint16_t>(chunks.size()),
                                  kNowhere, kNowhere);
  for (const Chunk& chunk : chunks)
    bytes += le(std::uint32_t{16}, std::uint32_t{0}, chunk.row, std::uint64_t{0}, std::uint64_t{0},
                chunk.address);
  return bytes;
}

// A file whose parts lie where the constants say.
struct Made {
  std::uint8_t version = 0;
  std::string root = header({link("w", kSetAt)});
  std::string set = header({space({2, 2}), float32(), layout(3, Kind::Contiguous)});
  std::string tree_bytes = tree(0, {{}});
  std::uint64_t file_bytes = kFileBytes;

  std::string file() const {
    std::string bytes =
        "\x89HDF\r\n\x1a\n" + le(version, std::uint8_t{0}, std::uint8_t{0}, std::uint8_t{0},
                                 std::uint8_t{0}, std::uint8_t{8}, std::uint8_t{8}, std::uint8_t{0},
                                 std::uint16_t{4}, std::uint16_t{16}, std::uint32_t{0});
    if (version == 1) bytes += le(std::uint32_t{32});
    bytes += le(std::uint64_t{0}, kNowhere, file_bytes, kNowhere, std::uint64_t{0}, kRootAt);
    bytes.resize(file_bytes, '\0');
    const auto put = [&](std::uint64_t at, const std::string& part) {
      if (part.size() > file_bytes - at) throw std::length_error("a part is too long");
      bytes.replace(at, part.size(), part);
    };
    put(kRootAt, root);
    put(kDataAt, floats(8));
    put(kTreeAt, tree_bytes);
    put(kSetAt, set);
    return bytes;
  }
};

class MemorySource final : public hdf5::Source {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  std::uint64_t size_bytes() const noexcept override { return bytes_.size(); }
  format::Decoded<void> read(std::uint64_t offset_bytes, std::span<std::byte> out) override {
    if (offset_bytes > bytes_.size() || out.size() > bytes_.size() - offset_bytes)
      throw std::out_of_range("a read ends behind the file");
    std::ranges::copy(format::as_bytes(bytes_.substr(offset_bytes, out.size())), out.begin());
    return {};
  }

 private:
  std::string_view bytes_;
};

struct Read {
  std::string refused;  // empty: it is not
  std::vector<std::string> names;
  std::vector<std::string> left_out;
  std::string first;  // the bytes of the first tensor
};

Read read_all(const std::string& bytes) {
  MemorySource source(bytes);
  auto file = hdf5::File::open(source, {});
  if (!file) return {file.error().what, {}, {}, {}};
  auto contents = hdf5::read_contents(*file);
  if (!contents) return {contents.error().what, {}, {}, {}};
  Read read;
  for (const hdf5::Tensor& tensor : contents->tensors) read.names.push_back(tensor.facts.name);
  read.left_out = contents->left_out;
  if (contents->tensors.empty()) return read;
  const hdf5::Tensor& tensor = contents->tensors.front();
  const format::Span& span = tensor.facts.span;
  if (!tensor.decoded) read.first = bytes.substr(span.offset_bytes, span.size_bytes);
  if (!tensor.decoded) return read;
  const auto done =
      hdf5::decode_elements(*file, contents->to_decode[*tensor.decoded],
                            [&](std::span<const std::byte> part) -> format::Decoded<void> {
                              read.first += format::as_text(part);
                              return {};
                            });
  if (!done) read.refused = done.error().what;
  return read;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("superblocks and layouts of every old version") {
  for (const auto superblock : {std::uint8_t{0}, std::uint8_t{1}}) {
    for (const auto version : {std::uint8_t{1}, std::uint8_t{2}, std::uint8_t{3}}) {
      for (const Kind kind : {Kind::Compact, Kind::Contiguous, Kind::Chunked}) {
        INFO(int{superblock}, " ", int{version}, " ", static_cast<int>(kind));
        Made made{.version = superblock};
        made.set = header({space({2, 2}), float32(), layout(version, kind)});
        const Read read = read_all(made.file());
        CHECK(read.refused.empty());
        CHECK(read.names == std::vector<std::string>{"w"});
        CHECK(read.first == floats(4));
      }
    }
  }
}

TEST_CASE("an object header goes on where it says, once") {
  Made made;
  const std::string rest = space({2, 2}) + layout(3, Kind::Contiguous);
  made.set = header({float32(), continuation(kTreeAt, rest.size())});
  made.tree_bytes = rest;
  CHECK(read_all(made.file()).first == floats(4));
  made.tree_bytes = rest + continuation(kTreeAt, rest.size() + 24);
  made.set = header({float32(), continuation(kTreeAt, made.tree_bytes.size())});
  CHECK(has(read_all(made.file()).refused, "continues twice at the same place"));
  made.set = header({float32(), continuation(kTreeAt, kFileBytes)});
  CHECK(has(read_all(made.file()).refused, "ends behind the file"));
}

TEST_CASE("a circle of groups ends, and a dataset has each of its names") {
  Made made;
  made.root = header({link("again", kRootAt), link("w", kSetAt), link("v", kSetAt)});
  const Read read = read_all(made.file());
  CHECK(read.names == std::vector<std::string>{"v", "w"});
  REQUIRE(read.left_out.size() == 1);
  CHECK(has(read.left_out.front(), "\"again\" is left out: it is the same as \"/\""));
}

TEST_CASE("groups in groups end at the limit") {
  const std::size_t most = format::limits::kHdf5DepthMax;
  for (const std::size_t depth : {most - 1, most + 1}) {
    Made made{.file_bytes = kFileBytes + 64 * (depth + 1)};
    std::string groups;
    for (std::size_t i = 0; i < depth; ++i) {
      const bool last = i + 1 == depth;
      std::string group = header({link("g", last ? kSetAt : kFileBytes + 64 * (i + 1))});
      group.resize(64, '\0');
      groups += group;
    }
    made.root = header({link("g", kFileBytes)});
    std::string file = made.file();
    file.replace(kFileBytes, groups.size(), groups);
    const Read read = read_all(file);
    INFO(read.refused);
    CHECK(read.refused.empty() == (depth < most));
    if (depth > most) CHECK(has(read.refused, "deeper than the limit of 1000"));
  }
}

TEST_CASE("what is malformed is refused in a sentence") {
  struct Row {
    Made made;
    const char* said;
  };
  const auto with_set = [](std::vector<std::uint64_t> dimensions, Kind kind) {
    return Made{.set = header({space(dimensions), float32(), layout(3, kind)})};
  };
  const auto with_tree = [](std::string bytes) {
    return Made{.set = header({space({4, 2}), float32(), layout(3, Kind::Chunked)}),
                .tree_bytes = std::move(bytes)};
  };
  const Row rows[] = {
      {{.root = header({link("a/b", kSetAt)})}, "has neither '/' nor a NUL byte"},
      {{.root = header({link("", kSetAt)})}, "is not empty"},
      {{.root = header({link("w", kSetAt), link("w", kRootAt)})}, "two links called \"w\""},
      {{.root = header({link("w", kFileBytes - 2)})}, "ends behind the file"},
      {{.root = header({link("w", kNowhere)})}, "ends behind the file"},
      {{.root = header({link("w", kDataAt)})}, "there is no object header"},
      {{.set = header({space({2, 2}), float32()})}, "it has no layout"},
      {with_set({2, 3}, Kind::Contiguous), "24 bytes, and 16 are stored"},
      {with_set({std::uint64_t{1} << 63}, Kind::Contiguous), "a dimension of"},
      {with_set({std::uint64_t{1} << 62, 4}, Kind::Contiguous), "its shape is too large"},
      {with_set(std::vector<std::uint64_t>(33, 1), Kind::Contiguous), "33 dimensions"},
      {with_set({2}, Kind::Chunked), "its chunks have 2 dimensions of 4 bytes"},
      {with_tree(tree(0, {{0, kDataAt}, {0, kDataAt + 16}})), "the same elements"},
      {with_tree(tree(0, {{0, kDataAt}, {2, kDataAt + 8}})), "lie over each other"},
      {with_tree(tree(0, {{1, kDataAt}})), "a chunk begins at 1"},
      {with_tree(tree(0, {{0, kFileBytes - 8}})), "a chunk of 16 bytes ends behind"},
      {with_tree(tree(1, {{0, kTreeAt}})), "is of level 1 and not 0"},
      {with_tree("SNOD"), "there is no structure TREE"},
  };
  for (const Row& row : rows) {
    INFO(row.said);
    const Read read = read_all(row.made.file());
    CHECK_MESSAGE(has(read.refused, row.said), read.refused);
  }
}

TEST_CASE("chunks that are not there have the fill value, zeros where there is none") {
  Made made{.set = header({space({4, 2}), float32(), layout(3, Kind::Chunked)}),
            .tree_bytes = tree(0, {{2, kDataAt}})};
  CHECK(read_all(made.file()).first == std::string(16, '\0') + floats(4));
  made.set = header({space({5, 2}), float32(), layout(3, Kind::Chunked),
                     message(4, le(std::uint32_t{4}) + floats(2).substr(4))});
  const std::string one = floats(2).substr(4);
  CHECK(read_all(made.file()).first == one + one + one + one + floats(4) + one + one);
  made.tree_bytes = tree(0, {});
  CHECK(read_all(made.file()).first.size() == 40);
}

TEST_CASE("structures that lead to the same bytes again and again are refused") {
  // Each node leads twice to the one below, so that a leaf is read 2^20 times.
  constexpr std::uint8_t kLevels = 20;
  constexpr std::uint64_t kNodeBytes = 160;
  Made made{.set = header({space({4, 2}), float32(), layout(3, Kind::Chunked)}),
            .file_bytes = kFileBytes + kNodeBytes * (kLevels + 1)};
  std::string file = made.file();
  for (std::uint8_t level = 0; level <= kLevels; ++level) {
    const std::uint64_t at = level == kLevels ? kTreeAt : kFileBytes + kNodeBytes * level;
    const std::uint64_t below = kFileBytes + kNodeBytes * (level - std::uint64_t{1});
    const std::string node = level == 0 ? tree(0, {}) : tree(level, {{0, below}, {2, below}});
    file.replace(at, node.size(), node);
  }
  CHECK(has(read_all(file).refused, "again and again"));
}

}  // namespace
}  // namespace cairn
