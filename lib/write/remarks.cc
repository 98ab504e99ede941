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

std::vector<TensorSpec> specs_of(std::span<const format::TensorFacts> tensors) {
  std::vector<TensorSpec> specs;
  specs.reserve(tensors.size());
  for (const format::TensorFacts& facts : tensors)
    specs.push_back({facts.name, facts.dtype, facts.shape});  // TensorFlow has no opaque ones
  return specs;
}

Error unreadable(const os::Directory& directory, const std::string& name,
                 const format::DecodeError& reason) {
  return {reason.code, 0,
          directory.path() + "/" + name + ": byte " + std::to_string(reason.byte_offset) + ": " +
              reason.what};
}

// P.index, and its bytes where they had to be read.
struct Foreign {
  Result<os::OpenedFile> opened;
  std::optional<os::Bytes> bytes;
};

// Nothing: P.cairn is not there, or of another P.index than the one that is there. Errors: it is
// not whole.
Result<std::optional<std::vector<TensorSpec>>> specs_of_own(const os::Directory& directory,
                                                            const std::string& base,
                                                            Foreign& foreign) {
  using Specs = std::optional<std::vector<TensorSpec>>;
  const std::string name = base + std::string(kCairnSuffix);
  const auto own = directory.open_file(name, os::Links::Follow);
  if (!own && own.error().code == Code::NotFound) return Specs();
  if (!own) return own.error();
  CAIRN_TRY(bytes, os::read_whole(*own, format::limits::kIndexBytesMax));
  const auto index = format::IndexView::decode(bytes);
  if (!index) return unreadable(directory, name, index.error());
  const format::TensorFlowIndexFacts record = index->tensorflow_index();
  if (!foreign.opened || (record.present && record.identity == identity_of(foreign.opened->info)))
    return Specs(internal::specs_of(*index));
  auto read = os::read_whole(foreign.opened->file, format::limits::kForeignIndexBytesMax);
  if (!read) return Specs(internal::specs_of(*index));
  if (record.present && record.digest == format::xxh3_128(*read))
    return Specs(internal::specs_of(*index));
  foreign.bytes.emplace(*std::move(read));
  return Specs();
}

// By the index that a reader would go by: P.cairn, unless P.index is another than it remembers.
// NotFound: neither is there.
Result<std::vector<TensorSpec>> specs_there(const os::Directory& directory,
                                            const std::string& base) {
  const std::string name = base + std::string(kTensorFlowSuffix);
  Foreign foreign{directory.open_seen(name, os::Links::Follow), {}};
  CAIRN_TRY(own, specs_of_own(directory, base, foreign));
  if (own) return *std::move(own);
  if (!foreign.opened) return foreign.opened.error();
  if (!foreign.bytes) {
    CAIRN_TRY(read, os::read_whole(foreign.opened->file, format::limits::kForeignIndexBytesMax));
    foreign.bytes.emplace(std::move(read));
  }
  const auto bundle = format::tensorflow::decode_bundle(*foreign.bytes);
  if (!bundle) return unreadable(directory, name, bundle.error());
  return specs_of(bundle->tensors);
}

}  // namespace

std::string describe(const TensorSpec& spec) {
  return describe(spec.dtype, spec.shape, spec.opaque.name);
}

format::Decoded<std::string> encode_bundle(const format::BundleHeader& header,
                                           std::span<const format::TensorFacts> tensors) {
  const auto fits = [](const format::TensorFacts& each) { return fits_bundle(each); };
  if (std::ranges::all_of(tensors, fits)) return format::tensorflow::encode_bundle(header, tensors);
  std::vector<format::TensorFacts> fitting;
  fitting.reserve(tensors.size());
  std::ranges::copy_if(tensors, std::back_inserter(fitting), fits);
  return format::tensorflow::encode_bundle(header, fitting);
}

std::vector<std::string> left_out_of_bundle(const std::string& prefix,
                                            std::span<const TensorSpec> specs) {
  std::vector<std::string> left_out;
  for (const TensorSpec& spec : specs) {
    if (fits_bundle(spec.dtype, spec.name)) continue;
    left_out.push_back(format::quoted(spec.name) + " (" + describe(spec) + ")");
  }
  if (left_out.empty()) return {};
  return {prefix + ": P.index leaves out " + std::to_string(left_out.size()) +
          (left_out.size() == 1 ? " tensor" : " tensors") +
          " that TensorFlow cannot hold, and the safetensors header of the shard leaves "
          "out those that older readers refuse; P.cairn has them: " +
          first_of(left_out)};
}

Result<std::vector<std::string>> replaced_tensors(const os::Directory& directory,
                                                  const std::string& base,
                                                  std::span<const TensorSpec> specs) {
  std::vector<std::string> goes;
  const auto there = specs_there(directory, base);
  if (!there && there.error().code == Code::NotFound) return goes;
  if (!there) return there.error();
  for (const TensorSpec& before : *there) {
    const auto at = std::ranges::lower_bound(specs, before.name, {}, &TensorSpec::name);
    if (at == specs.end() || at->name != before.name) {
      goes.push_back("tensor " + format::quoted(before.name) + " (" + describe(before) +
                     ") is not in the new checkpoint");
    } else if (at->dtype != before.dtype || at->shape != before.shape ||
               at->opaque != before.opaque) {
      goes.push_back("tensor " + format::quoted(before.name) + " was " + describe(before) +
                     " and is now " + describe(*at));
    }
  }
  return goes;
}

Result<void> refuse_replaced_tensors(const Target& target, std::vector<TensorSpec> specs) {
  std::ranges::sort(specs, {}, &TensorSpec::name);
  const auto goes = replaced_tensors(target.directory, target.base, specs);
  if (goes && goes->empty()) return {};
  return Error{
      Code::Exists, 0,
      target.shown + ": exists, and is replaced only with replace (--replace): " +
          (goes ? first_of(*goes)
                : goes.error().what + ", so it is not known which of its tensors would be lost; "
                                      "use salvage() first to keep the tensors that are whole")};
}

std::vector<std::string> stale_beside(const Target& target,
                                      std::span<const std::string_view> suffixes) {
  std::vector<std::string> warnings;
  for (const std::string_view suffix : suffixes) {
    const auto info = target.directory.look(target.base + std::string(suffix));
    if (!info || !*info) continue;
    warnings.push_back(target.shown + std::string(suffix) +
                       ": was there before and is no part of the new checkpoint; remove it if it "
                       "belonged to the previous one");
  }
  return warnings;
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
