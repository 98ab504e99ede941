#include "lib/saver/pending.h"

#include <algorithm>
#include <utility>

#include "lib/store/layout.h"
#include "lib/try.h"

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

namespace saver {
namespace {

constexpr std::size_t kPieceBytes = 4u << 20;

}  // namespace

void Staging::put(std::span<const NamedTensor> tensors) {
  const bool all = std::ranges::all_of(tensors, [&](const NamedTensor& tensor) {
    return tensor.spec.dtype == DType::String ? put_strings(tensor) : put_bytes(tensor);
  });
  const std::lock_guard lock(mutex_);
  complete_ = all;
  changed_.notify_all();
}

bool Staging::put_bytes(const NamedTensor& tensor) {
  for (std::size_t done = 0; done < tensor.bytes.size();) {
    // An encoded tensor is checked as a whole.
    const std::size_t most =
        tensor.spec.dtype == DType::Variant ? tensor.bytes.size() : kPieceBytes;
    const std::size_t count = std::min(tensor.bytes.size() - done, most);
    const auto part = tensor.bytes.subspan(done, count);
    if (!put_piece(
            {tensor.spec.name, tensor.spec.dtype, std::vector(part.begin(), part.end()), count})) {
      return false;
    }
    done += count;
  }
  return true;
}

// The elements of a tensor of strings cannot come one by one: their lengths stand before them.
bool Staging::put_strings(const NamedTensor& tensor) {
  std::vector<std::string> strings(tensor.strings.begin(), tensor.strings.end());
  std::uint64_t size_bytes = 0;
  for (const std::string& text : strings) size_bytes += text.size();
  return put_piece({tensor.spec.name, tensor.spec.dtype, std::move(strings), size_bytes});
}

// One piece is always let in, however large.
bool Staging::put_piece(Piece piece) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return given_up_ || size_bytes_ == 0 || size_bytes_ + piece.size_bytes <= size_bytes_max_;
  });
  if (given_up_) return false;
  size_bytes_ += piece.size_bytes;
  pieces_.push_back(std::move(piece));
  changed_.notify_all();
  return true;
}

std::optional<Staging::Piece> Staging::take() {
  std::unique_lock lock(mutex_);
  size_bytes_ -= std::exchange(writing_size_bytes_, 0);
  changed_.notify_all();
  changed_.wait(lock, [&] { return complete_ || given_up_ || !pieces_.empty(); });
  if (pieces_.empty()) return std::nullopt;
  Piece piece = std::move(pieces_.front());
  pieces_.pop_front();
  writing_size_bytes_ = piece.size_bytes;
  return piece;
}

Result<void> Staging::drain(Writer& writer) {
  while (auto piece = take()) {
    if (const auto* bytes = std::get_if<std::vector<std::byte>>(&piece->content)) {
      CAIRN_CHECK(piece->dtype == DType::Variant ? writer.write_encoded(piece->tensor, *bytes)
                                                 : writer.append(piece->tensor, *bytes));
      continue;
    }
    const auto& strings = std::get<std::vector<std::string>>(piece->content);
    const std::vector<std::string_view> views(strings.begin(), strings.end());
    CAIRN_CHECK(writer.write_strings(piece->tensor, views));
  }
  return {};
}

void Staging::give_up() {
  const std::lock_guard lock(mutex_);
  given_up_ = true;
  changed_.notify_all();
}

Result<void> write_all(Writer& writer, std::span<const NamedTensor> tensors, const Work& work) {
  std::vector<NamedBytes> raw;
  for (const NamedTensor& tensor : tensors) {
    if (!store::is_encoded(tensor.spec.dtype)) raw.push_back({tensor.spec.name, tensor.bytes});
  }
  CAIRN_CHECK(writer.write_all(raw, work));
  for (const NamedTensor& tensor : tensors) {
    const std::string& name = tensor.spec.name;
    if (!store::is_encoded(tensor.spec.dtype)) continue;
    CAIRN_CHECK(tensor.spec.dtype == DType::String ? writer.write_strings(name, tensor.strings)
                                                   : writer.write_encoded(name, tensor.bytes));
  }
  return {};
}

}  // namespace saver
}  // namespace cairn
