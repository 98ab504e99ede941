// What the disk of the other tests may lose, and what it must keep.

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "disk.h"
#include "format/le.h"

namespace cairn::crash {
namespace {

constexpr Inode kFile = 2;
constexpr Inode kOther = 3;

Operation write_of(Inode file, std::uint64_t offset_bytes, std::string_view text) {
  Operation operation;
  operation.kind = Operation::Kind::Write;
  operation.inode = file;
  operation.offset_bytes = offset_bytes;
  const auto bytes = format::as_bytes(text);
  operation.bytes.assign(bytes.begin(), bytes.end());
  return operation;
}

Operation names_of(std::vector<Operation::Change> changes) {
  Operation operation;
  operation.kind = Operation::Kind::Naming;
  operation.inode = kRoot;
  operation.changes = std::move(changes);
  return operation;
}

Operation sync_of(Inode inode, Operation::Kind kind = Operation::Kind::Sync) {
  Operation operation;
  operation.kind = kind;
  operation.inode = inode;
  return operation;
}

// "name=contents …" of each disk that may be left after these operations. Garbage is shown as "?".
std::set<std::string> left_after(const std::vector<Operation>& operations) {
  Disk disk{Image{}};
  for (const Operation& operation : operations) disk.take(operation);
  std::set<std::string> all;
  each_choice(disk.points(), [&](const Disk::Choice& choice) {
    const Image image = disk.left(disk.points(), choice);
    std::string shown;
    for (const auto& [name, inode] : image.directories.at(kRoot)) {
      shown += (shown.empty() ? "" : " ") + name + "=";
      for (const std::byte byte : image.files.at(inode)->bytes) {
        const char character = static_cast<char>(byte);
        shown += character == '\0' ? '0' : character < 0 ? '?' : character;
      }
    }
    all.insert(shown);
  });
  return all;
}

}  // namespace

TEST_CASE("what was synced is there") {
  CHECK(left_after({names_of({{"a", kFile}}), write_of(kFile, 0, "x"), sync_of(kFile),
                    sync_of(kRoot)}) == std::set<std::string>{"a=x"});
}

TEST_CASE("bytes that were not synced may be missing, zeros or garbage") {
  CHECK(left_after({names_of({{"a", kFile}}), sync_of(kRoot), write_of(kFile, 0, "x")}) ==
        std::set<std::string>{"a=", "a=0", "a=?", "a=x"});
}

TEST_CASE("bytes that were not synced may come without those before them") {
  const auto left = left_after(
      {names_of({{"a", kFile}}), sync_of(kRoot), write_of(kFile, 0, "x"), write_of(kFile, 1, "y")});
  CHECK(left.contains("a=0y"));
  CHECK(left.contains("a=x0"));
  CHECK(left.contains("a=x"));
}

TEST_CASE("bytes written over older ones may be the older ones") {
  CHECK(left_after({names_of({{"a", kFile}}), write_of(kFile, 0, "x"), sync_of(kFile),
                    sync_of(kRoot), write_of(kFile, 0, "y")}) ==
        std::set<std::string>{"a=x", "a=y"});
}

TEST_CASE("names that were not synced may be missing, also those of synced files") {
  CHECK(left_after({names_of({{"a", kFile}}), names_of({{"b", kOther}}), sync_of(kFile)}) ==
        std::set<std::string>{"", "a=", "b=", "a= b="});
}

TEST_CASE("a name that is replaced means the one file or the other") {
  CHECK(left_after({names_of({{"a", kFile}}), write_of(kFile, 0, "x"), sync_of(kFile),
                    names_of({{"b", kOther}}), write_of(kOther, 0, "y"), sync_of(kOther),
                    sync_of(kRoot), names_of({{"a", kNothing}, {"b", kFile}})}) ==
        std::set<std::string>{"a=x b=y", "b=x"});
}

TEST_CASE("a sync that failed has lost its bytes for every later one") {
  const auto left = left_after({names_of({{"a", kFile}}), sync_of(kRoot), write_of(kFile, 0, "x"),
                                sync_of(kFile, Operation::Kind::FailedSync), sync_of(kFile)});
  CHECK(left.contains("a="));
}

}  // namespace cairn::crash
