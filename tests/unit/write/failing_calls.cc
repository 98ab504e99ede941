#include "tests/unit/write/failing_calls.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>

namespace {

std::atomic<int> looks_left = 0;  // until the one that fails; 0: none does
std::atomic<int> syncs_left = 0;
std::atomic<int> syncs = 0;

bool fails(std::atomic<int>& left) noexcept {
  if (left <= 0 || --left != 0) return false;
  errno = EIO;
  return true;
}

template <class Call>
Call* next(const char* name) noexcept {
  return reinterpret_cast<Call*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int openat(int directory, const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const auto mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : mode_t{0};
  va_end(rest);
  static const auto call = next<int(int, const char*, int, ...)>("openat");
  return fails(looks_left) ? -1 : call(directory, path, flags, mode);
}

int flock(int fd, int operation) noexcept {
  static const auto call = next<int(int, int)>("flock");
  return operation != LOCK_UN && fails(looks_left) ? -1 : call(fd, operation);
}

ssize_t pread(int fd, void* bytes, size_t size_bytes, off_t offset_bytes) {
  static const auto call = next<ssize_t(int, void*, size_t, off_t)>("pread");
  return fails(looks_left) ? -1 : call(fd, bytes, size_bytes, offset_bytes);
}

int fstat(int fd, struct stat* status) noexcept {
  static const auto call = next<int(int, struct stat*)>("fstat");
  return fails(looks_left) ? -1 : call(fd, status);
}

int fstatat(int directory, const char* path, struct stat* status, int flags) noexcept {
  static const auto call = next<int(int, const char*, struct stat*, int)>("fstatat");
  return fails(looks_left) ? -1 : call(directory, path, status, flags);
}

int fsync(int fd) {
  static const auto call = next<int(int)>("fsync");
  ++syncs;
  return fails(syncs_left) ? -1 : call(fd);
}

}  // extern "C"

namespace cairn::test {

FailingCall::FailingCall(FailingCalls which, int number) noexcept {
  (which == FailingCalls::Looks ? looks_left : syncs_left) = number;
}

FailingCall::~FailingCall() { looks_left = syncs_left = 0; }

bool FailingCall::happened() const noexcept { return looks_left <= 0 && syncs_left <= 0; }

int sync_count() noexcept { return syncs; }

}  // namespace cairn::test
