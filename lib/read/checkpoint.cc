// The public Checkpoint and Tensor: thin handles over internal::OpenCheckpoint. at_boundary()
// (lib/try.h) turns every exception into an Error. Checkpoint::open() itself is in
// lib/open/open.cc.
//
// Opening has two cheap steps: lib/open finds and checks the index, and OpenCheckpoint::make() maps
// each shard once. A Tensor is a handle of two words; its bytes are read when they are first used.

#include "cairn/checkpoint.h"

#include <algorithm>
#include <utility>

#include "format/checked.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "lib/os/file_system.h"
#include "lib/read/names.h"
#include "lib/read/nearest.h"
#include "lib/read/open_checkpoint.h"
#include "lib/read/scan_plan.h"
#include "lib/try.h"

namespace cairn {

// ---- Checkpoint ---------------------------------------------------------------------------------

Format Checkpoint::format() const noexcept { return state_->parts().format; }

const std::filesystem::path& Checkpoint::prefix() const noexcept { return state_->parts().prefix; }

std::optional<std::int64_t> Checkpoint::step() const noexcept {
  if (const auto step = state_->index().step()) return step;
  const bool has_prefix = format() == Format::Cairn || format() == Format::TensorFlow ||
                          format() == Format::TensorFlowV1;
  // The number at the end of a file name is not a step: "model-00002-of-00002", "resnet-50".
  return has_prefix ? internal::step_of(prefix().native()) : std::nullopt;
}

std::optional<std::string_view> Checkpoint::metadata(std::string_view key) const noexcept {
  return state_->index().metadata(key);
}

std::size_t Checkpoint::metadata_count() const noexcept { return state_->index().metadata_count(); }

Checkpoint::KeyValue Checkpoint::metadata_at(std::size_t position) const noexcept {
  CAIRN_ASSERT(position < metadata_count());
  return state_->index().metadata(position);
}

std::optional<std::string_view> Checkpoint::safetensors_metadata(
    std::string_view key) const noexcept {
  for (std::size_t i = 0; i < safetensors_metadata_count(); ++i) {
    const KeyValue entry = safetensors_metadata_at(i);
    if (entry.first == key) return entry.second;
  }
  return std::nullopt;
}

std::size_t Checkpoint::safetensors_metadata_count() const noexcept {
  return state_->index().safetensors_metadata_count();
}

Checkpoint::KeyValue Checkpoint::safetensors_metadata_at(std::size_t position) const noexcept {
  CAIRN_ASSERT(position < safetensors_metadata_count());
  return state_->index().safetensors_metadata(position);
}

std::span<const std::string> Checkpoint::warnings() const noexcept {
  return state_->parts().warnings;
}

std::size_t Checkpoint::shard_count() const noexcept { return state_->index().shard_count(); }

Checkpoint::Shard Checkpoint::shard_at(std::size_t position) const noexcept {
  CAIRN_ASSERT(position < shard_count());
  const auto shard = state_->index().shard(position);
  return {shard.name, shard.identity.size_bytes};
}

std::size_t Checkpoint::tensor_count() const noexcept { return state_->index().tensor_count(); }

Tensor Checkpoint::tensor_at(std::size_t position) const noexcept {
  CAIRN_ASSERT(position < tensor_count());
  return state_->handle(position);
}

TensorRange Checkpoint::tensors_with_prefix(std::string_view prefix) const noexcept {
  const format::IndexView& index = state_->index();
  const auto first = begin() + static_cast<std::ptrdiff_t>(index.lower_bound(prefix));
  const auto behind = std::ranges::partition_point(
      first, end(), [&](std::string_view name) { return name.starts_with(prefix); }, &Tensor::name);
  return {first, behind};
}

bool Checkpoint::contains(std::string_view name) const noexcept {
  return state_->position_of(name).has_value();
}

Result<Tensor> Checkpoint::tensor(std::string_view name) const noexcept {
  return at_boundary([&]() -> Result<Tensor> {
    CAIRN_TRY(position, state_->find(name));
    return state_->handle(position);
  });
}

std::optional<Digest128> Checkpoint::digest() const noexcept {
  const auto digest = at_boundary(
      [&]() -> Result<std::optional<Digest128>> { return internal::digest_of(state_->index()); });
  return digest ? *digest : std::nullopt;
}

Result<Verification> Checkpoint::verify(const ExecOptions& exec) const noexcept {
  return at_boundary([&] { return state_->verify(exec); });
}

Result<void> Checkpoint::prefetch(std::span<const std::string_view> names,
                                  const ExecOptions& exec) const noexcept {
  return at_boundary([&] { return state_->prefetch(names, exec); });
}

bool Checkpoint::faulted() const noexcept { return state_->shards().faulted(); }

Result<std::uint64_t> Checkpoint::resident_bytes() const noexcept {
  return at_boundary([&]() -> Result<std::uint64_t> {
    CAIRN_CHECK(state_->ensure_has_bytes());
    return state_->shards().resident_bytes();
  });
}

Result<void> Checkpoint::read(std::span<const Read> reads, const ExecOptions& exec,
                              const ReaderPartition& partition) const noexcept {
  return at_boundary([&] { return state_->read_all(reads, exec, partition); });
}

// ---- Tensor -------------------------------------------------------------------------------------

std::string_view Tensor::name() const noexcept { return owner_->index().tensor_name(position_); }

DType Tensor::dtype() const noexcept { return owner_->index().tensor_dtype(position_); }

std::string_view Tensor::dtype_name() const noexcept {
  const auto tensor = owner_->index().tensor(position_);
  return tensor.dtype == DType::Opaque ? tensor.opaque_dtype : cairn::name(tensor.dtype);
}

std::span<const std::int64_t> Tensor::shape() const noexcept {
  return owner_->index().tensor_shape(position_);
}

std::uint64_t Tensor::size_bytes() const noexcept {
  return owner_->index().tensor_size_bytes(position_);
}

std::uint16_t Tensor::element_bits() const noexcept {
  return owner_->index().tensor(position_).element_bits;
}

Result<TensorSpec> Tensor::spec() const noexcept {
  return at_boundary(
      [&]() -> Result<TensorSpec> { return internal::spec_of(owner_->index().tensor(position_)); });
}

std::uint64_t Tensor::element_count() const noexcept {
  return format::element_count(shape()).value_or(0);  // checked when the index was decoded
}

bool Tensor::partitioned() const noexcept {
  return owner_->index().tensor(position_).partitioned();
}

std::optional<std::uint32_t> Tensor::crc32c() const noexcept {
  return owner_->index().tensor(position_).span.crc32c;
}

std::optional<Digest128> Tensor::content_hash() const noexcept {
  return owner_->index().tensor(position_).content_hash;
}

std::string_view Tensor::shard() const noexcept {
  const auto tensor = owner_->index().tensor(position_);
  return tensor.partitioned() ? std::string_view() : owner_->index().shard(tensor.span.shard).name;
}

std::uint64_t Tensor::offset_bytes() const noexcept {
  return owner_->index().tensor(position_).span.offset_bytes;
}

Result<std::span<const std::byte>> Tensor::bytes() const noexcept {
  return at_boundary([&] { return owner_->bytes(position_); });
}

std::span<const std::int64_t> Tensor::strides() const noexcept {
  return owner_->index().tensor(position_).strides;
}

Result<std::span<const std::byte>> Tensor::strided_bytes() const noexcept {
  return at_boundary([&] { return owner_->strided_bytes(position_); });
}

Result<std::span<const std::byte>> Tensor::native_bytes(DType wanted,
                                                        std::size_t alignment) const noexcept {
  return at_boundary([&]() -> Result<std::span<const std::byte>> {
    CAIRN_TRY(bytes, owner_->native(position_, wanted, alignment));
    return std::span<const std::byte>(bytes);
  });
}

Result<std::span<std::byte>> Tensor::native_mutable_bytes(DType wanted,
                                                          std::size_t alignment) const noexcept {
  return at_boundary([&]() -> Result<std::span<std::byte>> {
    if (owner_->access() != Access::Private) {
      return Error{Code::Invalid, 0,
                   owner_->parts().prefix.string() +
                       ": is read-only; to change tensors, open it with Access::Private"};
    }
    return owner_->native(position_, wanted, alignment);
  });
}

Result<std::uint64_t> Tensor::values_bytes(DType wanted, Slice slice) const noexcept {
  return at_boundary([&]() -> Result<std::uint64_t> {
    CAIRN_CHECK(owner_->match_dtype(position_, wanted));
    return owner_->read_bytes(position_, slice);
  });
}

Result<Strings> Tensor::strings(Slice slice) const noexcept {
  return at_boundary([&] { return owner_->strings(position_, slice); });
}

Result<void> Tensor::read(std::span<std::byte> out, Slice slice) const noexcept {
  return at_boundary([&] { return owner_->read(position_, out, slice); });
}

Result<std::uint64_t> Tensor::read_bytes(Slice slice) const noexcept {
  return at_boundary([&] { return owner_->read_bytes(position_, slice); });
}

}  // namespace cairn

namespace cairn::internal {

// ---- OpenCheckpoint: how it comes to be ---------------------------------------------------------

OpenCheckpoint::OpenCheckpoint(Parts parts, const OpenOptions& options)
    : parts_(std::move(parts)),
      names_(parts_.index),
      access_(options.access),
      shards_(parts_.shards, options.access, parts_.decoded_members),
      checks_(*this, options.verify != Verify::None || parts_.bytes_doubtful),
      on_event_(options.on_event) {}

Result<Checkpoint> OpenCheckpoint::make(Parts parts, const OpenOptions& options,
                                        const Restoring& how) {
  if (options.index_only && (options.access != Access::Shared || options.verify == Verify::Full)) {
    return Error{Code::Invalid, 0,
                 parts.prefix.string() +
                     ": index_only reads no tensor, so it cannot be combined with Access::Private, "
                     "Access::Copy or Verify::Full"};
  }
  if (!options.expected.empty()) {
    if (const auto differs = difference(parts.index, options.expected)) {
      return Error{Code::Invalid, 0,
                   parts.prefix.string() + ": its tensors are not the expected ones: " + *differs};
    }
  }
  if (options.expected_digest) CAIRN_CHECK(check_digest(parts, *options.expected_digest));
  const std::shared_ptr<OpenCheckpoint> state(new OpenCheckpoint(std::move(parts), options));
  CAIRN_CHECK(state->place_shards(how.places));
  if (options.access == Access::Private) CAIRN_CHECK(state->shards_.decode_all());
  const Loading by_access = options.access == Access::Copy ? Loading::Read : Loading::Mapped;
  if (options.index_only) return Checkpoint(state);
  CAIRN_CHECK(
      state->load(how.loading.value_or(by_access), options.verify == Verify::Full, options.exec));
  return Checkpoint(state);
}

// Gives each shard its address range: a mapping, or memory.
Result<void> OpenCheckpoint::place_shards(std::span<const CallerMemory> places) {
  for (std::uint32_t i = 0; i < shards_.count(); ++i) {
    const std::uint64_t size_bytes = index().shard(i).identity.size_bytes;
    if (places.empty()) {
      CAIRN_CHECK(shards_.place(size_bytes));
    } else {
      shards_.place_in(places[i].bytes.first(size_bytes), places[i].owner);
    }
  }
  if (const auto unmapped = shards_.first_unmapped()) {
    parts_.warnings.push_back(
        shard_path(*unmapped) + ": cannot be mapped, because its file system (" +
        os::file_system_of(shards_.file(*unmapped)).name +
        ") has no mmap; each tensor is read into the memory of this process on its first use");
  }
  return {};
}

Result<void> OpenCheckpoint::refuse_bytes() const {
  return Error{Code::Unsupported, 0,
               parts_.prefix.string() +
                   ": was opened with index_only, so the bytes of its tensors cannot be read; open "
                   "it without index_only"};
}

void OpenCheckpoint::tell(const Event& event) const noexcept {
  if (on_event_) on_event_(event);
}

// Reads or maps the bytes as `loading` says, and checks them in the same pass.
Result<void> OpenCheckpoint::load(Loading loading, bool check, const ExecOptions& exec) {
  ScanPlan plan(*this);
  ByteSource source = ByteSource::File;
  const bool by_reading = shards_.first_unmapped().has_value();
  if (loading == Loading::Populated && !by_reading) {
    // A file that is not in the page cache is then read in huge pages, whatever its device reads
    // ahead.
    for (std::uint32_t i = 0; i < shards_.count(); ++i) os::want_huge_pages(shards_.memory(i));
    source = ByteSource::Populated;
  } else if (loading == Loading::Read || loading == Loading::Direct) {
    for (std::uint32_t i = 0; i < shards_.count(); ++i) plan.copy(i, 0, shards_.memory(i));
    source = loading == Loading::Direct ? ByteSource::PastCache : ByteSource::File;
  }
  if (check) {
    CAIRN_TRY(checked_bytes, check_whole(plan, source, exec));
    std::uint64_t payload_bytes = 0;
    for (std::uint32_t i = 0; i < shards_.count(); ++i) payload_bytes += shards_.memory(i).size();
    // If every byte has a sum, every byte has been read by now.
    if (loading != Loading::Populated) return {};
    if (checked_bytes == payload_bytes && !by_reading) return {};
  }
  if (loading == Loading::Populated) return prefetch({}, exec);
  if (loading == Loading::Mapped) return {};
  plan.plan();
  return plan.run(source, exec);
}

Result<std::size_t> OpenCheckpoint::find(std::string_view name) const {
  if (const auto position = position_of(name)) return *position;
  std::string what = parts_.prefix.string() + ": no tensor " + format::quoted(name);
  const auto nearest = nearest_names(index(), name);
  for (std::size_t i = 0; i < nearest.size(); ++i) {
    what += i == 0 ? "; similar names: " : ", ";
    what += format::quoted(nearest[i]);
  }
  if (nearest.empty())
    what += "; the checkpoint has " + std::to_string(index().tensor_count()) +
            (index().tensor_count() == 1 ? " tensor" : " tensors");
  return Error{Code::NotFound, 0, what};
}

TensorSpec spec_of(const format::IndexView::Tensor& tensor) {
  TensorSpec spec{
      std::string(tensor.name), tensor.dtype, {tensor.shape.begin(), tensor.shape.end()}};
  if (tensor.dtype == DType::Opaque) {
    spec.opaque = {std::string(tensor.opaque_dtype), tensor.element_bits, tensor.block.elements,
                   tensor.block.bytes};
  }
  return spec;
}

std::vector<TensorSpec> specs_of(const format::IndexView& index) {
  std::vector<TensorSpec> specs;
  specs.reserve(index.tensor_count());
  for (std::size_t i = 0; i < index.tensor_count(); ++i) specs.push_back(spec_of(index.tensor(i)));
  return specs;
}

std::string describe(DType dtype, std::span<const std::int64_t> shape, std::string_view opaque) {
  std::string text(dtype == DType::Opaque ? opaque : name(dtype));
  text += " [";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::optional<std::string> difference(const format::IndexView& index,
                                      std::span<const TensorSpec> expected) {
  constexpr std::size_t kShown = 10;
  std::vector<std::string> lines;
  std::vector<bool> wanted(index.tensor_count());
  for (const TensorSpec& spec : expected) {
    const auto position = index.find(spec.name);
    if (!position) {
      lines.push_back("missing " + format::quoted(spec.name));
      continue;
    }
    wanted[*position] = true;
    const auto tensor = index.tensor(*position);
    const bool same = tensor.dtype == spec.dtype && tensor.opaque_dtype == spec.opaque.name;
    if (same && std::ranges::equal(tensor.shape, spec.shape)) continue;
    lines.push_back(format::quoted(spec.name) + " is " +
                    describe(tensor.dtype, tensor.shape, tensor.opaque_dtype) + ", expected " +
                    describe(spec.dtype, spec.shape, spec.opaque.name));
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i]) lines.push_back("unexpected " + format::quoted(index.tensor_name(i)));
  }
  if (lines.empty()) return std::nullopt;
  std::string text;
  for (std::size_t i = 0; i < std::min(kShown, lines.size()); ++i)
    text += (i == 0 ? "" : "; ") + lines[i];
  if (lines.size() > kShown) text += "; and " + std::to_string(lines.size() - kShown) + " more";
  return text;
}

}  // namespace cairn::internal
