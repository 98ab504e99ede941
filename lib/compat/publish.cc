#include "lib/compat/publish.h"

#include <algorithm>
#include <utility>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/dtype.h"
#include "format/tensorflow/bundle.h"
#include "lib/store/draft.h"
#include "lib/store/identity.h"
#include "lib/store/names.h"
#include "lib/try.h"

namespace cairn::compat {
namespace {

// TensorFlow knows a shard by the number in its name, Cairn's index by its position.
Result<std::vector<std::uint32_t>> shard_numbers(const BundleName& name,
                                                 const format::IndexFacts& facts) {
  std::vector<std::uint32_t> numbers;
  for (const format::ShardFacts& shard : facts.shards) {
    const auto number = store::shard_number(shard.name, name.base);
    if (!number || number->count != static_cast<std::uint32_t>(facts.bundle.num_shards)) {
      return Error{Code::Unsupported, 0,
                   name.prefix.string() + ": TensorFlow cannot find the shard " + shard.name +
                       " by its name; convert() writes one that it can"};
    }
    numbers.push_back(number->shard);
  }
  return numbers;
}

bool nameable(const format::TensorFacts& tensor) {
  const bool summed = tensor.slices.empty()
                          ? tensor.span.crc32c.has_value()
                          : std::ranges::all_of(tensor.slices, [](const auto& slice) {
                              return slice.span.crc32c.has_value();
                            });
  return summed && !tensor.name.empty() && format::storable(tensor.dtype);
}

}  // namespace

Result<BundleBytes> encode_bundle(const BundleName& name, const format::IndexFacts& facts) {
  CAIRN_TRY(numbers, shard_numbers(name, facts));
  BundleBytes result;
  std::span<const format::TensorFacts> tensors = facts.tensors;
  std::vector<format::TensorFacts> chosen;
  if (!std::ranges::all_of(tensors, nameable)) {
    for (const format::TensorFacts& tensor : tensors) {
      if (nameable(tensor)) {
        chosen.push_back(tensor);
      } else {
        result.not_nameable.push_back(tensor.name);
      }
    }
    tensors = chosen;
  }
  auto bytes = format::tensorflow::encode_bundle(facts.bundle, tensors, numbers);
  if (!bytes) return Error{bytes.error().code, 0, name.prefix.string() + ": " + bytes.error().what};
  result.bytes = *std::move(bytes);
  return result;
}

Result<void> publish(const Destination& to, std::optional<format::IndexFacts> own,
                     std::span<const std::byte> tensorflow_index) {
  std::vector<store::Draft> drafts;
  const auto add = [&](std::string_view suffix, std::span<const std::byte> bytes) -> Result<void> {
    CAIRN_TRY(draft, store::draft_with(to.directory, to.base + std::string(suffix), bytes));
    drafts.push_back(std::move(draft));
    return {};
  };
  if (!tensorflow_index.empty()) CAIRN_CHECK(add(store::kTensorFlowSuffix, tensorflow_index));
  if (own) {
    if (!drafts.empty()) {
      CAIRN_TRY(info, drafts.back().file().info());
      own->tensorflow_index = {true, store::identity_of(info), format::xxh3_128(tensorflow_index)};
    }
    const auto bytes = format::encode_index(*own);
    if (!bytes) return Error{Code::Invalid, 0, to.prefix.string() + ": " + bytes.error().what};
    CAIRN_CHECK(add(store::kCairnSuffix, *bytes));
  }
  for (store::Draft& draft : drafts) CAIRN_CHECK(draft.publish(store::Draft::Taken::Replace));
  CAIRN_CHECK(to.directory.sync());
  store::remove_leftovers(to.directory, to.base + ".");
  return {};
}

}  // namespace cairn::compat
