#include "lib/store/remarks.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/limits.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/store/identity.h"
#include "lib/store/layout.h"
#include "lib/store/names.h"
#include "lib/store/open_checkpoint.h"

namespace cairn::store {
namespace {

constexpr std::size_t kShown = 10;

TensorSpec spec_of(const format::TensorFacts& facts) {
  TensorSpec spec{facts.name, facts.dtype, facts.shape};
  if (facts.dtype == DType::Opaque) spec.opaque = {facts.opaque_dtype, facts.opaque_bits};
  return spec;
}

std::vector<TensorSpec> specs_of(std::span<const format::TensorFacts> tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const format::TensorFacts& facts : tensors) specs.push_back(spec_of(facts));
  return specs;
}

// Whether P.index is the file that P.cairn remembers.
bool remembers(const format::TensorFlowIndexFacts& record, const os::OpenedFile& opened,
               std::span<const std::byte> bytes) {
  return record.present &&
         (record.identity == identity_of(opened.info) || record.digest == format::xxh3_128(bytes));
}

// By the index that a reader would go by: P.cairn, unless P.index is another than it remembers.
Result<std::vector<TensorSpec>> specs_there(const os::Directory& directory,
                                            const std::string& base) {
  const auto own = directory.open_file(base + std::string(kCairnSuffix), os::Links::Follow);
  const auto own_bytes =
      own ? os::read_whole(*own, format::limits::kIndexBytesMax) : Result<os::Bytes>(own.error());
  const auto opened = directory.open_seen(base + std::string(kTensorFlowSuffix), os::Links::Follow);
  const auto bytes = opened ? os::read_whole(opened->file, format::limits::kForeignIndexBytesMax)
                            : Result<os::Bytes>(opened.error());
  if (own_bytes) {
    const auto view = format::IndexView::decode(*own_bytes);
    if (view && (!bytes || remembers(view->tensorflow_index(), *opened, *bytes)))
      return specs_of(view->facts().tensors);
  }
  if (!bytes) return bytes.error();
  const auto bundle = format::tensorflow::decode_bundle(*bytes);
  if (!bundle) return Error{bundle.error().code, 0, bundle.error().what};
  return specs_of(bundle->tensors);
}

}  // namespace

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

}  // namespace cairn::store
