// System calls that kernel or sandbox refuse: another call does the work, or an error says so.

#include <doctest/doctest.h>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <vector>

#include "cairn/convert.h"
#include "cairn/restore.h"
#include "lib/os/direct.h"
#include "lib/os/file.h"
#include "lib/os/mapping.h"
#include "tests/unit/scratch.h"

namespace cairn::os {
namespace {

using test::Scratch;

constexpr int kNoSandbox = 77;

bool refuse(std::initializer_list<long> calls, unsigned number) {
  std::vector<sock_filter> program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (const long call : calls) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | number));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// The answer of `body`, 0 for yes, in a process whose calls are refused with this errno.
template <class Body>
int answer_without(std::initializer_list<long> calls, int number, Body body) {
  const pid_t child = ::fork();
  if (child == 0) {
    if (!refuse(calls, static_cast<unsigned>(number))) ::_exit(kNoSandbox);
    ::_exit(body());
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const int answer = WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
  if (answer == kNoSandbox)
    MESSAGE("skipped: this system lets nobody refuse calls (seccomp), or become another user");
  return answer == kNoSandbox ? 0 : answer;
}

template <class T>
T required(Result<T> result) {
  REQUIRE_OK(result);
  return *std::move(result);
}

// A new file in a directory of its own.
struct Made {
  const Scratch scratch;
  const Directory directory = required(Directory::open(scratch.path()));
  const File file = required(directory.create_file("file"));
};

TEST_CASE("a file whose sync is refused is not said to be synced; of a directory it is no loss") {
  const Made made;
  const File& file = made.file;
  for (const int number : {EINVAL, ENOTSUP}) {
    CHECK(answer_without({SYS_fsync}, number, [&] {
            const auto synced = file.sync();
            if (synced || synced.error().os_errno != number) return 1;
            return made.directory.sync() ? 0 : 2;
          }) == 0);
  }
  CHECK(answer_without({SYS_fsync}, EIO, [&] { return made.directory.sync() ? 1 : 0; }) == 0);
}

TEST_CASE("what old sandboxes answer EPERM for is done by other calls") {
  const Scratch scratch;
  const auto directory = Directory::open(scratch.path());
  REQUIRE_OK(directory);
  const auto refused = {long{SYS_faccessat2}, long{SYS_renameat2}, long{SYS_fallocate},
                        long{SYS_madvise}};
  for (const int number : {EPERM, ENOSYS}) {
    INFO(number);
    const std::string to = "to" + std::to_string(number);
    CHECK(answer_without(refused, number, [&] {
            const auto file = directory->create_file("from");
            if (!file || !file->reserve(5000) || file->info()->size_bytes != 5000) return 1;
            if (!directory->rename_new("from", to)) return 2;
            if (!directory->exists(to) || directory->exists("from")) return 3;
            const auto mapping = Mapping::map(*file, 5000, MapMode::ReadOnly);
            if (!mapping) return 4;
            const auto populated = populate(mapping->bytes());
            return !populated && populated.error().code == Code::Unsupported ? 0 : 5;
          }) == 0);
  }
}

TEST_CASE("where no file can get a second name, publishers copy") {
  for (const int number : {EPERM, EOPNOTSUPP, ENOSYS}) {
    INFO(number);
    const Scratch scratch;
    const std::vector<test::Content> contents{
        {{"a", DType::Uint8, {5000}}, test::random_bytes(5000, 3), {}}};
    test::write_checkpoint(scratch / "m", contents);
    CHECK(answer_without({SYS_linkat}, number, [&] {
            TransferOptions options;
            options.output = scratch / "n";
            const auto moved = import_index(scratch / "m", options);
            if (!moved || moved->used != Link::Copy) return 1;
            options.replace = true;  // what is replaced keeps a name until its shards have gone
            return import_index(scratch / "m", options) ? 0 : 2;
          }) == 0);
    test::check_holds(test::open_checkpoint(scratch / "n"), contents);
  }
}

TEST_CASE(
    "a name is taken by three calls where one is refused, and never from a file that is there") {
  for (const int number : {EPERM, ENOSYS, EOPNOTSUPP}) {
    INFO(number);
    const Made made;
    const auto& directory = made.directory;
    REQUIRE_OK(made.file.write_at(0, test::random_bytes(100, 1)));
    const int renaming = number == EOPNOTSUPP ? ENOSYS : number;
    CHECK(answer_without({SYS_renameat2}, renaming, [&] {
            return answer_without({SYS_linkat}, number, [&] {
              if (!directory.rename_new("file", "to") || directory.exists("file")) return 1;
              const auto other = directory.create_file("other");
              const auto taken = directory.rename_new("other", "to");
              if (!other || taken || taken.error().code != Code::Exists) return 2;
              return directory.exists("other") && directory.look("to")->value().size_bytes == 100
                         ? 0
                         : 3;
            });
          }) == 0);
  }
}

// Reads 64 KiB past the page cache. 0: they are right, or there are no such reads here.
int read_past_cache(const File& file, std::span<const std::byte> wanted) {
  const auto direct = reopen_direct(file);
  if (!direct) return direct.error().code == Code::Unsupported ? 0 : 1;
  auto memory = Mapping::allocate(wanted.size());
  if (!memory) return 2;
  const DirectRead reads[] = {{&*direct, 0, memory->bytes()}};
  const auto done = read_direct({}, reads, [](std::size_t) -> Result<void> { return {}; });
  if (!done) return 3;
  return std::ranges::equal(memory->bytes(), wanted) ? 0 : 4;
}

TEST_CASE("where a ring can be made and not be used, threads read past the page cache") {
  const Made made;
  const File& file = made.file;
  const auto bytes = test::random_bytes(64u << 10, 7);
  REQUIRE_OK(file.write_at(0, bytes));
  REQUIRE_OK(file.sync());
  CHECK(read_past_cache(file, bytes) == 0);
  for (const long call : {SYS_io_uring_enter, SYS_io_uring_setup})
    for (const int number : {EPERM, ENOSYS, EACCES})
      CHECK(answer_without({call}, number, [&] { return read_past_cache(file, bytes); }) == 0);
}

constexpr long kCachestat = 451;  // older headers have no name for it
constexpr uid_t kOther = 65534;

// As answer_without, in a process of a user who owns nothing and may only read.
template <class Body>
int answer_of_other_without(std::initializer_list<long> calls, int number, Body body) {
  if (::geteuid() != 0) {
    MESSAGE("skipped: only root can become another user");
    return 0;
  }
  return answer_without({}, 0, [&] {
    if (::setresgid(kOther, kOther, kOther) != 0 || ::setresuid(kOther, kOther, kOther) != 0)
      return kNoSandbox;
    return refuse(calls, static_cast<unsigned>(number)) ? body() : kNoSandbox;
  });
}

TEST_CASE("how much of a file is in memory is told to its owner and its writers, or is unknown") {
  const Made made;
  const File& file = made.file;
  REQUIRE_OK(file.write_at(0, test::random_bytes(8u << 20, 7)));
  REQUIRE_OK(file.sync());
  const auto resident = [&](std::uint64_t wanted) {
    const auto bytes = resident_bytes(file, 8u << 20);
    return bytes && *bytes && **bytes == wanted ? 0 : 1;
  };
  const auto unknown = [&] {
    const auto bytes = resident_bytes(file, 8u << 20);
    return bytes && !*bytes ? 0 : 1;
  };
  for (const int number : {ENOSYS, EPERM}) {
    INFO(number);
    CHECK(answer_without({kCachestat}, number, [&] { return resident(8u << 20); }) == 0);
    CHECK(answer_without({kCachestat, SYS_mincore}, number, unknown) == 0);
    ::chmod(file.path().c_str(), 0644);
    CHECK(answer_of_other_without({kCachestat}, number, unknown) == 0);
    ::chmod(file.path().c_str(), 0666);
    CHECK(answer_of_other_without({kCachestat}, number, [&] { return resident(8u << 20); }) == 0);
  }
}

TEST_CASE("a restore whose pages nobody counts goes on, and says that it does not know") {
  const Scratch scratch;
  ::chmod(scratch.path().c_str(), 0755);
  test::write_checkpoint(scratch / "p", {test::raw("w", DType::Float32, {1000})});
  const auto told_nothing = [&] {
    const auto restored = restore(scratch / "p");
    if (!restored) return 1;
    if (restored->resident_bytes) return 2;
    if (restored->reason.find("not known how many of ") == std::string::npos) return 3;
    const auto resident = restored->checkpoint.resident_bytes();
    if (resident || resident.error().code != Code::Unsupported) return 4;
    return resident.error().what.find("not known how much") == std::string::npos ? 5 : 0;
  };
  for (const int number : {ENOSYS, EPERM})
    CHECK(answer_of_other_without({kCachestat}, number, told_nothing) == 0);
}

TEST_CASE("too many open files are no want of direct reads") {
  const Made made;
  const File& file = made.file;
  const test::Limit none(RLIMIT_NOFILE, 3);
  const auto direct = reopen_direct(file);
  REQUIRE_FALSE(direct);
  CHECK(direct.error().code == Code::Io);
  CHECK(direct.error().os_errno == EMFILE);
}

TEST_CASE("that a file cannot be read past the page cache is one thing, that it failed another") {
  const Made made;
  const struct {
    int number;
    Code code;
  } cases[] = {{EINVAL, Code::Unsupported}, {EOPNOTSUPP, Code::Unsupported},
               {ENOENT, Code::Unsupported}, {EACCES, Code::Unsupported},
               {EPERM, Code::Unsupported},  {EMFILE, Code::Io},
               {ENFILE, Code::Io},          {EIO, Code::Io},
               {ENOMEM, Code::OutOfMemory}};
  for (const auto& each : cases) {
    INFO(each.number);
    CHECK(answer_without({SYS_openat}, each.number, [&] {
            const auto direct = reopen_direct(made.file);
            if (direct || direct.error().os_errno != each.number) return 1;
            return direct.error().code == each.code ? 0 : 2;
          }) == 0);
  }
}

TEST_CASE("where two directories cannot be exchanged, a model is written and none is replaced") {
  const Scratch scratch;
  test::write_checkpoint(scratch / "p", {test::raw("w", DType::Float32, {1000})});
  TransferOptions options;
  options.output = scratch / "model";
  options.max_shard_bytes = 1u << 30;
  options.exec.threads_max = 1;
  const auto opens = [&](std::size_t tensor_count) {
    const auto checkpoint = Checkpoint::open(scratch / "model");
    return checkpoint && checkpoint->tensor_count() == tensor_count;
  };
  for (const int number : {ENOSYS, EPERM, EINVAL}) {
    INFO(number);
    std::filesystem::remove_all(scratch / "model");
    CHECK(answer_without({SYS_renameat2}, number, [&] {
            return convert(scratch / "p", Format::Safetensors, options) ? 0 : 1;
          }) == 0);
    CHECK(opens(1));
    TransferOptions replacing = options;
    replacing.replace = true;
    replacing.tensors.emplace();
    CHECK(answer_without({SYS_renameat2}, number, [&] {
            const auto done = convert(scratch / "p", Format::Safetensors, replacing);
            if (done || done.error().code != Code::Unsupported) return 1;
            return done.error().what.find("cannot exchange") == std::string::npos ? 2 : 0;
          }) == 0);
    CHECK(opens(1));
    std::size_t left = 0;
    for (const auto& entry : std::filesystem::directory_iterator(scratch.path()))
      left += is_temporary_name(entry.path().filename().string()) ? 1 : 0;
    CHECK(left == 0);
  }
}

}  // namespace
}  // namespace cairn::os
