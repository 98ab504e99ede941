#include "child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace cairn::tools {
namespace {

Error failed(std::string_view what, int number) {
  return {number == ENOENT ? Code::NotFound : Code::Io, number,
          fmt::format("{}: {}", what, std::strerror(number))};
}

void close_both(const std::array<int, 2>& ends) {
  for (const int end : ends) {
    if (end >= 0) ::close(end);
  }
}

// This command blocks some signals and ignores others, and both would be inherited.
int spawn(const std::vector<std::string>& words, const posix_spawn_file_actions_t& files,
          pid_t& pid) {
  std::vector<std::string> copies = words;
  std::vector<char*> pointers;
  for (std::string& word : copies) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t signals;
  ::sigemptyset(&signals);
  ::posix_spawnattr_setsigmask(&attributes, &signals);
  ::sigaddset(&signals, SIGPIPE);
  ::sigaddset(&signals, SIGXFSZ);
  ::posix_spawnattr_setsigdefault(&attributes, &signals);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  const int number =
      ::posix_spawnp(&pid, pointers[0], &files, &attributes, pointers.data(), environ);
  ::posix_spawnattr_destroy(&attributes);
  return number;
}

}  // namespace

Result<Child> Child::start(const std::vector<std::string>& words, Stderr messages) {
  std::array<int, 2> in = {-1, -1};
  std::array<int, 2> out = {-1, -1};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) {
    const Error error = failed("pipe", errno);
    close_both(in);
    return error;
  }
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
  if (messages == Stderr::Dropped)
    ::posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = -1;
  const int number = spawn(words, files, pid);
  ::posix_spawn_file_actions_destroy(&files);
  ::close(in[0]);
  ::close(out[1]);
  Child child(pid, in[1], out[0]);
  if (number == 0) return child;
  child.pid_ = -1;
  return failed(words[0], number);
}

Child::~Child() {
  close_both({in_, out_});
  while (pid_ > 0 && ::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) continue;
}

Result<std::string> Child::read_line() {
  std::size_t end = 0;
  while ((end = read_.find('\n')) == std::string::npos) {
    std::array<char, 4096> block{};
    const ssize_t count = ::read(out_, block.data(), block.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return Error{Code::Io, 0, "a process that was started ended too soon"};
    read_.append(block.data(), static_cast<std::size_t>(count));
  }
  std::string line = read_.substr(0, end);
  read_.erase(0, end + 1);
  return line;
}

// SIGPIPE is ignored: whether it still listens, the next line tells.
void Child::tell() {
  const char byte = '\n';
  [[maybe_unused]] const auto written = ::write(in_, &byte, 1);
}

}  // namespace cairn::tools
