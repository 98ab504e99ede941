// Runs a command under ptrace and does one evil thing to it at one of its system calls.
//
// usage: inject ACTION [N] [--errno E] [--files] [--call NAME] [--from DIR] -- COMMAND...
//
//   count          nothing, but says how many calls there were
//   kill-entry N   kills the process before call N happens
//   kill-exit N    kills it when call N has happened
//   fail N         lets call N fail with errno E, without being executed; but for close, after
//   which
//                  Linux has let go of the descriptor whatever it reports
//   short N        halves the length of read or write N: a short count is no error
//   descriptors N  at the first call, limits the process to N open descriptors
//
// --files counts only calls that concern files, on descriptors above 2; --call those of one name.
// --from counts from the first call that names a path below DIR, so that what the loader does is
// left out. All threads and children count together, in the order in which the kernel stops them.
// The command's stdout goes nowhere. One line of JSON:
// {"calls": 61, "hit": "fsync", "exit": 2, "signal": 0}
//
// strace cannot do this: it counts each call's name on its own, and acts at entries alone.

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace {

constexpr int kSkipped = 77;
constexpr int kUsage = 64;

#ifndef __x86_64__

int run(int, char**) {
  std::puts("inject: skipped: system calls are exchanged on x86-64 alone");
  return kSkipped;
}

#else

constexpr int kNone = -1;

// A call that concerns files, and which of its arguments are a path and a descriptor.
struct FileCall {
  long number;
  const char* name;
  int path;
  int descriptor;
};

constexpr FileCall kFileCalls[] = {
    {SYS_open, "open", 0, kNone},
    {SYS_openat, "openat", 1, kNone},
    {SYS_read, "read", kNone, 0},
    {SYS_pread64, "pread64", kNone, 0},
    {SYS_write, "write", kNone, 0},
    {SYS_pwrite64, "pwrite64", kNone, 0},
    {SYS_writev, "writev", kNone, 0},
    {SYS_pwritev, "pwritev", kNone, 0},
    {SYS_sync_file_range, "sync_file_range", kNone, 0},
    {SYS_fsync, "fsync", kNone, 0},
    {SYS_fdatasync, "fdatasync", kNone, 0},
    {SYS_rename, "rename", 0, kNone},
    {SYS_renameat, "renameat", 1, kNone},
    {SYS_renameat2, "renameat2", 1, kNone},
    {SYS_unlink, "unlink", 0, kNone},
    {SYS_unlinkat, "unlinkat", 1, kNone},
    {SYS_rmdir, "rmdir", 0, kNone},
    {SYS_link, "link", 0, kNone},
    {SYS_linkat, "linkat", 1, kNone},
    {SYS_symlinkat, "symlinkat", 0, kNone},
    {SYS_ftruncate, "ftruncate", kNone, 0},
    {SYS_fallocate, "fallocate", kNone, 0},
    {SYS_mkdir, "mkdir", 0, kNone},
    {SYS_mkdirat, "mkdirat", 1, kNone},
    {SYS_mmap, "mmap", kNone, 4},
    {SYS_madvise, "madvise", kNone, kNone},
    {SYS_flock, "flock", kNone, 0},
    {SYS_fcntl, "fcntl", kNone, 0},
    {SYS_copy_file_range, "copy_file_range", kNone, 0},
    {SYS_ioctl, "ioctl", kNone, 0},
    {SYS_stat, "stat", 0, kNone},
    {SYS_lstat, "lstat", 0, kNone},
    {SYS_fstat, "fstat", kNone, 0},
    {SYS_newfstatat, "newfstatat", 1, kNone},
    {SYS_statx, "statx", 1, kNone},
    {SYS_statfs, "statfs", 0, kNone},
    {SYS_access, "access", 0, kNone},
    {SYS_faccessat, "faccessat", 1, kNone},
    {SYS_faccessat2, "faccessat2", 1, kNone},
    {SYS_readlink, "readlink", 0, kNone},
    {SYS_getdents64, "getdents64", kNone, 0},
    {SYS_close, "close", kNone, 0},
    {SYS_fchmod, "fchmod", kNone, 0},
    {SYS_utimensat, "utimensat", 1, kNone},
};

const FileCall* file_call(std::uint64_t number) {
  const auto* at = std::find_if(std::begin(kFileCalls), std::end(kFileCalls), [&](const auto& c) {
    return static_cast<std::uint64_t>(c.number) == number;
  });
  return at == std::end(kFileCalls) ? nullptr : at;
}

enum class Action { Count, KillEntry, KillExit, Fail, Short, Descriptors };

struct Plan {
  Action action = Action::Count;
  std::uint64_t at = 0;
  int error = EIO;
  bool files_only = false;
  std::string call;
  std::string from;
  char** command = nullptr;
};

class Tracer {
 public:
  explicit Tracer(const Plan& plan) : plan_(plan), started_(plan.from.empty()) {}

  int run();

 private:
  using Info = __ptrace_syscall_info;

  bool start();
  void stopped(pid_t thread, unsigned status);
  void entered(pid_t thread, const Info& info);
  void left(pid_t thread);
  void hit(pid_t thread, const Info& info);
  bool names_start(pid_t thread, const Info& info) const;
  bool counts(const Info& info) const;
  void kill_all() const { ::kill(child_, SIGKILL); }

  const Plan& plan_;
  bool started_;
  pid_t child_ = 0;
  std::set<pid_t> known_;
  std::uint64_t count_ = 0;
  std::string hit_;
  pid_t armed_ = 0;                           // the thread inside the call that was hit
  std::optional<unsigned long long> length_;  // what that call's length was
  int status_ = 0;
};

bool Tracer::start() {
  child_ = ::fork();
  if (child_ == 0) {
    const int nowhere = ::open("/dev/null", O_WRONLY);
    ::dup2(nowhere, STDOUT_FILENO);
    ::close(nowhere);
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(kSkipped);
    ::raise(SIGSTOP);
    ::execvp(plan_.command[0], plan_.command);
    ::_exit(kUsage);
  }
  ::waitpid(child_, &status_, 0);
  if (!WIFSTOPPED(status_)) return false;
  known_.insert(child_);
  const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                       PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
  ::ptrace(PTRACE_SETOPTIONS, child_, nullptr, options);
  return ::ptrace(PTRACE_SYSCALL, child_, nullptr, nullptr) == 0;
}

int Tracer::run() {
  if (!start()) {
    std::puts("inject: skipped: ptrace is not allowed here");
    return kSkipped;
  }
  int status = 0;
  for (pid_t thread = 0; (thread = ::waitpid(-1, &status, __WALL)) > 0;) {
    if (WIFSTOPPED(status)) {
      stopped(thread, static_cast<unsigned>(status));
    } else if (thread == child_) {
      status_ = status;
    }
  }
  std::printf("{\"calls\": %llu, \"hit\": \"%s\", \"exit\": %d, \"signal\": %d}\n",
              static_cast<unsigned long long>(count_), hit_.c_str(),
              WIFEXITED(status_) ? WEXITSTATUS(status_) : -1,
              WIFSIGNALED(status_) ? WTERMSIG(status_) : 0);
  return 0;
}

void Tracer::stopped(pid_t thread, unsigned status) {
  unsigned signal = WSTOPSIG(status);
  const bool is_new = known_.insert(thread).second;
  if (signal == (SIGTRAP | 0x80)) {
    Info info{};
    ::ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) entered(thread, info);
    if (info.op == PTRACE_SYSCALL_INFO_EXIT) left(thread);
    signal = 0;
  } else if (is_new || status >> 16 != 0) {
    signal = 0;  // ptrace's own stops
  }
  ::ptrace(PTRACE_SYSCALL, thread, nullptr, signal);
}

void Tracer::entered(pid_t thread, const Info& info) {
  if (!started_) {
    if (!names_start(thread, info)) return;
    started_ = true;
    if (plan_.action == Action::Descriptors) {
      const rlimit limit{plan_.at, plan_.at};
      ::prlimit(child_, RLIMIT_NOFILE, &limit, nullptr);
    }
  }
  if (!counts(info)) return;
  if (++count_ == plan_.at) hit(thread, info);
}

bool Tracer::counts(const Info& info) const {
  const FileCall* call = file_call(info.entry.nr);
  if (plan_.action == Action::Short) {
    const bool moves_bytes =
        call != nullptr && (call->number == SYS_read || call->number == SYS_write ||
                            call->number == SYS_pread64 || call->number == SYS_pwrite64 ||
                            call->number == SYS_pwritev);  // of whose parts half are left
    return moves_bytes && info.entry.args[0] > STDERR_FILENO && info.entry.args[2] > 1;
  }
  if (!plan_.call.empty()) return call != nullptr && plan_.call == call->name;
  if (!plan_.files_only) return true;
  if (call == nullptr) return false;
  if (call->descriptor == kNone) return true;
  const int descriptor = static_cast<int>(info.entry.args[call->descriptor]);
  return descriptor > STDERR_FILENO;  // a mapping of no file has -1
}

bool Tracer::names_start(pid_t thread, const Info& info) const {
  const FileCall* call = file_call(info.entry.nr);
  if (call == nullptr || call->path == kNone) return false;
  std::string text(plan_.from.size(), '\0');
  iovec here{text.data(), text.size()};
  iovec there{std::bit_cast<void*>(info.entry.args[call->path]), text.size()};
  return ::process_vm_readv(thread, &here, 1, &there, 1, 0) > 0 && text == plan_.from;
}

void Tracer::hit(pid_t thread, const Info& info) {
  const FileCall* call = file_call(info.entry.nr);
  const bool acts = plan_.action != Action::Count && plan_.action != Action::Descriptors;
  if (!acts) return;
  hit_ = call != nullptr ? call->name : "call " + std::to_string(info.entry.nr);
  armed_ = thread;
  const bool fails = plan_.action == Action::Fail;
  user_regs_struct registers{};
  ::ptrace(PTRACE_GETREGS, thread, nullptr, &registers);
  if (plan_.action == Action::Short) {
    length_ = registers.rdx;
    registers.rdx /= 2;
  } else if (plan_.action != Action::KillExit && !(fails && info.entry.nr == SYS_close)) {
    registers.orig_rax = ~0ull;  // no such call
  }
  ::ptrace(PTRACE_SETREGS, thread, nullptr, &registers);
  if (plan_.action == Action::KillEntry) kill_all();
}

void Tracer::left(pid_t thread) {
  if (thread != armed_) return;
  armed_ = 0;
  if (plan_.action == Action::KillExit) return kill_all();
  user_regs_struct registers{};
  ::ptrace(PTRACE_GETREGS, thread, nullptr, &registers);
  if (plan_.action == Action::Fail) registers.rax = static_cast<unsigned long long>(-plan_.error);
  if (length_) registers.rdx = *length_;  // the caller may count on finding it as it was
  ::ptrace(PTRACE_SETREGS, thread, nullptr, &registers);
}

std::optional<Action> action_of(std::string_view word) {
  constexpr std::pair<std::string_view, Action> kActions[] = {
      {"count", Action::Count},        {"kill-entry", Action::KillEntry},
      {"kill-exit", Action::KillExit}, {"fail", Action::Fail},
      {"short", Action::Short},        {"descriptors", Action::Descriptors},
  };
  for (const auto& [name, action] : kActions) {
    if (name == word) return action;
  }
  return std::nullopt;
}

std::optional<Plan> parse(int argc, char** argv) {
  const auto action = argc > 1 ? action_of(argv[1]) : std::nullopt;
  if (!action) return std::nullopt;
  Plan plan;
  plan.action = *action;
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") {
      plan.command = argv + i + 1;
      return i + 1 < argc ? std::optional(plan) : std::nullopt;
    }
    const bool takes_value = word == "--errno" || word == "--from" || word == "--call";
    if (takes_value && ++i == argc) return std::nullopt;
    if (word == "--files") {
      plan.files_only = true;
    } else if (word == "--from") {
      plan.from = argv[i];
    } else if (word == "--call") {
      plan.call = argv[i];
    } else if (word == "--errno") {
      plan.error = std::atoi(argv[i]);
    } else {
      plan.at = std::strtoull(argv[i], nullptr, 10);
    }
  }
  return std::nullopt;
}

int run(int argc, char** argv) {
  const auto plan = parse(argc, argv);
  if (plan) return Tracer(*plan).run();
  std::fputs("usage: inject ACTION [N] [OPTIONS] -- COMMAND...\n", stderr);
  return kUsage;
}

#endif

}  // namespace

int main(int argc, char** argv) { return run(argc, argv); }
