// Pages that a disk does not give: an error for who asks by a call, a signal for who touches.

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "crew.h"
#include "faults.h"

namespace cairn::faults {
namespace {

namespace fs = std::filesystem;
using live::Place;

constexpr std::uint64_t kFirstSickByte = 2u << 20;

dev_t device_of(const fs::path& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 ? info.st_dev : 0;
}

// A directory's files on a disk whose shards cannot be read from a byte on.
class SickDisk {
 public:
  SickDisk(const fs::path& source, fs::path at) : at_(std::move(at)) {
    fs::create_directories(at_);
    const dev_t before = device_of(at_);
    const std::string first_sick_byte = std::to_string(kFirstSickByte);
    server_ = ::fork();
    if (server_ == 0) {
      ::execl(CAIRN_SICK_DISK, CAIRN_SICK_DISK, source.c_str(), at_.c_str(),
              first_sick_byte.c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 500 && !mounted_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      mounted_ = device_of(at_) != before;
      if (!mounted_ && ::waitpid(server_, nullptr, WNOHANG) == server_) server_ = -1;
      if (server_ < 0) break;
    }
  }
  SickDisk(const SickDisk&) = delete;
  SickDisk& operator=(const SickDisk&) = delete;
  ~SickDisk() {
    if (server_ < 0) return;
    ::kill(server_, SIGTERM);  // it unmounts
    ::waitpid(server_, nullptr, 0);
  }
  bool mounted() const { return mounted_; }

 private:
  fs::path at_;
  pid_t server_ = -1;
  bool mounted_ = false;
};

// The disk with a checkpoint, where this machine has FUSE.
struct Ward {
  Ward() : prefix(place / "sick/m"), disk(files(), place / "sick") {
    if (!disk.mounted()) MESSAGE("skipped: no FUSE file system can be mounted here");
  }
  explicit operator bool() const { return disk.mounted(); }

  Result<Checkpoint> open(Access access = Access::Shared) const {
    OpenOptions options;
    options.access = access;
    options.verify = Verify::None;
    return Checkpoint::open(prefix, options);
  }

  fs::path files() const {
    // P.cairn would know that these are other files than those that were written, and have all
    // tensors checked.
    save(place / "files/m", 0, {.cairn_index = false});
    return place / "files";
  }

  Place place;
  fs::path prefix;
  SickDisk disk;
};

bool fails(const auto& result) { return !result && result.error().code == Code::Io; }

TEST_CASE("a page that the disk does not give is an error of every call, and no signal") {
  const Ward ward;
  if (!ward) return;
  for (const Access access : {Access::Shared, Access::Private}) {
    CHECK(survives([&] {
      const auto checkpoint = ward.open(access);
      if (!checkpoint) return false;
      const auto w = checkpoint->tensor("w");
      std::vector<std::byte> out(w->size_bytes());
      const Read read{"w", {}, out};
      const Range sick[]{{kCount - 100, 100}};
      const Range well[]{{0, 100}};
      return fails(w->read(out)) && fails(w->values<std::int32_t>(sick)) &&
             w->values<std::int32_t>(well) && fails(checkpoint->read(std::span(&read, 1))) &&
             fails(checkpoint->verify()) && fails(checkpoint->prefetch());
    }));
  }
  CHECK(survives([&] { return fails(ward.open(Access::Copy)); }));
  for (const IoMethod method :
       {IoMethod::Map, IoMethod::Populate, IoMethod::Read, IoMethod::Direct}) {
    RestoreOptions options;
    options.method = method;
    CHECK(survives([&] { return !restore(ward.prefix, options); }));
  }
}

TEST_CASE("touching such a page kills the process without a guard") {
  const Ward ward;
  if (!ward) return;
  CHECK(dies([&] {
    const auto checkpoint = ward.open();
    return touch(*checkpoint->tensor("w")->bytes()) != 0;
  }));
}

TEST_CASE("with a guard the first bad page is zeros, and its neighbours are what they were") {
  const Ward ward;
  if (!ward) return;
  CHECK(survives([&] {
    const auto guarded = SigbusGuard::install();
    const auto checkpoint = ward.open();
    if (!guarded || !checkpoint) return false;
    const auto w = *checkpoint->tensor("w");
    const auto bytes = *w.bytes();
    const std::size_t first_bad = kFirstSickByte - w.offset_bytes();
    const bool well_before = touch(bytes.first(first_bad)) == 0 && !checkpoint->faulted();
    const bool zeros = touch(bytes.subspan(first_bad, 1)) == 1;
    return well_before && zeros && checkpoint->faulted() && touch(bytes.first(first_bad)) == 0 &&
           fails(w.bytes()) && fails(checkpoint->verify());
  }));
}

}  // namespace
}  // namespace cairn::faults
