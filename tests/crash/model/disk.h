#pragma once

// A disk that knows what is durable: what may be left of it when the power goes.
//
// The rules are those of POSIX, not of one kind file system: a file's bytes and size are durable
// only up to its last sync, a directory's names only up to its last sync. Of what came later any
// part may have reached the disk, in any order: each name operation by itself (a rename is atomic),
// each 4 KiB of each write by itself, and a file's length and time as they were after any of its
// operations.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cairn::crash {

using Inode = std::uint64_t;
inline constexpr Inode kNothing = 0;
inline constexpr Inode kRoot = 1;

using Bytes = std::vector<std::byte>;
using Names = std::map<std::string, Inode, std::less<>>;

struct File {
  Bytes bytes;
  std::int64_t mtime_ns = 0;
};

// What lies on a disk. Copies share the files' bytes.
struct Image {
  std::map<Inode, Names> directories = {{kRoot, {}}};
  std::map<Inode, std::shared_ptr<const File>> files;
  Inode next_inode = kRoot + 1;
  std::int64_t now_ns = 1'700'000'000'000'000'000;
};

// One thing that the system was asked to do to the disk.
struct Operation {
  enum class Kind : std::uint8_t { Write, Resize, Naming, Sync, FailedSync };
  struct Change {
    std::string name;
    Inode inode = kNothing;  // what the name means from now on; kNothing: it is gone
    bool is_directory = false;
  };

  Kind kind{};
  Inode inode = kNothing;          // the file or directory
  std::uint64_t offset_bytes = 0;  // Write
  std::uint64_t size_bytes = 0;    // Resize
  Bytes bytes;                     // Write
  std::vector<Change> changes;     // Naming: all of them or none
  std::int64_t now_ns = 0;
  std::string what;  // for people
};

// Does it as a running system sees it: at once.
void apply(Image& image, const Operation& operation);

// Follows a run operation by operation.
class Disk {
 public:
  explicit Disk(Image durable) : durable_(std::move(durable)) {}

  // `operation` must outlive the disk.
  void take(const Operation& operation);

  // One thing that a power cut decides. Alternative 0: the disk never saw it.
  struct Point {
    enum class Kind : std::uint8_t { Naming, Metadata, Block };
    Kind kind{};
    const Operation* operation = nullptr;
    std::uint64_t offset_bytes = 0;  // Block: of the piece in the operation's bytes
    std::uint64_t size_bytes = 0;
    unsigned alternatives = 2;
    unsigned done = 1;  // the alternative in which everything has reached the disk
  };
  using Choice = std::vector<unsigned>;  // one alternative for each point

  // What is undecided now, in the order of the operations.
  std::vector<Point> points() const;

  // The disk after the power cut.
  Image left(const std::vector<Point>& points, const Choice& choice) const;

 private:
  // The file's length and time as they were after so many of its operations.
  void set_metadata(Inode inode, unsigned operation_count, File& file) const;

  Image durable_;
  struct Pending {
    const Operation* operation;
    bool given_up = false;  // a sync failed after it: no later one brings it to the disk
  };
  std::vector<Pending> pending_;
};

// Every choice that these points leave.
void each_choice(const std::vector<Disk::Point>& points,
                 const std::function<void(const Disk::Choice&)>& visit);

// Which files lie where, with inode, time and bytes: equal keys, equal disks for whoever opens
// them.
std::string key_of(const Image& image);

}  // namespace cairn::crash
