#include "image.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace power {
namespace {

constexpr std::size_t kPageBytes = 4096;

std::byte* map(std::size_t size_bytes, int flags, int fd) {
  void* at = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (at == MAP_FAILED) die("cannot map the image", errno);
  return static_cast<std::byte*>(at);
}

}  // namespace

Image::Image(const std::filesystem::path& base, const std::filesystem::path& path)
    : file_(open_file(path, O_RDWR | O_CREAT | O_TRUNC)),
      size_bytes_(std::filesystem::file_size(base) / kPageBytes * kPageBytes) {
  if (::ftruncate(file_.get(), static_cast<off_t>(size_bytes_)) != 0) die(path.string(), errno);
  settled_ = map(size_bytes_, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
  current_ = map(size_bytes_, MAP_SHARED, file_.get());
  const std::vector<std::byte> bytes = read_file(base);
  const std::vector<std::byte> zeros(kPageBytes);
  for (std::size_t at = 0; at < size_bytes_; at += kPageBytes) {
    if (std::memcmp(bytes.data() + at, zeros.data(), kPageBytes) == 0) continue;
    recover_from_journal({Event::Write, at, std::span(bytes).subspan(at, kPageBytes)});
  }
}

Image::~Image() {
  ::munmap(settled_, size_bytes_);
  ::munmap(current_, size_bytes_);
}

void Image::write(const Entry& piece) {
  if (piece.offset_bytes > size_bytes_ || piece.bytes.size() > size_bytes_ - piece.offset_bytes)
    die("the log is of a larger disk");
  std::memcpy(current_ + piece.offset_bytes, piece.bytes.data(), piece.bytes.size());
}

void Image::recover_from_journal(const Entry& write) {
  this->write(write);
  std::memcpy(settled_ + write.offset_bytes, write.bytes.data(), write.bytes.size());
}

void Image::restore() {
  for (off_t at = 0;;) {
    at = ::lseek(file_.get(), at, SEEK_DATA);
    if (at < 0) return;  // no data behind it
    const off_t end = ::lseek(file_.get(), at, SEEK_HOLE);
    for (auto page = static_cast<std::size_t>(at); page < static_cast<std::size_t>(end);
         page += kPageBytes) {
      if (std::memcmp(current_ + page, settled_ + page, kPageBytes) != 0)
        std::memcpy(current_ + page, settled_ + page, kPageBytes);
    }
    at = end;
  }
}

}  // namespace power
