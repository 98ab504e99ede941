#include "lib/edit/fit.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "format/safetensors/own_metadata.h"
#include "lib/read/open_checkpoint.h"
#include "lib/write/layout.h"
#include "lib/write/remarks.h"

namespace cairn::internal {
namespace {

using format::safetensors::is_utf8;

bool is_own(std::string_view key) noexcept { return key.starts_with(format::kReservedKeys); }

// What every safetensors file says where nothing else is known, or of itself.
bool is_made_anew(const format::KeyValues::value_type& entry) noexcept {
  return is_own(entry.first) || entry.first == "total_size" ||
         (entry.first == "format" && entry.second == "pt");
}

bool fits(const TensorSpec& spec, Format target) noexcept {
  switch (target) {
    case Format::Safetensors:
      return fits_header(spec, Readers::Newest);
    case Format::TensorFlow:
      return fits_bundle(spec.dtype, spec.name);
    default:
      return true;
  }
}

}  // namespace

void Misfits::add_tensor(const TensorSpec& spec, std::string_view why) {
  tensors.push_back(spec.name);
  described.push_back("tensor " + format::quoted(spec.name) + " (" + describe(spec) +
                      std::string(why.empty() ? "" : ", ").append(why) + ")");
}

void Misfits::add_metadata(std::string_view key) {
  metadata.emplace_back(key);
  described.push_back("metadata " + format::quoted(key));
}

void Misfits::add_safetensors_metadata(std::string_view key) {
  safetensors_metadata.emplace_back(key);
  described.push_back("__metadata__ " + format::quoted(key));
}

void add_metadata_lost_to_bundle(const format::IndexView& index, Misfits& misfits) {
  for (std::size_t i = 0; i < index.metadata_count(); ++i) {
    if (!is_own(index.metadata(i).first)) misfits.add_metadata(index.metadata(i).first);
  }
  for (std::size_t i = 0; i < index.safetensors_metadata_count(); ++i) {
    const auto entry = index.safetensors_metadata(i);
    if (!is_made_anew({std::string(entry.first), std::string(entry.second)}))
      misfits.add_safetensors_metadata(entry.first);
  }
}

Fit fit_of(const format::IndexView& index, Format target) {
  Fit fit;
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const TensorSpec spec = spec_of(index.tensor(i));
    if (fits(spec, target)) {
      fit.taken.push_back(i);
    } else {
      fit.misfits.add_tensor(spec);
    }
  }
  if (target == Format::TensorFlow) add_metadata_lost_to_bundle(index, fit.misfits);
  for (std::size_t i = 0; target == Format::Safetensors && i < index.metadata_count(); ++i) {
    const auto [key, value] = index.metadata(i);
    if (!is_own(key) && !(is_utf8(key) && is_utf8(value))) fit.misfits.add_metadata(key);
  }
  // Of a P.cairn that no Writer wrote: a header is UTF-8.
  for (std::size_t i = 0; target == Format::Safetensors && i < index.safetensors_metadata_count();
       ++i) {
    const auto [key, value] = index.safetensors_metadata(i);
    if (!(is_utf8(key) && is_utf8(value))) fit.misfits.add_safetensors_metadata(key);
  }
  return fit;
}

Result<void> accept(const Misfits& misfits, Format target, const TransferOptions& options,
                    Transfer& transfer) {
  if (misfits.described.empty()) return {};
  const std::string holder =
      target == Format::Safetensors ? "a safetensors file" : "TensorFlow's format";
  if (!options.allow_lossy) {
    return Error{Code::Unsupported, 0,
                 options.output.string() + (options.output.empty() ? "" : ": ") + holder +
                     " cannot hold " + first_of(misfits.described) +
                     ". Nothing is written unless it may be left out (--allow-lossy); " +
                     "a checkpoint of Cairn's holds everything"};
  }
  transfer.not_nameable = misfits.tensors;
  transfer.metadata_left_out = misfits.metadata;
  transfer.safetensors_metadata_left_out = misfits.safetensors_metadata;
  for (const std::string& what : misfits.described)
    transfer.notices.push_back("left out, since " + holder + " cannot hold it: " + what);
  return {};
}

format::KeyValues metadata_for_file(const Checkpoint& checkpoint,
                                    std::span<const TensorSpec> specs) {
  const format::IndexView& index = OpenCheckpoint::of(checkpoint).index();
  format::KeyValues given;
  for (std::size_t i = 0; i < index.safetensors_metadata_count(); ++i) {
    const auto [key, value] = index.safetensors_metadata(i);
    if (is_utf8(key) && is_utf8(value)) given.emplace_back(key, value);
  }
  given = metadata_anew(given, specs);
  if (const auto step = checkpoint.step())
    given.emplace_back(format::safetensors::kStepKey, std::to_string(*step));
  for (std::size_t i = 0; i < index.metadata_count(); ++i) {
    const auto [key, value] = index.metadata(i);
    if (is_own(key) || !is_utf8(key) || !is_utf8(value)) continue;
    given.emplace_back(std::string(format::safetensors::kMetadataPrefix).append(key), value);
  }
  return header_metadata(std::move(given));
}

}  // namespace cairn::internal
