#pragma once

// Descriptors and names. What has been opened stays what it is: every later question goes to the
// descriptor, never to the path again, and files of one checkpoint are opened below one directory
// descriptor.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/error.h"

namespace cairn::os {

enum class FileKind : std::uint8_t { Regular, Directory, Link, Other };

struct FileInfo {
  FileKind kind{};
  std::uint64_t size_bytes = 0;
  std::int64_t mtime_ns = 0;
  std::uint64_t inode = 0;
  std::uint64_t device = 0;
  std::int64_t ctime_ns = 0;      // also of its names: a new one changes it
  std::uint64_t freed_bytes = 0;  // of the disk, when this name goes; nothing while it has others
};

// Bytes of a file.
struct ByteRange {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size_bytes = 0;
};

// The most parts that write_parts_at takes: Linux's own limit.
inline constexpr std::size_t kPartsMax = 1024;

// The error of a system call that just failed: "PATH: WHAT: No such file or directory". Reads
// errno.
Error system_error(const std::string& path, std::string_view what);

// An open file. Errors name its path.
class File {
 public:
  File(int fd, std::string path, bool through_link = false) noexcept
      : fd_(fd), through_link_(through_link), path_(std::move(path)) {}
  File(File&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        through_link_(other.through_link_),
        path_(std::move(other.path_)) {}
  File& operator=(File&& other) noexcept;
  ~File();

  int fd() const noexcept { return fd_; }
  const std::string& path() const noexcept { return path_; }

  // Errors name another path from here on: that of the file of which this one is a copy.
  void call(std::string path) noexcept { path_ = std::move(path); }

  // Whether its name was a symbolic link, which may lead to another file by now.
  bool through_link() const noexcept { return through_link_; }

  Result<FileInfo> info() const;

  // Fills `out` from `offset_bytes`. Io: the file ends before, or the disk failed.
  Result<void> read_at(std::uint64_t offset_bytes, std::span<std::byte> out) const;

  // As many bytes as there are, at most out.size().
  Result<std::size_t> read_some_at(std::uint64_t offset_bytes, std::span<std::byte> out) const;

  Result<void> write_at(std::uint64_t offset_bytes, std::span<const std::byte> bytes) const;

  // The same for bytes that lie in parts: one call for all of them.
  Result<void> write_parts_at(std::uint64_t offset_bytes,
                              std::span<const std::span<const std::byte>> parts) const;

  // Makes the file this long and reserves its blocks where the file system can. NoSpace: before a
  // byte is written.
  Result<void> reserve(std::uint64_t size_bytes) const;

  // Takes the write bits away: a published shard never changes.
  Result<void> make_read_only() const;

  // Of a memory_file(): neither its size nor its bytes can change any more.
  Result<void> seal() const;

  // Holds the file against every other open of it, until this one closes or its process dies.
  // false: another holds it. Unsupported: the file system has no such locks.
  Result<bool> try_lock() const;

  // The same, beside others that share it: false where somebody holds it alone.
  Result<bool> try_lock_shared() const;

  // Lets go of either.
  void unlock() const noexcept;

  // Holds one byte, which need not be there, against every other open of the file; whoever has it
  // lets go of it with unlock_byte(), closes the file or dies. false: another holds it.
  // Unsupported: the file system has no such locks.
  Result<bool> try_lock_byte(std::uint64_t offset_bytes) const;
  void unlock_byte(std::uint64_t offset_bytes) const noexcept;

  // One of the bytes that another open of the file holds so: it is not said which of several.
  Result<std::optional<std::uint64_t>> locked_byte(ByteRange range) const;

  // Lets the disk begin with these bytes, so that a sync() afterwards waits for less; promises
  // nothing, and does nothing where kernel, file system or sandbox do not have it. Io, NoSpace: the
  // disk has failed, which is as final as a sync that fails.
  Result<void> start_writeback(ByteRange range) const;

  // Returns when the bytes are on the disk. After a failure nobody can know whether they are: never
  // try again.
  Result<void> sync() const;

 private:
  int fd_;
  bool through_link_ = false;
  std::string path_;
};

enum class Links : std::uint8_t {
  Refuse,
  Inside,  // those that lead below the directory, or to the blobs of a Hugging Face cache (links.h)
  Follow,
};

// A file and what was seen of it when it was opened: who looks again asks the system again.
struct OpenedFile {
  File file;
  FileInfo info;
};

// An open directory: the capability to reach the files in it by bare names. Names with a slash are
// refused.
class Directory {
 public:
  // One that may be entered but not listed opens too: its files can be opened, and names() fails.
  static Result<Directory> open(const std::filesystem::path& path);

  // Opens it, and makes it and its missing parents first, each made durable in its parent.
  static Result<Directory> open_or_create(const std::filesystem::path& path);

  // What is open already, and is known to be a directory.
  static Directory of(File directory) noexcept { return Directory(std::move(directory)); }

  // Another descriptor of the same directory, whatever its path names by now.
  Result<Directory> duplicate() const;

  const std::string& path() const noexcept { return dir_.path(); }
  Result<FileInfo> info() const { return dir_.info(); }

  // Where it is now, for a message; empty: nobody can say.
  std::string path_now() const;

  // What stands under the name; links are not followed. Nothing: no such name.
  Result<std::optional<FileInfo>> look(std::string_view name) const;

  // What stands at a path that begins in this directory, or is absolute; `links`: in its last part.
  Result<std::optional<FileInfo>> look_from(const std::filesystem::path& path, Links links) const;

  // Where the symbolic link of this name leads, as it says so. Nothing: no link has the name.
  Result<std::optional<std::string>> link_text(std::string_view name) const;

  // Whether something may stand under the name, of whatever kind, links followed: false only where
  // there is nothing for certain. What cannot be looked at is there; to open it says why it cannot.
  bool exists(std::string_view name) const;

  // Opens a regular file for reading, without blocking on a FIFO. NotFound; Unsafe: a link that
  // `links` does not allow, or no regular file. A link costs a second open.
  Result<OpenedFile> open_seen(std::string_view name, Links links) const;
  Result<File> open_file(std::string_view name, Links links) const;

  // Creates a file that must not exist, with the modes that the umask leaves.
  Result<File> create_file(std::string_view name) const;

  // Opens a regular file for reading and writing, or creates it, for all who may write to the
  // directory. Unsafe: a link, or no regular file.
  Result<File> open_or_create_file(std::string_view name) const;

  // Gives `from` the name `to`, replacing what is there.
  Result<void> rename(std::string_view from, std::string_view to) const;

  // The same, but Exists where there is something already.
  Result<void> rename_new(std::string_view from, std::string_view to) const;

  Result<void> remove(std::string_view name) const;  // nothing there: fine

  // False: the directory has the sticky bit and the name is another user's, so that replacing and
  // removing will be refused.
  bool may_replace(std::string_view name) const;

  // A second name for an open file. The Error carries errno in os_errno (EXDEV, EMLINK, EPERM, …).
  Result<void> link(const File& file, std::string_view name) const;

  // Makes a directory in this one and opens it. Exists: the name is taken.
  Result<Directory> create_directory(std::string_view name) const;

  // Opens a directory in this one. NotFound; Unsafe: a link, or no directory.
  Result<Directory> open_directory(std::string_view name) const;

  // Removes an empty directory; nothing there: fine.
  Result<void> remove_directory(std::string_view name) const;

  // The two names exchange what they stand for, at once. Unsupported: kernel or file system cannot.
  Result<void> exchange(std::string_view one, std::string_view other) const;

  // A second name, in another directory, for what has this name; a link is linked itself, not what
  // it leads to. The Error carries errno.
  Result<void> link_into(const Directory& to, std::string_view name) const;

  // As File::try_lock().
  Result<bool> try_lock() const { return dir_.try_lock(); }

  // Names in the directory, without "." and "..", unordered.
  Result<std::vector<std::string>> names() const;

  // Makes names durable: creations, renames and removals since.
  Result<void> sync() const { return dir_.sync(); }

 private:
  explicit Directory(File dir) noexcept : dir_(std::move(dir)) {}
  std::string joined(std::string_view name) const;

  File dir_;
};

// A file without a name, in memory that goes when the last descriptor and mapping go. `path` is
// what errors call it.
Result<File> memory_file(std::string path);

// What stands at a path, links followed. Nothing: no such path.
Result<std::optional<FileInfo>> look(const std::filesystem::path& path);

// Whether a symbolic link stands at a path.
bool is_link(const std::filesystem::path& path) noexcept;

// Memory for what is read. A move leaves the bytes where they are.
class Bytes {
 public:
  // Not zeroed first, as a vector's are: that takes as long as reading from the page cache.
  explicit Bytes(std::size_t size_bytes)
      : bytes_(std::make_unique_for_overwrite<std::byte[]>(size_bytes)), size_bytes_(size_bytes) {}

  std::byte* data() noexcept { return bytes_.get(); }
  std::byte* begin() noexcept { return bytes_.get(); }
  std::byte* end() noexcept { return bytes_.get() + size_bytes_; }
  const std::byte* data() const noexcept { return bytes_.get(); }
  const std::byte* begin() const noexcept { return bytes_.get(); }
  const std::byte* end() const noexcept { return bytes_.get() + size_bytes_; }
  std::size_t size() const noexcept { return size_bytes_; }

 private:
  std::unique_ptr<std::byte[]> bytes_;
  std::size_t size_bytes_;
};

// The whole file as bytes, at most `size_bytes_max`. Unsupported: it is larger.
Result<Bytes> read_whole(const File& file, std::uint64_t size_bytes_max);

// The same, of a file that the caller has just looked at.
Result<Bytes> read_whole(const File& file, const FileInfo& info, std::uint64_t size_bytes_max);

// A copy of `source` that shares its blocks, where the file system can (FICLONE). The Error carries
// errno.
Result<void> clone_blocks(const File& source, const File& target);

// A name for a temporary file next to `name`, different at each call:
// "NAME.cairn-tmp-0123456789abcdef".
std::string temporary_name(std::string_view name);
bool is_temporary_name(std::string_view name) noexcept;
std::string_view without_temporary_tail(std::string_view name) noexcept;  // "NAME"

// The current time since the epoch.
std::int64_t now_ns() noexcept;

// This process, for a message: "process 4242 on build-7".
std::string process_name();

}  // namespace cairn::os
