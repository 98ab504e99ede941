#pragma once

// A running system over a disk in memory: what the test double of lib/os asks instead of the
// kernel. It records each operation on the disk, and can let one of them fail.

#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "disk.h"

namespace cairn::crash {

// Errors are errno's numbers; 0: none.
class Machine {
 public:
  explicit Machine(Image image) : image_(std::move(image)) {}

  const Image& image() const noexcept { return image_; }
  const std::vector<Operation>& log() const noexcept { return log_; }
  std::vector<Operation> take_log() { return std::exchange(log_, {}); }

  // The operation with this number, counted from the next one, fails. A sync that fails has lost
  // what it was to bring to the disk.
  void fail(std::size_t operation_number, int error) {
    fails_at_ = operation_count_ + operation_number;
    failure_ = error;
  }
  bool has_failed() const noexcept { return operation_count_ > fails_at_; }

  // ---- what the double asks ----

  std::mutex& mutex() noexcept { return mutex_; }
  Inode find(const std::filesystem::path& path) const;  // from the root; kNothing: not there
  Inode find(Inode directory, std::string_view name) const;
  bool is_directory(Inode inode) const { return image_.directories.contains(inode); }
  const Names& names(Inode directory) const { return image_.directories.at(directory); }
  const File& file(Inode inode) const { return *image_.files.at(inode); }

  int open(Inode inode);  // a descriptor
  void close(int descriptor);
  Inode inode_of(int descriptor) const {
    return open_.at(static_cast<std::size_t>(descriptor)).inode;
  }
  bool try_lock(int descriptor);
  void unlock(int descriptor) { open_.at(static_cast<std::size_t>(descriptor)).locked = false; }

  int write(Inode file, std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  int resize(Inode file, std::uint64_t size_bytes);
  int sync(Inode inode, const std::string& path);
  int change_names(Inode directory, std::vector<Operation::Change> changes, std::string what);
  Inode new_inode() noexcept { return image_.next_inode++; }
  std::int64_t tick() noexcept { return image_.now_ns += 1'000'000; }

 private:
  struct Open {
    Inode inode = kNothing;
    bool locked = false;
  };
  int perform(Operation operation);

  Image image_;
  std::vector<Operation> log_;
  std::vector<Open> open_;
  std::mutex mutex_;
  std::size_t operation_count_ = 0;
  std::size_t fails_at_ = static_cast<std::size_t>(-1);
  int failure_ = 0;
};

// As long as it lives, lib/os runs on this machine. Nothing that was opened may outlive it.
class Running {
 public:
  explicit Running(Machine& machine);
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
  ~Running();

 private:
  Machine* before_;
};
Machine& running();

}  // namespace cairn::crash
