// The public Writer: a handle to a Writer::State, and the wall that no exception crosses.

#include "cairn/writer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "lib/read/names.h"
#include "lib/try.h"
#include "lib/write/declared.h"
#include "lib/write/writer_access.h"
#include "lib/write/writer_state.h"

namespace cairn {
namespace {

// Sorts the specs, and says what is wrong without looking at the disk.
Result<void> check(const std::filesystem::path& prefix, std::vector<TensorSpec>& specs,
                   const WriterOptions& options) {
  if (!internal::is_nameable(prefix.native()))
    return Error{Code::Invalid, 0, prefix.string() + ": a file name cannot contain a NUL byte"};
  // std::string compares bytes unsigned. Most callers have sorted them already.
  if (!std::ranges::is_sorted(specs, {}, &TensorSpec::name))
    std::ranges::sort(specs, {}, &TensorSpec::name);
  return internal::check_announced(prefix.string(), specs, options);
}

}  // namespace

Result<Writer> Writer::create(const std::filesystem::path& prefix, std::vector<TensorSpec> specs,
                              const WriterOptions& options) noexcept {
  return at_boundary([&]() -> Result<Writer> {
    CAIRN_CHECK(check(prefix, specs, options));
    CAIRN_TRY(directory, os::Directory::open_or_create(internal::Prefix::of(prefix).directory));
    return Writer(std::make_unique<State>(prefix, std::move(specs), options, std::move(directory)));
  });
}

Result<Writer> WriterAccess::create_in(os::Directory directory, const std::filesystem::path& prefix,
                                       std::vector<TensorSpec> specs,
                                       const WriterOptions& options) {
  CAIRN_CHECK(check(prefix, specs, options));
  Writer writer(
      std::make_unique<Writer::State>(prefix, std::move(specs), options, std::move(directory)));
  writer.state_->swept();
  return writer;
}

void WriterAccess::before_publishing(Writer& writer, std::function<Result<void>()> check) {
  writer.state_->before_publishing(std::move(check));
}

const os::Directory& WriterAccess::directory(const Writer& writer) noexcept {
  return writer.state_->directory();
}

void WriterAccess::created_at(Writer& writer, std::int64_t created_ns) {
  writer.state_->created_at(created_ns);
}

void WriterAccess::link(Writer& writer, internal::LinkedShards linked) {
  writer.state_->link(std::move(linked));
}

bool WriterAccess::is_whole(const Writer& writer, std::string_view name) {
  return writer.state_->is_whole(name);
}

std::uint64_t WriterAccess::written_bytes(const Writer& writer) noexcept {
  return writer.state_->written_bytes();
}

void WriterAccess::in_idle_time(Writer& writer, std::chrono::milliseconds idle_max) noexcept {
  writer.state_->in_idle_time(idle_max);
}

Writer::Writer(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;
Writer::~Writer() = default;

Result<void> Writer::write(std::string_view name, std::span<const std::byte> bytes) noexcept {
  return write_all(std::array{NamedBytes{name, bytes}}, {.threads_max = 1});
}
Result<void> Writer::write_elements(std::string_view name, DType dtype,
                                    std::span<const std::byte> bytes) noexcept {
  const auto matches = at_boundary([&] { return state_->match_dtype(name, dtype); });
  return matches ? write(name, bytes) : matches;
}
Result<void> Writer::write_all(std::span<const NamedBytes> tensors,
                               const ExecOptions& exec) noexcept {
  return at_boundary([&] { return state_->write_all(tensors, exec); });
}
Result<void> Writer::write_strings(std::string_view name,
                                   std::span<const std::string_view> values) noexcept {
  return at_boundary([&] { return state_->write_strings(name, values); });
}
Result<void> Writer::write_encoded(std::string_view name,
                                   std::span<const std::byte> bytes) noexcept {
  return at_boundary([&] { return state_->write_encoded(name, bytes); });
}
Result<void> Writer::append(std::string_view name, std::span<const std::byte> chunk) noexcept {
  return at_boundary([&] { return state_->append(name, chunk); });
}
Result<void> Writer::tie(std::string_view name, std::string_view same_as) noexcept {
  return at_boundary([&] { return state_->tie(name, same_as); });
}
Result<void> Writer::commit(const ExecOptions& exec) noexcept {
  return at_boundary([&] { return state_->commit(exec); });
}
std::span<const std::string> Writer::warnings() const noexcept { return state_->warnings(); }

}  // namespace cairn
