#include <doctest/doctest.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <thread>

#include "lib/os/file.h"
#include "lib/os/link_snapshot.h"
#include "lib/os/links.h"
#include "lib/os/mapping.h"
#include "lib/os/parallel.h"
#include "tests/unit/scratch.h"

namespace cairn::os {
namespace {

using test::refusal;
using test::Scratch;

Directory open_directory(const Scratch& scratch) {
  auto directory = Directory::open(scratch.path());
  REQUIRE_OK(directory);
  return *std::move(directory);
}

void put(const Directory& directory, std::string_view name, std::string_view text) {
  const auto file = directory.create_file(name);
  REQUIRE_OK(file);
  REQUIRE_OK(file->write_at(0, std::as_bytes(std::span(text))));
}

TEST_CASE("a name that would leave its directory is refused by every call that takes one") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "there", "x");
  const std::string with_nul("a\0b", 3);
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("a/b"), std::string("/etc/passwd"), with_nul}) {
    INFO(name);
    CHECK(refusal(directory.open_file(name, Links::Follow)) == Code::Unsafe);
    CHECK(refusal(directory.create_file(name)) == Code::Unsafe);
    CHECK(refusal(directory.look(name)) == Code::Unsafe);
    CHECK(refusal(directory.rename(name, "b")) == Code::Unsafe);
    CHECK(refusal(directory.rename("there", name)) == Code::Unsafe);
    CHECK(refusal(directory.rename_new("there", name)) == Code::Unsafe);
    CHECK(refusal(directory.remove(name)) == Code::Unsafe);
    CHECK_FALSE(directory.exists(name));
  }
  CHECK(scratch.names() == std::set<std::string>{"there"});
}

TEST_CASE("bytes in parts are written one behind the other, from the offset on") {
  const Scratch scratch;
  const auto file = open_directory(scratch).create_file("parts");
  REQUIRE_OK(file);
  const std::string text = "0123456789";
  const auto bytes = std::as_bytes(std::span(text));
  const std::vector<std::span<const std::byte>> parts{bytes.first(3), {}, bytes.subspan(3)};
  REQUIRE_OK(file->write_parts_at(2, parts));
  REQUIRE_OK(file->write_parts_at(12, std::span(parts).first(1)));
  REQUIRE_OK(file->write_parts_at(0, {}));
  const auto whole = read_whole(*file, 100);
  REQUIRE_OK(whole);
  CHECK(std::string(reinterpret_cast<const char*>(whole->data()), whole->size()) ==
        std::string(2, '\0') + text + "012");
}

TEST_CASE("writeback that cannot be had is no error") {
  const Scratch scratch;
  const auto file = open_directory(scratch).create_file("written");
  REQUIRE_OK(file);
  REQUIRE_OK(file->write_at(0, std::as_bytes(std::span("bytes"))));
  CHECK(file->start_writeback({0, 5}));
  const auto memory = memory_file("memory");
  REQUIRE_OK(memory);
  CHECK(memory->start_writeback({0, 5}));
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const File pipe(ends[1], "pipe");
  const File other(ends[0], "pipe");
  CHECK(pipe.start_writeback({0, 5}));  // ESPIPE
}

TEST_CASE("a sealed file in memory is read and mapped, and never changed again") {
  const auto file = memory_file("values");
  REQUIRE_OK(file);
  const std::string text = "1234";
  REQUIRE_OK(file->write_at(2, std::as_bytes(std::span(text))));
  REQUIRE_OK(file->seal());
  CHECK(file->info()->size_bytes == 6);
  CHECK(refusal(file->write_at(4, std::as_bytes(std::span(text))), {"values", "cannot write"}) ==
        Code::Io);
  for (const MapMode mode : {MapMode::ReadOnly, MapMode::CopyOnWrite}) {
    const auto mapping = Mapping::map(*file, 6, mode);
    REQUIRE_OK(mapping);
    CHECK(std::to_integer<char>(mapping->bytes()[5]) == '4');
  }
}

TEST_CASE("links beneath a directory resolve alike by the kernel and step by step") {
  const Scratch box;
  const auto root = box / "d";
  std::filesystem::create_directories(root / "in/deep");
  for (const auto& file : {root / "file", root / "in/file", box / "outside"})
    std::ofstream(file) << "bytes";
  const std::pair<const char*, int> links[] = {{"file", 0},
                                               {"./in/../file", 0},
                                               {"in/deep/../file", 0},
                                               {"hop", 0},
                                               {"../outside", EXDEV},
                                               {"in/../../outside", EXDEV},
                                               {"/etc/passwd", EXDEV},
                                               {"../d/file", EXDEV},
                                               {"door/outside", EXDEV},
                                               {"absent", ENOENT},
                                               {"self", ELOOP}};
  std::filesystem::create_symlink("in/file", root / "hop");
  std::filesystem::create_symlink("self", root / "self");
  std::filesystem::create_symlink("..", root / "door");
  const int at = ::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  for (const auto& [to, expected] : links) {
    INFO("to: ", to);
    std::filesystem::create_symlink(to, root / "link");
    for (const auto open : {open_beneath, walk_beneath}) {
      const int fd = open(at, "link", O_RDONLY | O_CLOEXEC);
      const int number = fd < 0 ? errno : 0;
      if (fd >= 0) ::close(fd);
      const bool old_kernel = open == open_beneath && (number == ENOSYS || number == EPERM);
      CHECK((old_kernel || number == expected));
    }
    std::filesystem::remove(root / "link");
  }
  ::close(at);
}

TEST_CASE("all paths of a snapshot of links go where each link led at first") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  const std::filesystem::path root = scratch.path();
  for (const char* const version : {"v1", "v2"}) {
    std::filesystem::create_directories(root / version / "inner");
    const auto inside = Directory::open(root / version);
    REQUIRE_OK(inside);
    put(*inside, "a", version);
    put(*inside, "b", version);
  }
  const auto turn = [&](const std::filesystem::path& to) {
    std::filesystem::remove(root / "..data");
    std::filesystem::create_symlink(to, root / "..data");
  };
  std::filesystem::create_symlink("..data/a", root / "a");
  std::filesystem::create_symlink("./..data/inner/../b", root / "b");
  std::filesystem::create_symlink("loop", root / "loop");
  const auto inode = [](const Result<std::optional<FileInfo>>& found) {
    REQUIRE_OK(found);
    return *found ? (*found)->inode : 0;
  };
  const auto v1_a = inode(look(root / "v1" / "a"));
  const auto v1_b = inode(look(root / "v1" / "b"));
  for (const auto& to : {std::filesystem::path("v1"), root / "v1", root / "v2/../v1/inner/.."}) {
    for (const bool from_root : {false, true}) {
      const std::string start = from_root ? "" : root.string() + "/";
      LinkSnapshot links(from_root ? &directory : nullptr);
      turn(to);
      CHECK(inode(links.look(start + "a")) == v1_a);
      turn("v2");
      CHECK(inode(links.look(start + "b")) == v1_b);
      CHECK(inode(links.look(start + "loop")) == 0);
      CHECK(inode(links.look(start + "none")) == 0);
    }
  }
}

TEST_CASE("a link is opened only when links are followed, and a FIFO never, without blocking") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "file", "x");
  std::filesystem::create_symlink("file", scratch / "link");
  REQUIRE(::mkfifo((scratch / "fifo").c_str(), 0600) == 0);
  std::filesystem::create_directory(scratch / "dir");
  CHECK(refusal(directory.open_file("link", Links::Refuse), {"symbolic link"}) == Code::Unsafe);
  CHECK(directory.open_file("link", Links::Follow));
  CHECK(refusal(directory.open_file("fifo", Links::Follow), {"not a regular file"}) ==
        Code::Unsafe);
  CHECK(refusal(directory.open_file("dir", Links::Follow), {"not a regular file"}) == Code::Unsafe);
  CHECK(refusal(directory.open_file("absent", Links::Follow), {"absent", "No such file"}) ==
        Code::NotFound);
  CHECK((*directory.look("link"))->kind == FileKind::Link);
}

TEST_CASE("a file is created once, and rename_new never replaces") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "a", "1");
  put(directory, "b", "2");
  CHECK(refusal(directory.create_file("a")) == Code::Exists);
  CHECK(refusal(directory.rename_new("a", "b"), {"/b"}) == Code::Exists);
  REQUIRE_OK(directory.rename_new("a", "c"));
  REQUIRE_OK(directory.rename("c", "b"));
  CHECK(scratch.names() == std::set<std::string>{"b"});
  REQUIRE_OK(directory.remove("nothing there"));
}

TEST_CASE("missing parents are made, and trailing slashes are none of them") {
  const Scratch scratch;
  for (const char* path : {"a/b/c", "d/e/", "d/e", "f//g", "a/./h"}) {
    INFO(path);
    REQUIRE_OK(Directory::open_or_create(scratch / path));
    CHECK(std::filesystem::is_directory(scratch / path));
  }
  std::ofstream(scratch / "file") << 'x';
  CHECK_FALSE(Directory::open_or_create(scratch / "file/below"));
}

TEST_CASE("reading past the end says where the file ends") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "short", "12345");
  const auto file = directory.open_file("short", Links::Refuse);
  REQUIRE_OK(file);
  std::vector<std::byte> out(4);
  REQUIRE_OK(file->read_at(1, out));
  CHECK(refusal(file->read_at(3, out), {"short", "ends at byte 5"}) == Code::Io);
  CHECK(*file->read_some_at(3, out) == 2);
  CHECK(*file->read_some_at(99, out) == 0);
  CHECK(refusal(read_whole(*file, 4), {"5 bytes", "4"}) == Code::Unsupported);
  CHECK(read_whole(*file, 5)->size() == 5);
}

TEST_CASE("times that do not fit nanoseconds are no undefined behaviour") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "late", "x");
  for (const time_t seconds :
       {time_t{1} << 33, time_t{1} << 40, std::numeric_limits<time_t>::max()}) {
    const timespec times[2]{{seconds, 999'999'999}, {seconds, 999'999'999}};
    REQUIRE(::utimensat(AT_FDCWD, (scratch / "late").c_str(), times, 0) == 0);
    REQUIRE_OK(directory.look("late"));
  }
}

TEST_CASE("a mapping longer than its file is refused, and one of nothing is empty") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "five", "12345");
  const auto file = directory.open_file("five", Links::Refuse);
  REQUIRE_OK(file);
  CHECK(refusal(Mapping::map(*file, 6, MapMode::ReadOnly), {"has 5 bytes", "6"}) == Code::Io);
  const auto nothing = Mapping::map(*file, 0, MapMode::ReadOnly);
  REQUIRE_OK(nothing);
  CHECK(nothing->bytes().empty());
  CHECK(Mapping::allocate(0)->bytes().empty());
}

TEST_CASE("a copy-on-write mapping changes memory and not the file") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "file", "12345");
  const auto file = directory.open_file("file", Links::Refuse);
  REQUIRE_OK(file);
  const auto mapping = Mapping::map(*file, 5, MapMode::CopyOnWrite);
  REQUIRE_OK(mapping);
  mapping->bytes()[0] = std::byte{'9'};
  std::vector<std::byte> out(1);
  REQUIRE_OK(file->read_at(0, out));
  CHECK(out[0] == std::byte{'1'});
}

TEST_CASE("populated pages are resident, and no more are counted than the file has bytes") {
  const Scratch scratch;
  const Directory directory = open_directory(scratch);
  put(directory, "file", std::string(10'000, 'x'));
  const auto file = directory.open_file("file", Links::Refuse);
  REQUIRE_OK(file);
  const auto mapping = Mapping::map(*file, 10'000, MapMode::ReadOnly);
  REQUIRE_OK(mapping);
  REQUIRE_OK(populate(mapping->bytes().subspan(5000)));
  CHECK(*resident_bytes(*file, 10'000) == 10'000);
  CHECK(*resident_bytes(*file, 0) == 0);
}

TEST_CASE("temporary names differ at each call, and are recognised") {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) seen.insert(temporary_name("P.index"));
  CHECK(seen.size() == 100);
  for (const std::string& name : seen) {
    CHECK(name.starts_with("P.index.cairn-tmp-"));
    CHECK(is_temporary_name(name));
    CHECK_FALSE(is_temporary_name(name + "x"));
  }
  for (const char* name : {"", "P.index", ".cairn-tmp-", "a.cairn-tmp-123456789abcdef",
                           "a.cairn-tmp-0123456789ABCDEF", "a.tmp-0123456789abcdef"}) {
    CHECK_FALSE(is_temporary_name(name));
  }
}

TEST_CASE("each task runs once, whatever the number of threads") {
  for (const unsigned threads : {0u, 1u, 2u, 4u}) {
    for (const std::size_t count : {0u, 1u, 2u, 1000u}) {
      std::vector<std::atomic<int>> runs(count);
      ExecOptions exec;
      exec.threads_max = threads;
      REQUIRE_OK(run_parallel(exec, count, count, [&](std::size_t i) -> Result<std::uint64_t> {
        ++runs[i];
        return std::uint64_t{1};
      }));
      CHECK(std::ranges::all_of(runs, [](const auto& times) { return times == 1; }));
    }
  }
}

TEST_CASE("with one thread the caller does all the work") {
  ExecOptions exec;
  exec.threads_max = 1;
  CHECK(thread_count(exec) == 1);
  const auto caller = std::this_thread::get_id();
  REQUIRE_OK(run_parallel(exec, 10, 10, [&](std::size_t) -> Result<std::uint64_t> {
    CHECK(std::this_thread::get_id() == caller);
    return std::uint64_t{1};
  }));
}

TEST_CASE("after the first error no further task starts, and the error comes back") {
  std::atomic<int> runs = 0;
  ExecOptions exec;
  exec.threads_max = 4;
  const auto done = run_parallel(exec, 1'000'000, 0, [&](std::size_t i) -> Result<std::uint64_t> {
    ++runs;
    if (i == 10) return Error{Code::Busy, 0, "the tenth"};
    return std::uint64_t{0};
  });
  CHECK(refusal(done, {"the tenth"}) == Code::Busy);
  CHECK(runs < 1'000'000);
}

TEST_CASE("what a task throws comes back as an error") {
  for (const unsigned threads : {1u, 4u}) {
    ExecOptions exec;
    exec.threads_max = threads;
    const auto done = run_parallel(
        exec, 8, 0, [](std::size_t) -> Result<std::uint64_t> { throw std::bad_alloc(); });
    CHECK(refusal(done) == Code::OutOfMemory);
  }
}

TEST_CASE("a stop ends the work with Cancelled") {
  std::stop_source source;
  ExecOptions exec;
  exec.stop = source.get_token();
  std::atomic<int> runs = 0;
  const auto done = run_parallel(exec, 1000, 0, [&](std::size_t) -> Result<std::uint64_t> {
    if (++runs == 5) source.request_stop();
    return std::uint64_t{0};
  });
  CHECK(refusal(done) == Code::Cancelled);
  CHECK(runs < 1000);
}

TEST_CASE("progress comes on the calling thread, never falls, and reaches the total") {
  std::uint64_t last = 0;
  const auto caller = std::this_thread::get_id();
  ExecOptions exec;
  exec.threads_max = 2;
  exec.progress = [&](const Progress& progress) {
    CHECK(std::this_thread::get_id() == caller);
    CHECK(progress.done_bytes >= last);
    CHECK(progress.total_bytes == 60);
    last = progress.done_bytes;
  };
  REQUIRE_OK(run_parallel(exec, 6, 60, [](std::size_t) -> Result<std::uint64_t> {
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    return std::uint64_t{10};
  }));
  CHECK(last == 60);
}

// New threads get a stack that no machine has, until it goes.
class NoThreads {
 public:
  NoThreads() {
    pthread_attr_t huge;
    REQUIRE(::pthread_getattr_default_np(&before_) == 0);
    REQUIRE(::pthread_getattr_default_np(&huge) == 0);
    REQUIRE(::pthread_attr_setstacksize(&huge, std::size_t{1} << 47) == 0);
    REQUIRE(::pthread_setattr_default_np(&huge) == 0);
    ::pthread_attr_destroy(&huge);
  }
  NoThreads(const NoThreads&) = delete;
  NoThreads& operator=(const NoThreads&) = delete;
  ~NoThreads() {
    ::pthread_setattr_default_np(&before_);
    ::pthread_attr_destroy(&before_);
  }

 private:
  pthread_attr_t before_;
};

TEST_CASE("threads that the system refuses are work for those that run") {
  const NoThreads none;
  ExecOptions exec;
  exec.threads_max = 8;
  const auto caller = std::this_thread::get_id();
  int runs = 0;
  REQUIRE_OK(run_parallel(exec, 100, 0, [&](std::size_t) -> Result<std::uint64_t> {
    CHECK(std::this_thread::get_id() == caller);
    ++runs;
    return std::uint64_t{0};
  }));
  CHECK(runs == 100);
}

}  // namespace
}  // namespace cairn::os
