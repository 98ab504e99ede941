#include "lib/write/remarks.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/read/open_checkpoint.h"
#include "lib/try.h"
#include "lib/write/layout.h"

namespace cairn::internal {
namespace {

constexpr std::size_t kShown = 10;

std::vector<TensorSpec> specs_of(const format::IndexView& index) {
  std::vector<TensorSpec> specs;
  specs.reserve(index.tensor_count());
  for (std::size_t i = 0; i < index.tensor_count(); ++i) specs.push_back(spec_of(index.tensor(i)));
  return specs;
}

std::vector<TensorSpec> specs_of(std::span<const format::TensorFacts> tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const format::TensorFacts& facts : tensors)
    specs.push_back({facts.name, facts.dtype, facts.shape});  // TensorFlow has no opaque ones
  return specs;
}

// Nothing: P.cairn is not there, or not whole, or of another P.index than the one that is there.
std::optional<std::vector<TensorSpec>> specs_of_own(const os::Directory& directory,
                                                    const std::string& base,
                                                    const Result<os::OpenedFile>& foreign,
                                                    std::optional<os::Bytes>& foreign_bytes) {
  const auto own = directory.open_file(base + std::string(kCairnSuffix), os::Links::Follow);
  const auto bytes =
      own ? os::read_whole(*own, format::limits::kIndexBytesMax) : Result<os::Bytes>(own.error());
  const auto index = bytes ? format::IndexView::decode(*bytes)
                           : format::Decoded<format::IndexView>(format::corrupt(0, {}));
  if (!index) return std::nullopt;
  const format::TensorFlowIndexFacts record = index->tensorflow_index();
  if (!foreign || (record.present && record.identity == identity_of(foreign->info)))
    return specs_of(*index);
  auto read = os::read_whole(foreign->file, format::limits::kForeignIndexBytesMax);
  if (!read) return specs_of(*index);
  if (record.present && record.digest == format::xxh3_128(*read)) return specs_of(*index);
  foreign_bytes.emplace(*std::move(read));
  return std::nullopt;
}

// By the index that a reader would go by: P.cairn, unless P.index is another than it remembers.
Result<std::vector<TensorSpec>> specs_there(const os::Directory& directory,
                                            const std::string& base) {
  const auto foreign =
      directory.open_seen(base + std::string(kTensorFlowSuffix), os::Links::Follow);
  std::optional<os::Bytes> bytes;
  if (auto specs = specs_of_own(directory, base, foreign, bytes)) return *std::move(specs);
  if (!foreign) return foreign.error();
  if (!bytes) {
    CAIRN_TRY(read, os::read_whole(foreign->file, format::limits::kForeignIndexBytesMax));
    bytes.emplace(std::move(read));
  }
  const auto bundle = format::tensorflow::decode_bundle(*bytes);
  if (!bundle) return Error{bundle.error().code, 0, bundle.error().what};
  return specs_of(bundle->tensors);
}

}  // namespace

TensorSpec spec_of(const format::IndexView::Tensor& tensor) {
  TensorSpec spec{
      std::string(tensor.name), tensor.dtype, {tensor.shape.begin(), tensor.shape.end()}};
  if (tensor.dtype == DType::Opaque)
    spec.opaque = {std::string(tensor.opaque_dtype), tensor.element_bits};
  return spec;
}

std::string describe(const TensorSpec& spec) {
  return describe(spec.dtype, spec.shape, spec.opaque.name);
}

std::vector<format::TensorFacts> in_bundle(std::span<const format::TensorFacts> tensors) {
  std::vector<format::TensorFacts> fitting;
  fitting.reserve(tensors.size());
  std::ranges::copy_if(tensors, std::back_inserter(fitting), [](const format::TensorFacts& each) {
    return fits_bundle(each.dtype, each.name);
  });
  return fitting;
}

std::vector<std::string> left_out_of_bundle(const std::string& prefix,
                                            std::span<const TensorSpec> specs) {
  std::vector<std::string> left_out;
  for (const TensorSpec& spec : specs) {
    if (fits_bundle(spec.dtype, spec.name)) continue;
    left_out.push_back(format::quoted(spec.name) + " (" + describe(spec) + ")");
  }
  if (left_out.empty()) return {};
  return {
      prefix + ": P.index leaves out " + std::to_string(left_out.size()) +
      " tensors that TensorFlow cannot hold, and the shard's safetensors header those that older "
      "readers of it would refuse; P.cairn has them: " +
      first_of(left_out)};
}

std::vector<std::string> what_goes(const os::Directory& directory, const std::string& base,
                                   std::span<const TensorSpec> specs) {
  std::vector<std::string> goes;
  const auto there = specs_there(directory, base);
  if (!there) return goes;
  for (const TensorSpec& before : *there) {
    const auto at = std::ranges::lower_bound(specs, before.name, {}, &TensorSpec::name);
    if (at == specs.end() || at->name != before.name) {
      goes.push_back("tensor " + format::quoted(before.name) + " (" + describe(before) +
                     ") is gone");
    } else if (at->dtype != before.dtype || at->shape != before.shape ||
               at->opaque != before.opaque) {
      goes.push_back("tensor " + format::quoted(before.name) + " was " + describe(before) +
                     " and is " + describe(*at));
    }
  }
  return goes;
}

std::string first_of(std::span<const std::string> sentences) {
  std::string text;
  for (const std::string& sentence : sentences.first(std::min(kShown, sentences.size())))
    text += (text.empty() ? "" : "; ") + sentence;
  if (sentences.size() > kShown)
    text += "; and " + std::to_string(sentences.size() - kShown) + " more";
  return text;
}

}  // namespace cairn::internal
