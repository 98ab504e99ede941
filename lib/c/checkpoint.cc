// Open checkpoints.

#include "lib/c/boundary.h"
#include "lib/c/tensor.h"

namespace cairn::c {

namespace {

Result<Access> access_of(int number) {
  switch (number) {
    case CAIRN_ACCESS_SHARED:
      return Access::Shared;
    case CAIRN_ACCESS_PRIVATE:
      return Access::Private;
    case CAIRN_ACCESS_COPY:
      return Access::Copy;
    default:
      return invalid(std::to_string(number) + " is no cairn_access");
  }
}

Result<Checkpoint> open(const char* given_path, const cairn_open_options* given) {
  CAIRN_TRY(path, path_of(given_path, "the path of a checkpoint"));
  CAIRN_TRY(known, struct_of(given, "cairn_open_options"));
  CAIRN_CHECK(check_reserved(known.reserved, "cairn_open_options"));
  OpenOptions options;
  CAIRN_TRY(access, access_of(number_of(known.access)));
  options.access = access;
  std::vector<TensorSpec> expected;
  CAIRN_CHECK(set_shared(options, known, expected));
  CAIRN_CHECK(check_reserved(known.reserved_1, "cairn_open_options"));
  options.index_only = known.index_only != 0;
  return Checkpoint::open(path, options);
}

cairn_format format_to_c(Format format) {
  switch (format) {
    case Format::Cairn:
      return CAIRN_FORMAT_CAIRN;
    case Format::TensorFlow:
      return CAIRN_FORMAT_TENSORFLOW;
    case Format::TensorFlowV1:
      return CAIRN_FORMAT_TENSORFLOW_V1;
    case Format::Safetensors:
      return CAIRN_FORMAT_SAFETENSORS;
    case Format::Npy:
      return CAIRN_FORMAT_NPY;
    case Format::Gguf:
      return CAIRN_FORMAT_GGUF;
    case Format::Npz:
      return CAIRN_FORMAT_NPZ;
    case Format::Hdf5:
      return CAIRN_FORMAT_HDF5;
    case Format::Keras:
      return CAIRN_FORMAT_KERAS;
    case Format::Onnx:
      return CAIRN_FORMAT_ONNX;
    case Format::Ptd:
      return CAIRN_FORMAT_PTD;
    case Format::Tflite:
      return CAIRN_FORMAT_TFLITE;
    case Format::PyTorch:
      return CAIRN_FORMAT_PYTORCH;
  }
  return CAIRN_FORMAT_CAIRN;
}

std::optional<Format> known_format(int number) noexcept {
  for (int each = 0; each <= static_cast<int>(Format::PyTorch); ++each) {
    const auto of_cairn = static_cast<Format>(each);
    if (number_of(format_to_c(of_cairn)) == number) return of_cairn;
  }
  return std::nullopt;
}

cairn_key_value pair_of(const Checkpoint::KeyValue& pair) {
  return {string_of(pair.first), string_of(pair.second)};
}

bool give(const std::optional<std::string_view>& text, cairn_string* value) {
  if (text) *value = string_of(*text);
  return text.has_value();
}

// What the pointers of the result point to.
struct OwnedVerification : cairn_verification {
  explicit OwnedVerification(Verification of_cairn)
      : cairn_verification{of_cairn.bytes_checked, of_cairn.unchecked_bytes, nullptr, 0},
        found(std::move(of_cairn.damage)) {
    for (const Damage& each : found) {
      items.push_back({string_of(each.tensor), string_of(each.shard), each.offset_bytes,
                       each.size_bytes, each.stored_crc32c, each.computed_crc32c});
    }
    pointers = pointers_to(items);
    damage = pointers.data();
    damage_count = pointers.size();
  }

  std::vector<Damage> found;
  std::vector<cairn_damage> items;
  std::vector<const cairn_damage*> pointers;
};

Result<void> read_all(const Checkpoint& checkpoint, const cairn_read* given, std::size_t count,
                      const cairn_read_options* given_options) {
  CAIRN_TRY(known, structs_of(given, count, "cairn_read"));
  CAIRN_TRY(options, struct_of(given_options, "cairn_read_options"));
  CAIRN_TRY(exec, exec_of(options.exec));
  ReaderPartition partition{options.reader_index, std::max(options.reader_count, 1u)};
  if (partition.index >= partition.count) {
    return invalid("reader_index is " + std::to_string(partition.index) + ", but reader_count is " +
                   std::to_string(options.reader_count));
  }
  std::vector<std::vector<Range>> slices;  // one for each read, so that none moves
  slices.reserve(count);
  std::vector<Read> reads;
  reads.reserve(count);
  for (const cairn_read& each : known) {
    slices.push_back(ranges_of(each.slice));
    reads.push_back(
        {view_of(each.name), slices.back(), {static_cast<std::byte*>(each.out), each.size_bytes}});
  }
  return checkpoint.read(reads, exec, partition);
}

}  // namespace

Result<Format> format_of_number(int number) {
  if (const auto known = known_format(number)) return *known;
  return invalid(std::to_string(number) + " is no cairn_format");
}

}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

cairn_string cairn_format_name(cairn_format format) {
  const auto known = known_format(number_of(format));
  return string_of(known ? cairn::name(*known) : "unknown");
}

cairn_code cairn_checkpoint_open(const char* path, const cairn_open_options* options,
                                 cairn_checkpoint** checkpoint, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(opened, open(path, options));
    *checkpoint = new cairn_checkpoint{std::move(opened)};
    return {};
  });
}

cairn_code cairn_checkpoint_copy(const cairn_checkpoint* checkpoint, cairn_checkpoint** copy,
                                 cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    *copy = new cairn_checkpoint{checkpoint->value};
    return {};
  });
}

void cairn_checkpoint_free(cairn_checkpoint* checkpoint) { delete checkpoint; }

cairn_format cairn_checkpoint_format(const cairn_checkpoint* checkpoint) {
  return format_to_c(checkpoint->value.format());
}

cairn_string cairn_checkpoint_prefix(const cairn_checkpoint* checkpoint) {
  return string_of(checkpoint->value.prefix().native());
}

bool cairn_checkpoint_step(const cairn_checkpoint* checkpoint, std::int64_t* step) {
  const auto stored = checkpoint->value.step();
  if (stored) *step = *stored;
  return stored.has_value();
}

bool cairn_checkpoint_metadata(const cairn_checkpoint* checkpoint, cairn_string key,
                               cairn_string* value) {
  return give(checkpoint->value.metadata(view_of(key)), value);
}

std::size_t cairn_checkpoint_metadata_count(const cairn_checkpoint* checkpoint) {
  return checkpoint->value.metadata_count();
}

cairn_key_value cairn_checkpoint_metadata_at(const cairn_checkpoint* checkpoint,
                                             std::size_t position) {
  return pair_of(checkpoint->value.metadata_at(position));
}

bool cairn_checkpoint_safetensors_metadata(const cairn_checkpoint* checkpoint, cairn_string key,
                                           cairn_string* value) {
  return give(checkpoint->value.safetensors_metadata(view_of(key)), value);
}

std::size_t cairn_checkpoint_safetensors_metadata_count(const cairn_checkpoint* checkpoint) {
  return checkpoint->value.safetensors_metadata_count();
}

cairn_key_value cairn_checkpoint_safetensors_metadata_at(const cairn_checkpoint* checkpoint,
                                                         std::size_t position) {
  return pair_of(checkpoint->value.safetensors_metadata_at(position));
}

std::size_t cairn_checkpoint_warning_count(const cairn_checkpoint* checkpoint) {
  return checkpoint->value.warnings().size();
}

cairn_string cairn_checkpoint_warning_at(const cairn_checkpoint* checkpoint, std::size_t position) {
  return warning_at(checkpoint->value.warnings(), position);
}

std::size_t cairn_checkpoint_shard_count(const cairn_checkpoint* checkpoint) {
  return checkpoint->value.shard_count();
}

cairn_string cairn_checkpoint_shard_name(const cairn_checkpoint* checkpoint, std::size_t position) {
  return string_of(checkpoint->value.shard_at(position).name);
}

std::uint64_t cairn_checkpoint_shard_size_bytes(const cairn_checkpoint* checkpoint,
                                                std::size_t position) {
  return checkpoint->value.shard_at(position).size_bytes;
}

std::size_t cairn_checkpoint_tensor_count(const cairn_checkpoint* checkpoint) {
  return checkpoint->value.tensor_count();
}

cairn_tensor cairn_checkpoint_tensor_at(const cairn_checkpoint* checkpoint, std::size_t position) {
  return tensor_to_c(checkpoint->value.tensor_at(position));
}

bool cairn_checkpoint_contains(const cairn_checkpoint* checkpoint, cairn_string name) {
  return checkpoint->value.contains(view_of(name));
}

cairn_code cairn_checkpoint_tensor(const cairn_checkpoint* checkpoint, cairn_string name,
                                   cairn_tensor* tensor, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(found, checkpoint->value.tensor(view_of(name)));
    *tensor = tensor_to_c(found);
    return {};
  });
}

cairn_code cairn_checkpoint_find_tensor(const cairn_checkpoint* checkpoint, cairn_string name,
                                        cairn_tensor* tensor, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(found, cairn::find_tensor(checkpoint->value, view_of(name)));
    *tensor = tensor_to_c(found);
    return {};
  });
}

bool cairn_checkpoint_digest(const cairn_checkpoint* checkpoint, std::uint8_t digest[16]) {
  const auto found = checkpoint->value.digest();
  if (found) std::memcpy(digest, found->bytes.data(), found->bytes.size());
  return found.has_value();
}

cairn_code cairn_checkpoint_verify(const cairn_checkpoint* checkpoint,
                                   const cairn_exec_options* exec,
                                   cairn_verification** verification, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(options, exec_of(exec));
    CAIRN_TRY(verified, checkpoint->value.verify(options));
    *verification = new OwnedVerification(std::move(verified));
    return {};
  });
}

void cairn_verification_free(cairn_verification* verification) {
  delete static_cast<OwnedVerification*>(verification);
}

cairn_code cairn_checkpoint_prefetch(const cairn_checkpoint* checkpoint, const cairn_string* names,
                                     std::size_t count, const cairn_exec_options* exec,
                                     cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(options, exec_of(exec));
    return checkpoint->value.prefetch(views_of({names, count}), options);
  });
}

bool cairn_checkpoint_faulted(const cairn_checkpoint* checkpoint) {
  return checkpoint->value.faulted();
}

cairn_code cairn_checkpoint_resident_bytes(const cairn_checkpoint* checkpoint,
                                           std::uint64_t* resident_bytes, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(resident, checkpoint->value.resident_bytes());
    *resident_bytes = resident;
    return {};
  });
}

cairn_code cairn_checkpoint_read(const cairn_checkpoint* checkpoint, const cairn_read* reads,
                                 std::size_t count, const cairn_read_options* options,
                                 cairn_error** error) {
  return guarded(error, [&] { return read_all(checkpoint->value, reads, count, options); });
}
