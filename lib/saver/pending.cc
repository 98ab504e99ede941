#include "lib/saver/pending.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "lib/try.h"
#include "lib/write/layout.h"

namespace cairn {

void PendingSave::State::finish(Result<Saved> result) {
  {
    const std::lock_guard lock(mutex_);
    result_.emplace(std::move(result));
  }
  finished_.notify_all();
}

bool PendingSave::State::done() const {
  const std::lock_guard lock(mutex_);
  return result_.has_value();
}

Result<Saved> PendingSave::State::wait() {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&] { return result_.has_value(); });
  heard_ = true;
  return *result_;
}

std::optional<Error> PendingSave::State::unheard() {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&] { return result_.has_value(); });
  if (std::exchange(heard_, true) || *result_) return std::nullopt;
  return result_->error();
}

PendingSave::PendingSave(std::shared_ptr<State> state) noexcept : state_(std::move(state)) {}

bool PendingSave::done() const noexcept { return state_->done(); }

Result<Saved> PendingSave::wait() const noexcept {
  return at_boundary([&] { return state_->wait(); });
}

namespace internal {
namespace {

std::uint64_t size_of(const NamedTensor& tensor) {
  std::uint64_t size_bytes = tensor.bytes.size();
  for (const std::string_view text : tensor.strings) size_bytes += text.size();
  return size_bytes;
}

}  // namespace

// The largest first: the more is copied, the sooner the caller goes on.
StagingBuffer::StagingBuffer(std::span<const NamedTensor> tensors, std::uint64_t size_bytes_max) {
  std::vector<const NamedTensor*> by_size;
  for (const NamedTensor& tensor : tensors) by_size.push_back(&tensor);
  std::ranges::sort(by_size, std::greater(), [](const auto* each) { return size_of(*each); });
  for (const NamedTensor* tensor : by_size) {
    const std::uint64_t size_bytes = size_of(*tensor);
    if (size_bytes > size_bytes_max) {
      borrowed_.push_back(*tensor);
      continue;
    }
    size_bytes_max -= size_bytes;
    copies_.push_back({*tensor, {}, {}});
  }
  // Then the caller need not wait until the writing end gets here, behind the disk.
  released_ = borrowed_.empty();
}

void StagingBuffer::set_copied(CopyState copied) {
  const std::lock_guard lock(mutex_);
  copied_ = copied;
  changed_.notify_all();
}

void StagingBuffer::copy() {
  const auto done = at_boundary([&]() -> Result<void> {
    std::uint64_t size_bytes = 0;
    for (const Copy& copy : copies_) size_bytes += copy.tensor.bytes.size();
    CAIRN_TRY(memory, os::Mapping::allocate(size_bytes));
    memory_.emplace(std::move(memory));
    std::span<std::byte> free = memory_->bytes();
    for (Copy& copy : copies_) {
      NamedTensor& tensor = copy.tensor;
      const std::span<std::byte> bytes = free.first(tensor.bytes.size());
      free = free.subspan(bytes.size());
      std::ranges::copy(tensor.bytes, bytes.begin());
      copy.texts.assign(tensor.strings.begin(), tensor.strings.end());
      copy.strings.assign(copy.texts.begin(), copy.texts.end());
      tensor.bytes = bytes;
      tensor.strings = copy.strings;
    }
    return {};
  });
  set_copied(done ? CopyState::Whole : CopyState::Failed);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return released_; });
}

Result<void> StagingBuffer::write(Writer& writer, const ExecOptions& exec) {
  CAIRN_CHECK(write_all(writer, borrowed_, exec));
  release();
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return copied_ != CopyState::NotYet; });
    if (copied_ == CopyState::Failed)
      return Error{Code::OutOfMemory, 0, "no memory for a copy of the tensors"};
  }
  std::vector<NamedTensor> copied;
  for (const Copy& copy : copies_) copied.push_back(copy.tensor);
  return write_all(writer, copied, exec);
}

void StagingBuffer::release() {
  const std::lock_guard lock(mutex_);
  released_ = true;
  changed_.notify_all();
}

Result<void> write_all(Writer& writer, std::span<const NamedTensor> tensors,
                       const ExecOptions& exec) {
  std::vector<NamedBytes> raw;
  for (const NamedTensor& tensor : tensors) {
    if (!is_encoded(tensor.spec.dtype)) raw.push_back({tensor.spec.name, tensor.bytes});
  }
  CAIRN_CHECK(writer.write_all(raw, exec));
  for (const NamedTensor& tensor : tensors) {
    const std::string& name = tensor.spec.name;
    if (!is_encoded(tensor.spec.dtype)) continue;
    CAIRN_CHECK(tensor.spec.dtype == DType::String ? writer.write_strings(name, tensor.strings)
                                                   : writer.write_encoded(name, tensor.bytes));
  }
  return {};
}

}  // namespace internal
}  // namespace cairn
