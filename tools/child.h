#pragma once

// A process that this one starts and talks with: lines come from it, and a byte tells it to go on.

#include <sys/types.h>
#include <string>
#include <utility>
#include <vector>

#include "cairn/error.h"

namespace cairn::tools {

enum class Stderr : bool { Kept, Dropped };

class Child {
 public:
  // `words`: the program, by PATH or by a path, and its arguments. Its signals are as a shell gives
  // them. Errors: NotFound (no such program), Io.
  static Result<Child> start(const std::vector<std::string>& words, Stderr messages = Stderr::Kept);
  Child(Child&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        in_(std::exchange(other.in_, -1)),
        out_(std::exchange(other.out_, -1)),
        read_(std::move(other.read_)) {}
  Child& operator=(Child&&) = delete;
  ~Child();  // closes its stdin, by which it is to end, and waits for it

  pid_t pid() const { return pid_; }

  // The next line that it prints, without the newline. Errors: Io (it has ended).
  Result<std::string> read_line();
  void tell();

 private:
  Child(pid_t pid, int in, int out) : pid_(pid), in_(in), out_(out) {}

  pid_t pid_;
  int in_;   // leads to its stdin
  int out_;  // comes from its stdout
  std::string read_;
};

}  // namespace cairn::tools
