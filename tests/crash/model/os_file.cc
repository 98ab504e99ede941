// lib/os/file.h a second time, over a Machine. The linker takes these functions instead of those of
// lib/os/file.cc, which it then leaves in its archive.

#include "lib/os/file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <utility>

#include "lib/try.h"
#include "machine.h"

namespace cairn::os {
namespace {

using crash::Inode;
using crash::kNothing;
using crash::Machine;

constexpr std::string_view kTemporaryMark = ".cairn-tmp-";
constexpr std::size_t kTemporaryDigits = 16;

Code code_of(int number) noexcept {
  switch (number) {
    case ENOENT:
    case ENOTDIR:
      return Code::NotFound;
    case EEXIST:
      return Code::Exists;
    case ENOSPC:
      return Code::NoSpace;
    default:
      return Code::Io;
  }
}

// A result of the machine's as the caller of lib/os knows it.
Result<void> outcome(int number, const std::string& path, std::string_view what) {
  if (number == 0) return {};
  errno = number;
  return system_error(path, what);
}

FileInfo info_of(const Machine& machine, Inode inode) {
  FileInfo info;
  info.kind = machine.is_directory(inode) ? FileKind::Directory : FileKind::Regular;
  info.inode = inode;
  info.device = 1;
  if (info.kind == FileKind::Directory) return info;
  info.size_bytes = machine.file(inode).bytes.size();
  info.mtime_ns = machine.file(inode).mtime_ns;
  return info;
}

Result<std::string> bare(std::string_view name, const std::string& directory) {
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(std::string_view("/\0", 2)) != std::string_view::npos) {
    return Error{Code::Unsafe, 0, directory + ": not a file name: " + std::string(name)};
  }
  return std::string(name);
}

// For people, who do not want to see the digits of a temporary name.
std::string readable(const std::string& path) {
  return is_temporary_name(path) ? path.substr(0, path.size() - kTemporaryDigits - 1) : path;
}

}  // namespace

Error system_error(const std::string& path, std::string_view what) {
  const int number = errno;
  return Error{code_of(number), number,
               path + ": " + std::string(what) + ": " + std::strerror(number)};
}

// ---- File ---------------------------------------------------------------------------------------

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    std::swap(fd_, other.fd_);
    std::swap(path_, other.path_);
  }
  return *this;
}

File::~File() {
  if (fd_ < 0) return;
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  machine.close(fd_);
}

Result<FileInfo> File::info() const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return info_of(machine, machine.inode_of(fd_));
}

Result<std::size_t> File::read_some_at(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const crash::Bytes& bytes = machine.file(machine.inode_of(fd_)).bytes;
  if (offset_bytes >= bytes.size()) return std::size_t{0};
  const std::size_t count = std::min<std::size_t>(out.size(), bytes.size() - offset_bytes);
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset_bytes), count, out.begin());
  return count;
}

Result<void> File::read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const {
  CAIRN_TRY(count, read_some_at(offset_bytes, out));
  if (count == out.size()) return {};
  return Error{Code::Io, 0, path_ + ": ends at byte " + std::to_string(offset_bytes + count)};
}

Result<void> File::write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return outcome(machine.write(machine.inode_of(fd_), offset_bytes, bytes), path_, "cannot write");
}

// One call, which a power cut tears like any other.
Result<void> File::write_parts_at(std::uint64_t offset_bytes,
                                  std::span<const std::span<const std::byte>> parts) const {
  std::vector<std::byte> bytes;
  for (const auto part : parts) bytes.insert(bytes.end(), part.begin(), part.end());
  return write_at(offset_bytes, bytes);
}

// What is not synced may be on the disk in any case.
Result<void> File::start_writeback(ByteRange) const { return {}; }

Result<void> File::reserve(std::uint64_t size_bytes) const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return outcome(machine.resize(machine.inode_of(fd_), size_bytes), path_, "cannot reserve");
}

Result<void> File::make_read_only() const { return {}; }

Result<bool> File::try_lock() const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return machine.try_lock(fd_);
}

// Nobody else is there who could be told from the dead by it.
Result<bool> File::try_lock_shared() const { return true; }

void File::unlock() const noexcept {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  machine.unlock(fd_);
}

Result<bool> File::try_lock_byte(std::uint64_t) const { return true; }

void File::unlock_byte(std::uint64_t) const noexcept {}

Result<std::optional<std::uint64_t>> File::locked_byte(ByteRange) const {
  return std::optional<std::uint64_t>();
}

Result<void> File::sync() const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return outcome(machine.sync(machine.inode_of(fd_), readable(path_)), path_, "cannot sync");
}

// ---- Directory ----------------------------------------------------------------------------------

Result<Directory> Directory::open(const std::filesystem::path& path) {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const std::string name = path.empty() ? "." : path.string();
  const Inode inode = machine.find(path);
  const bool is_directory = inode != kNothing && machine.is_directory(inode);
  CAIRN_CHECK(outcome(is_directory ? 0 : ENOENT, name, "cannot open the directory"));
  return Directory(File(machine.open(inode), name));
}

Result<Directory> Directory::duplicate() const { return open(path()); }  // nobody renames one here

std::string Directory::path_now() const { return path(); }

Result<std::optional<FileInfo>> Directory::look_from(const std::filesystem::path& path,
                                                     Links) const {
  return os::look(std::filesystem::path(this->path()) / path);
}

Result<Directory> Directory::open_or_create(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> missing;
  for (std::filesystem::path at = path; !at.empty(); at = at.parent_path()) {
    CAIRN_TRY(there, os::look(at));
    if (there || at == at.parent_path()) break;
    missing.push_back(at);
  }
  for (; !missing.empty(); missing.pop_back()) {
    const std::filesystem::path& next = missing.back();
    if (!next.has_filename()) continue;
    CAIRN_TRY(parent, open(next.parent_path()));
    Machine& machine = crash::running();
    {
      const std::lock_guard lock(machine.mutex());
      CAIRN_CHECK(outcome(machine.change_names(machine.inode_of(parent.dir_.fd()),
                                               {{next.filename(), machine.new_inode(), true}},
                                               "make " + next.string()),
                          next.string(), "cannot create the directory"));
    }
    CAIRN_CHECK(parent.sync());
  }
  return open(path);
}

std::string Directory::joined(std::string_view name) const {
  return (std::filesystem::path(dir_.path()) / name).string();
}

Result<std::optional<FileInfo>> Directory::look(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const Inode inode = machine.find(machine.inode_of(dir_.fd()), checked);
  if (inode == kNothing) return std::optional<FileInfo>();
  return std::optional(info_of(machine, inode));
}

Result<std::optional<std::string>> Directory::link_text(std::string_view) const {
  return std::optional<std::string>();  // nobody makes one here
}

bool Directory::exists(std::string_view name) const {
  const auto there = look(name);
  return there && there->has_value();
}

Result<OpenedFile> Directory::open_seen(std::string_view name, Links) const {
  CAIRN_TRY(there, look(name));
  std::string shown = joined(name);
  CAIRN_CHECK(outcome(there ? 0 : ENOENT, shown, "cannot open"));
  if (there->kind != FileKind::Regular)
    return Error{Code::Unsafe, 0, shown + ": is not a regular file"};
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return OpenedFile{File(machine.open(there->inode), std::move(shown)), *there};
}

Result<File> Directory::open_file(std::string_view name, Links links) const {
  return open_seen(name, links).transform([](OpenedFile seen) { return std::move(seen.file); });
}

Result<File> Directory::create_file(std::string_view name) const {
  CAIRN_TRY(there, look(name));
  std::string shown = joined(name);
  CAIRN_CHECK(outcome(there ? EEXIST : 0, shown, "cannot create"));
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const Inode inode = machine.new_inode();
  CAIRN_CHECK(
      outcome(machine.change_names(machine.inode_of(dir_.fd()), {{std::string(name), inode}},
                                   "create " + readable(shown)),
              shown, "cannot create"));
  return File(machine.open(inode), std::move(shown));
}

Result<File> Directory::open_or_create_file(std::string_view name) const {
  return exists(name) ? open_file(name, Links::Refuse) : create_file(name);
}

Result<void> Directory::rename(std::string_view from, std::string_view to) const {
  CAIRN_TRY(source, bare(from, path()));
  CAIRN_TRY(target, bare(to, path()));
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const Inode directory = machine.inode_of(dir_.fd());
  const Inode inode = machine.find(directory, source);
  CAIRN_CHECK(outcome(inode == kNothing ? ENOENT : 0, joined(from), "cannot rename"));
  if (machine.find(directory, target) == inode) return {};  // two names of one file: both stay
  return outcome(machine.change_names(directory, {{source, kNothing}, {target, inode}},
                                      "rename " + readable(joined(source)) + " to " + target),
                 joined(from), "cannot rename");
}

Result<void> Directory::rename_new(std::string_view from, std::string_view to) const {
  CAIRN_CHECK(outcome(exists(to) ? EEXIST : 0, joined(to), "cannot get this name"));
  return rename(from, to);
}

bool Directory::may_replace(std::string_view) const { return true; }

Result<void> Directory::remove(std::string_view name) const {
  CAIRN_TRY(checked, bare(name, path()));
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const Inode directory = machine.inode_of(dir_.fd());
  if (machine.find(directory, checked) == kNothing) return {};
  return outcome(
      machine.change_names(directory, {{checked, kNothing}}, "remove " + readable(joined(checked))),
      joined(checked), "cannot remove");
}

Result<void> Directory::link(const File& file, std::string_view name) const {
  CAIRN_CHECK(outcome(exists(name) ? EEXIST : 0, joined(name), "cannot link"));
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return outcome(machine.change_names(machine.inode_of(dir_.fd()),
                                      {{std::string(name), machine.inode_of(file.fd())}},
                                      "link " + readable(joined(std::string(name)))),
                 joined(name), "cannot link");
}

Result<Directory> Directory::create_directory(std::string_view name) const {
  CAIRN_CHECK(outcome(exists(name) ? EEXIST : 0, joined(name), "cannot create the directory"));
  {
    Machine& machine = crash::running();
    const std::lock_guard lock(machine.mutex());
    CAIRN_CHECK(outcome(machine.change_names(machine.inode_of(dir_.fd()),
                                             {{std::string(name), machine.new_inode(), true}},
                                             "make " + readable(joined(name))),
                        joined(name), "cannot create the directory"));
  }
  return open_directory(name);
}

Result<Directory> Directory::open_directory(std::string_view name) const {
  CAIRN_TRY(there, look(name));
  const bool is_directory = there && there->kind == FileKind::Directory;
  CAIRN_CHECK(outcome(is_directory ? 0 : ENOENT, joined(name), "cannot open the directory"));
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return Directory(File(machine.open(there->inode), joined(name)));
}

Result<void> Directory::remove_directory(std::string_view name) const {
  CAIRN_TRY(there, look(name));
  if (!there) return {};
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const bool is_empty = machine.names(there->inode).empty();
  CAIRN_CHECK(outcome(is_empty ? 0 : ENOTEMPTY, joined(name), "cannot remove the directory"));
  return outcome(machine.change_names(machine.inode_of(dir_.fd()), {{std::string(name), kNothing}},
                                      "remove " + readable(joined(name))),
                 joined(name), "cannot remove the directory");
}

Result<void> Directory::exchange(std::string_view one, std::string_view other) const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const Inode directory = machine.inode_of(dir_.fd());
  const Inode first = machine.find(directory, one);
  const Inode second = machine.find(directory, other);
  const bool both = first != kNothing && second != kNothing;
  CAIRN_CHECK(outcome(both ? 0 : ENOENT, joined(other), "cannot be exchanged"));
  return outcome(
      machine.change_names(directory, {{std::string(one), second}, {std::string(other), first}},
                           "exchange " + readable(joined(one)) + " and " + std::string(other)),
      joined(other), "cannot be exchanged");
}

Result<void> Directory::link_into(const Directory& to, std::string_view name) const {
  CAIRN_TRY(file, open_file(name, Links::Refuse));
  return to.link(file, name);
}

Result<std::vector<std::string>> Directory::names() const {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  std::vector<std::string> names;
  for (const auto& [name, inode] : machine.names(machine.inode_of(dir_.fd())))
    names.push_back(name);
  return names;
}

// ---- The rest -----------------------------------------------------------------------------------

// No workload opens a V1 checkpoint, which alone is decoded into memory.
Result<void> File::seal() const { return Error{Code::Unsupported, 0, path_ + ": cannot seal"}; }

Result<File> memory_file(std::string path) {
  return Error{Code::Unsupported, 0, path + ": the model has no files in memory"};
}

Result<std::optional<FileInfo>> look(const std::filesystem::path& path) {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  const Inode inode = machine.find(path);
  if (inode == kNothing) return std::optional<FileInfo>();
  return std::optional(info_of(machine, inode));
}

bool is_link(const std::filesystem::path&) noexcept { return false; }  // the model has none

Result<Bytes> read_whole(const File& file, std::uint64_t size_bytes_max) {
  CAIRN_TRY(info, file.info());
  return read_whole(file, info, size_bytes_max);
}

Result<Bytes> read_whole(const File& file, const FileInfo& info, std::uint64_t size_bytes_max) {
  if (info.size_bytes > size_bytes_max) return Error{Code::Unsupported, 0, file.path() + ": large"};
  Bytes bytes(info.size_bytes);
  CAIRN_CHECK(file.read_at(0, bytes));
  return bytes;
}

Result<void> clone_blocks(const File&, const File& target) {
  return outcome(EOPNOTSUPP, target.path(), "cannot share blocks");
}

std::string temporary_name(std::string_view name) {
  char digits[kTemporaryDigits + 1];
  std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(now_ns()));
  return std::string(name).append(kTemporaryMark).append(digits);
}

bool is_temporary_name(std::string_view name) noexcept {
  if (name.size() < kTemporaryMark.size() + kTemporaryDigits) return false;
  name.remove_suffix(kTemporaryDigits);
  return name.ends_with(kTemporaryMark);
}

std::string_view without_temporary_tail(std::string_view name) noexcept {
  name.remove_suffix(kTemporaryMark.size() + kTemporaryDigits);
  return name;
}

std::int64_t now_ns() noexcept {
  Machine& machine = crash::running();
  const std::lock_guard lock(machine.mutex());
  return machine.tick();
}

std::string process_name() { return "process 1 on model"; }

}  // namespace cairn::os
