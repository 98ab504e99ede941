#include <doctest/doctest.h>
#include <leveldb/env.h>
#include <leveldb/iterator.h>
#include <leveldb/options.h>
#include <leveldb/table.h>
#include <leveldb/table_builder.h>
#include <snappy.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/tensorflow/table.h"
#include "format/tensorflow/varint.h"
#include "tests/unit/golden.h"

namespace cairn::format::tensorflow {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

// ---- Arranging

std::string write_table(const Entries& entries) {
  TableWriter writer;
  for (const auto& [key, value] : entries) writer.add(key, value);
  return writer.finish();
}

Decoded<Entries> read_table(std::string_view file) {
  auto table = TableReader::open(TableFile(as_bytes(file)));
  if (!table) return table.error();
  Entries entries;
  while (true) {
    const auto more = table->next();
    if (!more) return more.error();
    if (!*more) return entries;
    entries.emplace_back(table->key(), table->value());
  }
}

std::string random_bytes(std::mt19937_64& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

Entries random_entries(std::mt19937_64& random, int count, std::size_t value_size_max) {
  std::map<std::string, std::string> sorted;
  for (int i = 0; i < count; ++i) {
    const std::string prefix(random() % 40, "ab\xff"[random() % 3]);
    sorted[prefix + random_bytes(random, random() % 5)] =
        random_bytes(random, random() % (value_size_max + 1));
  }
  return {sorted.begin(), sorted.end()};
}

std::string trailer(std::string_view block, char type) {
  std::string out(1, type);
  append_le(out, crc32c_mask(crc32c(as_bytes(std::string(block) + type))));
  return out;
}

struct StoredBlock {
  std::string bytes;
  char type = 0;
};

std::string entry_bytes(std::string_view key, std::string_view value) {
  std::string out(1, '\0');
  append_varint(out, key.size());
  append_varint(out, value.size());
  return out.append(key).append(value);
}

std::string with_restart(std::string entries) {
  append_le<std::uint32_t>(entries, 0);
  append_le<std::uint32_t>(entries, 1);
  return entries;
}

// A table of blocks made by hand; the index names them "a", "b", … and thus bounds what they hold.
std::string assemble(const std::vector<StoredBlock>& blocks, bool backwards = false) {
  std::string file;
  std::vector<std::string> handles;
  for (const StoredBlock& block : blocks) {
    std::string handle;
    append_varint(handle, file.size());
    append_varint(handle, block.bytes.size());
    handles.push_back(handle);
    file += block.bytes + trailer(block.bytes, block.type);
  }
  if (backwards) std::swap(handles.front(), handles.back());
  std::string index;
  for (std::size_t i = 0; i < handles.size(); ++i) {
    index += entry_bytes(std::string(1, static_cast<char>('a' + i)), handles[i]);
  }
  index = with_restart(index);
  std::string footer("\0\0", 2);
  append_varint(footer, file.size());
  append_varint(footer, index.size());
  footer.resize(40, '\0');
  append_le(footer, std::uint64_t{0xdb4775248b80fb57});
  return file + index + trailer(index, 0) + footer;
}

// ---- leveldb, which reads files through an interface of its own

class BytesInMemory : public leveldb::RandomAccessFile {
 public:
  explicit BytesInMemory(std::string_view bytes) : bytes_(bytes) {}
  leveldb::Status Read(std::uint64_t offset, std::size_t n, leveldb::Slice* result,
                       char*) const override {
    const std::string_view part = bytes_.substr(std::min<std::size_t>(offset, bytes_.size()), n);
    *result = leveldb::Slice(part.data(), part.size());
    return leveldb::Status::OK();
  }

 private:
  std::string_view bytes_;
};

class StringFile : public leveldb::WritableFile {
 public:
  leveldb::Status Append(const leveldb::Slice& data) override {
    bytes.append(data.data(), data.size());
    return leveldb::Status::OK();
  }
  leveldb::Status Close() override { return leveldb::Status::OK(); }
  leveldb::Status Flush() override { return leveldb::Status::OK(); }
  leveldb::Status Sync() override { return leveldb::Status::OK(); }
  std::string bytes;
};

// What leveldb finds in the file, by iterating and by seeking.
void check_against_leveldb(std::string_view file, const Entries& entries) {
  BytesInMemory source(file);
  leveldb::Options options;
  options.paranoid_checks = true;
  leveldb::Table* opened = nullptr;
  REQUIRE(leveldb::Table::Open(options, &source, file.size(), &opened).ok());
  const std::unique_ptr<leveldb::Table> table(opened);
  leveldb::ReadOptions checked;
  checked.verify_checksums = true;
  const std::unique_ptr<leveldb::Iterator> at(table->NewIterator(checked));
  std::size_t position = 0;
  for (at->SeekToFirst(); at->Valid(); at->Next(), ++position) {
    REQUIRE(position < entries.size());
    CHECK(at->key().ToString() == entries[position].first);
    CHECK(at->value().ToString() == entries[position].second);
  }
  CHECK(at->status().ok());
  CHECK(position == entries.size());
  for (const auto& [key, value] : entries) {
    at->Seek(key);
    REQUIRE(at->Valid());
    CHECK(at->value().ToString() == value);
  }
}

// ---- Promises

TEST_CASE("what is written is read again, by us and by leveldb") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    const int count = static_cast<int>(random() % 400);
    const std::size_t value_size_max = round % 3 == 0 ? 20 : round % 3 == 1 ? 3000 : 20'000;
    const Entries entries = random_entries(random, count, value_size_max);
    const std::string file = write_table(entries);
    const auto read = read_table(file);
    REQUIRE(read.has_value());
    CHECK(*read == entries);
    check_against_leveldb(file, entries);
  }
}

TEST_CASE("an entry of two blocks and more does not share its block with the one before") {
  const Entries entries = {{"a", "small"},
                           {"b", std::string(2 * 262'144, 'x')},
                           {"c", "small"},
                           {std::string(600'000, 'd'), "long key"},
                           {"e", std::string(262'144, 'y')}};
  const std::string file = write_table(entries);
  CHECK(*read_table(file) == entries);
  check_against_leveldb(file, entries);
}

TEST_CASE("tables that leveldb wrote are read, compressed or not, with any restarts") {
  std::mt19937_64 random(11);
  const Entries entries = random_entries(random, 3000, 100);
  for (const auto compression : {leveldb::kNoCompression, leveldb::kSnappyCompression}) {
    for (const int restart_interval : {1, 3, 16, 1000}) {
      CAPTURE(restart_interval);
      leveldb::Options options;
      options.compression = compression;
      options.block_restart_interval = restart_interval;
      StringFile file;
      leveldb::TableBuilder builder(options, &file);
      for (const auto& [key, value] : entries) builder.Add(key, value);
      REQUIRE(builder.Finish().ok());
      const auto read = read_table(file.bytes);
      REQUIRE(read.has_value());
      CHECK(*read == entries);
    }
  }
}

TEST_CASE("every table that TensorFlow wrote is written again bit for bit") {
  for (const auto& path : test::golden_files("tensorflow", ".index")) {
    CAPTURE(path.string());
    const std::string file = test::read_file(path);
    const auto entries = read_table(file);
    REQUIRE(entries.has_value());
    CHECK(write_table(*entries) == file);
  }
}

TEST_CASE("a writer that has finished writes the next table from nothing") {
  TableWriter writer;
  writer.add("a", "1");
  const std::string first = writer.finish();
  writer.add("a", "1");
  CHECK(writer.finish() == first);
  CHECK(*read_table(TableWriter().finish()) == Entries{});
}

TEST_CASE("a table that is cut off anywhere is refused") {
  const std::string file =
      test::read_file(test::golden("tensorflow/saver_walk/saved/train1.index"));
  for (std::size_t size = 0; size < file.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(read_table(std::string_view(file).substr(0, size)).has_value());
  }
}

TEST_CASE("every flipped bit is refused, but where nobody reads") {
  const std::string file =
      test::read_file(test::golden("tensorflow/saver_walk/saved/train1.index"));
  const auto entries = read_table(file);
  REQUIRE(entries.has_value());
  const std::size_t footer_at = file.size() - 48;
  // The empty metaindex block stands before the index block and has 13 bytes with its trailer.
  std::string_view footer = std::string_view(file).substr(footer_at);
  const std::size_t metaindex_at = *take_varint(footer);
  for (std::size_t bit = 0; bit < file.size() * 8; ++bit) {
    CAPTURE(bit);
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    const auto read = read_table(flipped);
    const bool in_metaindex = bit / 8 >= metaindex_at && bit / 8 < metaindex_at + 13;
    if (bit / 8 < footer_at && !in_metaindex) {
      CHECK_FALSE(read.has_value());
    } else if (read) {
      CHECK(*read == *entries);
    }
  }
}

TEST_CASE("random bytes behind a good footer are survived") {
  const unsigned seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 3000; ++round) {
    const std::string block = random_bytes(random, random() % 64);
    const std::string file = assemble({{block, static_cast<char>(random() % 2)}});
    (void)read_table(file);
  }
}

TEST_CASE("a damaged block is named with its place and both sums") {
  std::string file = write_table({{"a", "1"}});
  file[3] = 'z';
  const auto read = read_table(file);
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().code == Code::Corrupt);
  CHECK(read.error().what.find("the block at byte 0 is damaged: stored checksum ") == 0);
}

TEST_CASE("blocks that no writer makes are refused") {
  const std::string good = with_restart(entry_bytes("a", "1"));
  REQUIRE(read_table(assemble({{good}})).has_value());
  std::string bomb("\xff\xff\xff\xff\x0f", 5);  // Snappy: 4 GiB of nothing
  std::string packed;
  snappy::Compress(good.data(), good.size(), &packed);
  REQUIRE(read_table(assemble({{packed, 1}})).has_value());
  std::string shares = with_restart(std::string("\x01\x01\x01zz", 5));
  std::string no_restarts = entry_bytes("a", "1") + std::string(4, '\0');
  std::string many_restarts = entry_bytes("a", "1") + std::string("\x00\x00\x00\x10", 4);
  std::string cut_off = with_restart(entry_bytes("a", "1").substr(0, 4));
  std::string no_sizes = with_restart("\xff");
  struct Case {
    const char* what;
    const char* complaint;
    std::string file;
  };
  const Case cases[] = {
      {"unknown type", "unknown type 2", assemble({{good, 2}})},
      {"type zstd", "unknown type 4", assemble({{good, 4}})},
      {"Snappy that claims 4 GiB", "has 5 bytes, and says that it holds 4294967295",
       assemble({{bomb, 1}})},
      {"Snappy that is none", "Snappy data", assemble({{good, 1}})},
      {"Snappy of no bytes", "is not Snappy data", assemble({{"", 1}})},
      {"no bytes", "too short for its number of restarts", assemble({{""}})},
      {"first key shares with nothing", "shares 1 bytes with a shorter", assemble({{shares}})},
      {"an entry that is cut off", "an entry that is cut off", assemble({{cut_off}})},
      {"an entry without sizes", "an entry that is cut off", assemble({{no_sizes}})},
      {"no restarts", "says that it has 0 restarts", assemble({{no_restarts}})},
      {"more restarts than bytes", "restarts", assemble({{many_restarts}})},
      {"the same key again", "has the key",
       assemble({{with_restart(entry_bytes("a", "") + entry_bytes("a", ""))}})},
      {"keys descend", "has the key",
       assemble({{with_restart(entry_bytes("a", "") + entry_bytes("A", ""))}})},
      {"keys descend between blocks", "has the key",
       assemble({{with_restart(entry_bytes("a", ""))}, {with_restart(entry_bytes("A", ""))}})},
      {"a key behind the index's", "but by the index it ends at",
       assemble({{with_restart(entry_bytes("aa", ""))}})},
      {"blocks out of order", "does not lead to a block after the previous one",
       assemble({{with_restart(entry_bytes("b", ""))}, {with_restart(entry_bytes("a", ""))}},
                true)},
  };
  for (const auto& [what, complaint, file] : cases) {
    CAPTURE(what);
    const auto read = read_table(file);
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().code == Code::Corrupt);
    CHECK_MESSAGE(read.error().what.find(complaint) != std::string::npos, read.error().what);
  }
  std::string no_handles = assemble({{good}});
  no_handles.replace(no_handles.size() - 48, 40, std::string(40, '\xff'));
  CHECK(read_table(no_handles).error().what == "the footer's block handles are damaged");
}

// ---- A table that is read

// Serves a table from a buffer that each read overwrites, and fails from a byte on.
TableFile served(const std::string& file, std::uint64_t fails_from) {
  const auto read = [file, fails_from, buffer = std::string()](
                        const TableRange& range) mutable -> Decoded<std::string_view> {
    std::ranges::fill(buffer, 'x');
    if (range.offset + range.size > fails_from)
      return DecodeError{Code::Io, range.offset, "it fails"};
    buffer = file.substr(range.offset, range.size);
    return std::string_view(buffer);
  };
  return {file.size(), read};
}

TEST_CASE("a table whose blocks are read gives the entries of one that lies in memory") {
  std::mt19937_64 random(3);
  const std::string file = write_table(random_entries(random, 3000, 2000));
  auto table = TableReader::open(served(file, file.size()));
  REQUIRE(table.has_value());
  TableReader moved = *std::move(table);
  Entries entries;
  while (*moved.next()) entries.emplace_back(moved.key(), moved.value());
  CHECK(entries == *read_table(file));
}

TEST_CASE("a block that cannot be read is an error with its reason") {
  std::mt19937_64 random(4);
  const std::string file = write_table(random_entries(random, 3000, 2000));
  const auto unreadable = TableReader::open(served(file, file.size() - 1));
  REQUIRE_FALSE(unreadable.has_value());
  CHECK(unreadable.error().code == Code::Io);
  // Its footer and index block can be read, its first block cannot.
  const auto source =
      [whole = served(file, file.size())](const TableRange& range) -> Decoded<std::string_view> {
    if (range.offset == 0) return DecodeError{Code::Io, 0, "it fails"};
    return whole.read(range);
  };
  auto table = TableReader::open({file.size(), source});
  REQUIRE(table.has_value());
  const auto first = table->next();
  REQUIRE_FALSE(first.has_value());
  CHECK(first.error().code == Code::Io);
}

TEST_CASE("a block that is larger than any record of a V1 file is refused before it is read") {
  for (const std::uint64_t more : {0u, 1u}) {
    const std::uint64_t block_bytes = limits::kTableBlockBytesMax + more;
    std::string footer;
    append_varint(footer, 0);
    append_varint(footer, 0);
    append_varint(footer, 0);
    append_varint(footer, block_bytes);
    footer.resize(40);
    footer += std::string("\x57\xfb\x80\x8b\x24\x75\x47\xdb", 8);
    bool asked = false;
    const auto source = [&](const TableRange& range) -> Decoded<std::string_view> {
      if (range.size == footer.size()) return std::string_view(footer);
      asked = true;
      return DecodeError{Code::Io, 0, "it fails"};
    };
    const auto table = TableReader::open({std::uint64_t{1} << 40, source});
    REQUIRE_FALSE(table.has_value());
    CHECK(asked == (more == 0));
    CHECK(table.error().code == (more == 0 ? Code::Io : Code::Corrupt));
  }
}

TEST_CASE("few bytes cannot become many keys") {
  std::string block = entry_bytes(std::string(100'000, 'K'), "");
  for (int i = 0; i < 200; ++i) {
    append_varint(block, 100'000 + static_cast<std::uint64_t>(i));
    block.append("\x01\x00x", 3);
  }
  const auto read = read_table(assemble({{with_restart(block)}}));
  REQUIRE_FALSE(read.has_value());
  CHECK(read.error().what.find("64 times as much in keys") != std::string::npos);
}

}  // namespace
}  // namespace cairn::format::tensorflow
