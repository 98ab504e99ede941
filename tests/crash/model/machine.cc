#include "machine.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace cairn::crash {
namespace {

Machine* current = nullptr;

}  // namespace

Running::Running(Machine& machine) : before_(std::exchange(current, &machine)) {}
Running::~Running() { current = before_; }

Machine& running() {
  if (current != nullptr) return *current;
  std::fputs("crash_model: lib/os was called without a machine\n", stderr);
  std::abort();
}

Inode Machine::find(const std::filesystem::path& path) const {
  Inode at = kRoot;
  for (const std::filesystem::path& part : path) {
    if (part.empty() || part == "/" || part == ".") continue;
    if (!is_directory(at)) return kNothing;
    at = find(at, part.native());
    if (at == kNothing) return kNothing;
  }
  return at;
}

Inode Machine::find(Inode directory, std::string_view name) const {
  const Names& there = names(directory);
  const auto found = there.find(name);
  return found == there.end() ? kNothing : found->second;
}

int Machine::open(Inode inode) {
  const auto unused = std::ranges::find(open_, kNothing, &Open::inode);
  if (unused != open_.end()) {
    *unused = {inode};
    return static_cast<int>(unused - open_.begin());
  }
  open_.push_back({inode});
  return static_cast<int>(open_.size()) - 1;
}

void Machine::close(int descriptor) { open_.at(static_cast<std::size_t>(descriptor)) = {}; }

bool Machine::try_lock(int descriptor) {
  Open& ours = open_.at(static_cast<std::size_t>(descriptor));
  for (const Open& other : open_) {
    if (&other != &ours && other.inode == ours.inode && other.locked) return false;
  }
  ours.locked = true;
  return true;
}

int Machine::write(Inode file, std::uint64_t offset_bytes, std::span<const std::byte> bytes) {
  if (bytes.empty()) return 0;
  Operation operation;
  operation.kind = Operation::Kind::Write;
  operation.inode = file;
  operation.offset_bytes = offset_bytes;
  operation.bytes.assign(bytes.begin(), bytes.end());
  operation.what = "write " + std::to_string(bytes.size()) + " bytes";
  return perform(std::move(operation));
}

int Machine::resize(Inode file, std::uint64_t size_bytes) {
  if (size_bytes <= image_.files.at(file)->bytes.size()) return 0;
  Operation operation;
  operation.kind = Operation::Kind::Resize;
  operation.inode = file;
  operation.size_bytes = size_bytes;
  operation.what = "reserve " + std::to_string(size_bytes) + " bytes";
  return perform(std::move(operation));
}

int Machine::sync(Inode inode, const std::string& path) {
  Operation operation;
  operation.kind = Operation::Kind::Sync;
  operation.inode = inode;
  operation.what = "sync " + path;
  return perform(std::move(operation));
}

int Machine::change_names(Inode directory, std::vector<Operation::Change> changes,
                          std::string what) {
  Operation operation;
  operation.kind = Operation::Kind::Naming;
  operation.inode = directory;
  operation.changes = std::move(changes);
  operation.what = std::move(what);
  return perform(std::move(operation));
}

int Machine::perform(Operation operation) {
  operation.now_ns = tick();
  const bool fails = operation_count_++ == fails_at_;
  if (fails && operation.kind != Operation::Kind::Sync) return failure_;
  if (fails) operation.kind = Operation::Kind::FailedSync;
  apply(image_, operation);
  log_.push_back(std::move(operation));
  return fails ? failure_ : 0;
}

}  // namespace cairn::crash
