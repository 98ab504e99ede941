#include "lib/edit/fit.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "format/numpy/array.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "format/safetensors/own_metadata.h"
#include "format/zip/writer.h"
#include "lib/read/open_checkpoint.h"
#include "lib/write/layout.h"
#include "lib/write/remarks.h"

namespace cairn::internal {
namespace {

using format::safetensors::is_utf8;

bool is_savers(std::string_view key) noexcept { return key.starts_with(format::kReservedKeys); }

// Whether a safetensors file keeps this metadata: of what a Saver noted the metrics alone.
bool goes_into_file(std::string_view key, std::string_view value) noexcept {
  const bool kept = !is_savers(key) || key.starts_with(format::kMetricKeys);
  return kept && is_utf8(key) && is_utf8(value);
}

format::numpy::ElementType element_type(const TensorSpec& spec) noexcept {
  return {spec.dtype, spec.opaque.name, spec.opaque.bits};
}

// Whether numpy can load it: it takes at most 64 dimensions.
bool fits_npy(const TensorSpec& spec) {
  constexpr std::size_t kDimensionsMax = 64;
  return spec.shape.size() <= kDimensionsMax && !numpy_descr(spec).empty();
}

}  // namespace

bool fits(const TensorSpec& spec, Format target) {
  switch (target) {
    case Format::Safetensors:
      return fits_header(spec, SafetensorsReaders::Newest);
    case Format::TensorFlow:
      return fits_bundle(spec.dtype, spec.name);
    case Format::Npz:
      return fits_npy(spec) && format::zip::can_be_member(spec.name + ".npy");
    case Format::Npy:
      return fits_npy(spec);
    default:
      return true;
  }
}

bool is_bookkeeping(std::string_view key) noexcept {
  return key == "cairn.saved_s" || key == "cairn.keep_every_h" || key == "cairn.next_keep_s";
}

bool is_made_anew(std::string_view key, std::string_view value) noexcept {
  return format::safetensors::is_own_key(key) || key == "total_size" ||
         (key == "format" && value == "pt");
}

void LossyItems::add_tensor(const TensorSpec& spec, std::string_view why) {
  tensors.push_back(spec.name);
  described.push_back("tensor " + format::quoted(spec.name) + " (" + describe(spec) +
                      std::string(why.empty() ? "" : ", ").append(why) + ")");
}

void LossyItems::add_metadata(std::string_view key) {
  if (is_savers(key)) {
    if (!is_bookkeeping(key)) notes.emplace_back(key);
    return;
  }
  metadata.emplace_back(key);
  described.push_back("metadata " + format::quoted(key));
}

void LossyItems::add_safetensors_metadata(std::string_view key) {
  safetensors_metadata.emplace_back(key);
  described.push_back("__metadata__ " + format::quoted(key));
}

void add_metadata_lost_to_bundle(const format::IndexView& index, LossyItems& lossy) {
  for (std::size_t i = 0; i < index.metadata_count(); ++i)
    lossy.add_metadata(index.metadata(i).first);
  for (std::size_t i = 0; i < index.safetensors_metadata_count(); ++i) {
    const auto [key, value] = index.safetensors_metadata(i);
    if (!is_made_anew(key, value)) lossy.add_safetensors_metadata(key);
  }
}

std::string numpy_descr(const TensorSpec& spec) {
  return format::numpy::descr_of(element_type(spec));
}

bool is_named_by_numpy(const TensorSpec& spec) {
  return format::numpy::is_told_by_descr(element_type(spec), numpy_descr(spec)) &&
         spec.dtype != DType::Bfloat16;
}

FormatFit fit_of(const format::IndexView& index, Format target,
                 std::vector<OutgoingTensor> tensors) {
  FormatFit fit;
  for (OutgoingTensor& tensor : tensors) {
    if (fits(tensor.spec, target)) {
      fit.taken.push_back(std::move(tensor));
    } else {
      tensor.spec.name = index.tensor_name(tensor.position);
      fit.lossy.add_tensor(tensor.spec);
    }
  }
  if (target == Format::TensorFlow || target == Format::Npz || target == Format::Npy)
    add_metadata_lost_to_bundle(index, fit.lossy);
  for (std::size_t i = 0; target == Format::Safetensors && i < index.metadata_count(); ++i) {
    const auto [key, value] = index.metadata(i);
    if (!goes_into_file(key, value)) fit.lossy.add_metadata(key);
  }
  // Of a P.cairn that no Writer wrote: a header is UTF-8.
  for (std::size_t i = 0; target == Format::Safetensors && i < index.safetensors_metadata_count();
       ++i) {
    const auto [key, value] = index.safetensors_metadata(i);
    if (!(is_utf8(key) && is_utf8(value))) fit.lossy.add_safetensors_metadata(key);
  }
  return fit;
}

TargetFormat target_format(Format target) noexcept {
  switch (target) {
    case Format::Safetensors:
      return {"a safetensors file"};
    case Format::Npz:
      return {"an .npz archive"};
    case Format::Npy:
      return {"an .npy file"};
    default:
      return {"TensorFlow's format"};
  }
}

Result<void> check_lossy(const LossyItems& lossy, const TargetFormat& holder,
                         const TransferOptions& options, Transfer& transfer) {
  const std::string name(holder.name);
  if (!lossy.described.empty() && !options.allow_lossy) {
    return Error{Code::Unsupported, 0,
                 options.output.string() + (options.output.empty() ? "" : ": ") + name +
                     " cannot hold " + first_of(lossy.described) +
                     "; nothing is written; to leave it out, use allow_lossy (--allow-lossy); " +
                     std::string(holder.instead)};
  }
  std::ranges::copy(lossy.tensors, std::back_inserter(transfer.not_nameable));
  transfer.metadata_left_out = lossy.metadata;
  transfer.safetensors_metadata_left_out = lossy.safetensors_metadata;
  for (const std::string& what : lossy.described)
    transfer.warnings.push_back("left out, because " + name + " cannot hold it: " + what);
  for (const std::string& key : lossy.notes) {
    transfer.metadata_left_out.push_back(key);
    transfer.warnings.push_back("left out, because only a Saver uses it: metadata " +
                                format::quoted(key));
  }
  return {};
}

Result<void> check_nothing_left_out(const Parts& source) {
  if (source.left_out.empty()) return {};
  return Error{
      Code::Unsupported, 0,
      source.left_out + "; nothing is written; to leave it out, use allow_lossy (--allow-lossy)"};
}

format::KeyValues metadata_for_file(const Checkpoint& checkpoint,
                                    std::span<const TensorSpec> specs) {
  const format::IndexView& index = OpenCheckpoint::of(checkpoint).index();
  format::KeyValues given;
  for (std::size_t i = 0; i < index.safetensors_metadata_count(); ++i) {
    const auto [key, value] = index.safetensors_metadata(i);
    if (is_utf8(key) && is_utf8(value)) given.emplace_back(key, value);
  }
  given = rebuilt_metadata(given, specs);
  if (const auto step = checkpoint.step())
    given.emplace_back(format::safetensors::kStepKey, std::to_string(*step));
  for (std::size_t i = 0; i < index.metadata_count(); ++i) {
    const auto [key, value] = index.metadata(i);
    if (!goes_into_file(key, value)) continue;
    given.emplace_back(std::string(format::safetensors::kMetadataPrefix).append(key), value);
  }
  return header_metadata(std::move(given));
}

}  // namespace cairn::internal
