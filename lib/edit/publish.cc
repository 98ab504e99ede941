#include "lib/edit/publish.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "format/cairn/index.h"
#include "format/digest.h"
#include "format/le.h"
#include "format/limits.h"
#include "format/tensorflow/bundle.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/try.h"
#include "lib/write/layout.h"
#include "lib/write/remarks.h"
#include "lib/write/shard_names.h"

namespace cairn::internal {
namespace {

// TensorFlow knows a shard by the number in its name, Cairn's index by its position.
Result<std::vector<std::uint32_t>> shard_numbers(const BundleName& name,
                                                 const format::IndexFacts& facts) {
  std::vector<std::uint32_t> numbers;
  for (const format::ShardFacts& shard : facts.shards) {
    const auto number = shard_number(shard.name, name.base);
    if (!number || number->count != static_cast<std::uint32_t>(facts.bundle.num_shards)) {
      return Error{Code::Unsupported, 0,
                   name.prefix.string() + ": TensorFlow cannot find the shard " + shard.name +
                       ", because it does not have the name that P.index needs; use convert() "
                       "(cairn convert)"};
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
  return summed && fits_bundle(tensor);
}

std::vector<std::string> not_nameable(const format::IndexFacts& facts) {
  std::vector<std::string> names;
  for (const format::TensorFacts& tensor : facts.tensors) {
    if (!nameable(tensor)) names.push_back(tensor.name);
  }
  return names;
}

}  // namespace

Result<BundleBytes> encode_bundle(const BundleName& name, const format::IndexFacts& facts) {
  CAIRN_TRY(numbers, shard_numbers(name, facts));
  BundleBytes result{{}, not_nameable(facts)};
  std::span<const format::TensorFacts> tensors = facts.tensors;
  std::vector<format::TensorFacts> chosen;
  if (!result.not_nameable.empty()) {
    std::ranges::copy_if(tensors, std::back_inserter(chosen), nameable);
    tensors = chosen;
  }
  auto bytes = format::tensorflow::encode_bundle(facts.bundle, tensors, numbers);
  if (!bytes) return Error{bytes.error().code, 0, name.prefix.string() + ": " + bytes.error().what};
  result.bytes = *std::move(bytes);
  return result;
}

namespace {

Result<void> add_encoded(Publisher& publisher,
                         const format::Decoded<std::vector<std::byte>>& bytes) {
  if (!bytes) return Error{Code::Invalid, 0, publisher.shown() + ": " + bytes.error().what};
  CAIRN_CHECK(publisher.add(kCairnSuffix, *bytes));
  return {};
}

}  // namespace

Result<void> add_indexes(Publisher& publisher, std::optional<format::IndexFacts> own,
                         std::span<const std::byte> tensorflow_index) {
  if (!tensorflow_index.empty()) {
    CAIRN_TRY(file, publisher.add(kTensorFlowSuffix, tensorflow_index));
    CAIRN_TRY(info, file->info());
    if (own) own->tensorflow_index = {true, identity_of(info), format::xxh3_128(tensorflow_index)};
  }
  if (!own) return {};
  return add_encoded(publisher, format::encode_index(*own));
}

Result<void> add_own_index(Publisher& publisher, const format::IndexFacts& own,
                           const format::IndexView& tensors) {
  return add_encoded(publisher, format::encode_index(own, tensors));
}

namespace {

// How many shards their names speak of where they can be had: of as many as the P.index that comes
// along counts, else as there are, at least one, as TensorFlow counts.
std::uint32_t requested_count(const Destination& to, const LinkedCheckpoint& linked) {
  const auto meant =
      linked.names.empty() ? std::nullopt : shard_number(linked.names.front(), to.base);
  if (meant) return meant->count;
  return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(linked.files.size()));
}

bool wants_bundle(const LinkedCheckpoint& linked) {
  return !linked.whole || linked.whole->tensorflow;
}

// Names the shards, and makes the P.index over them; one that comes along keeps its bytes.
Result<BundleBytes> name_shards(const Destination& to, std::uint32_t count,
                                LinkedCheckpoint& linked) {
  if (linked.names.empty()) {
    linked.facts.bundle.num_shards = static_cast<std::int32_t>(count);
    const auto names = shard_names(to.base, linked.files.size(), count);
    for (std::size_t i = 0; i < names.size(); ++i) linked.facts.shards[i].name = names[i];
    if (!wants_bundle(linked)) return BundleBytes{};
    return encode_bundle({to.base, to.prefix}, linked.facts);
  }
  for (std::size_t i = 0; i < linked.names.size(); ++i)
    linked.facts.shards[i].name = linked.names[i];
  return BundleBytes{std::string(format::as_text(linked.tensorflow_index)), {}};
}

Result<std::vector<TempFile>> prepare_arriving(const Destination& to,
                                               const LinkedCheckpoint& linked,
                                               const TransferOptions& options, Transfer& transfer) {
  std::vector<std::string> names;
  for (const format::ShardFacts& shard : linked.facts.shards) names.push_back(shard.name);
  if (linked.no_hard_links && options.link == Link::Hard) {
    return Error{Code::Unsupported, 0,
                 to.prefix.string() +
                     ": nothing is written: the onnx package refuses to read a file of external "
                     "data that has a hard link; use Link::Auto (--link auto), which copies it"};
  }
  // What moves keeps no other name.
  const bool moves = linked.whole && !linked.whole->independent;
  const bool asked = options.link != Link::Auto || linked.over_same_bytes || moves;
  const bool own_files = linked.no_hard_links || (linked.whole && linked.whole->independent) ||
                         !(asked || std::ranges::all_of(linked.facts.shards, may_be_linked,
                                                        &format::ShardFacts::kind));
  return own_files ? reflink_or_copy_shards(linked.files, names, to, options, transfer)
                   : link_or_copy_shards(linked.files, names, to, options, transfer);
}

Result<void> add_graph(Publisher& publisher, const Companions& whole) {
  if (whole.graph == nullptr) return {};
  if (!whole.independent) {
    CAIRN_CHECK(publisher.add_link(kMetaSuffix, *whole.graph));
    return {};
  }
  CAIRN_TRY(bytes, os::read_whole(*whole.graph, format::limits::kForeignIndexBytesMax));
  CAIRN_CHECK(publisher.add(kMetaSuffix, bytes));
  return {};
}

// P.index as the very file that it was, and P.cairn, which remembers it.
Result<void> add_linked_indexes(Publisher& publisher, std::optional<format::IndexFacts> own,
                                const LinkedCheckpoint& linked) {
  CAIRN_TRY(file, publisher.add_link(kTensorFlowSuffix, *linked.whole->index_file));
  CAIRN_TRY(info, file->info());
  if (own) {
    own->tensorflow_index = {true, identity_of(info), format::xxh3_128(linked.tensorflow_index)};
  }
  return add_indexes(publisher, std::move(own), {});
}

// Suffixes of the indexes that the arriving checkpoint does not have.
std::vector<std::string_view> absent(const LinkedCheckpoint& linked) {
  std::vector<std::string_view> suffixes;
  if (!wants_bundle(linked)) suffixes.push_back(kTensorFlowSuffix);
  if (!linked.own_index) suffixes.push_back(kCairnSuffix);
  return suffixes;
}

// P.safetensors, another name of a shard that has its own by now.
Result<void> publish_alias(const Destination& to, const LinkedCheckpoint& linked,
                           std::span<const TempFile> shards, Publisher& publisher, bool replace) {
  if (!linked.whole || !linked.whole->safetensors) return {};
  const std::string name = to.base + std::string(kSafetensorsSuffix);
  CAIRN_TRY(alias, TempFile::link(to.directory, name, shards[*linked.whole->safetensors].file()));
  return publisher.publish_file(alias, replace);
}

// P.safetensors may be a shard's name that was there before, as it is where one is imported.
void warn_of_kept_files(const Destination& to, const LinkedCheckpoint& linked,
                        std::span<const TempFile> shards, Transfer& transfer) {
  std::vector<std::string_view> stale;
  if (!linked.whole || linked.whole->graph == nullptr) stale.push_back(kMetaSuffix);
  const auto alias = to.directory.look(to.base + std::string(kSafetensorsSuffix));
  const bool ours = alias && *alias && std::ranges::any_of(shards, [&](const TempFile& shard) {
                      const auto info = shard.file().info();
                      return info && same_file(*info, **alias);
                    });
  if (!ours && !linked.over_same_bytes) stale.push_back(kSafetensorsSuffix);
  const Target target{to.directory, to.base, to.prefix.string()};
  std::ranges::copy(stale_beside(target, stale), std::back_inserter(transfer.warnings));
}

}  // namespace

Result<Publisher> begin_with(Target target, const TransferOptions& options,
                             const std::function<Result<Lock>(const Target&)>& hold) {
  if (!hold) return Publisher::begin(std::move(target), {options.lock_wait, options.exec.stop});
  CAIRN_TRY(lock, hold(target));
  return Publisher(std::move(target), std::move(lock));
}

Result<void> publish_elsewhere(const Destination& to, LinkedCheckpoint linked,
                               const TransferOptions& options, Transfer& transfer) {
  std::vector<std::string_view> members{kCairnSuffix, kTensorFlowSuffix};
  if (linked.whole && linked.whole->safetensors) members.push_back(kSafetensorsSuffix);
  const Target target{to.directory, to.base, to.prefix.string()};
  if (!options.replace) {
    CAIRN_CHECK(refuse_existing(target, members));
    CAIRN_CHECK(refuse_to_hide_v1(target));
  }
  // What cannot be said is found out before bytes are copied.
  const std::uint32_t wished = requested_count(to, linked);
  CAIRN_TRY(bundle, name_shards(to, wished, linked));
  CAIRN_TRY(temps, prepare_arriving(to, linked, options, transfer));
  if (linked.whole && linked.whole->check) {
    CAIRN_TRY(compared, linked.whole->check(temps));
    if (compared) linked.doubtful.clear();
  }
  CAIRN_TRY(publisher,
            begin_with(target, options, linked.whole ? linked.whole->hold : Companions{}.hold));
  if (!options.replace) CAIRN_CHECK(publisher.refuse(members));
  if (linked.unchanged) CAIRN_CHECK(linked.unchanged());
  CAIRN_TRY(free, free_shard_count(to.directory, to.base, wished));
  const bool as_it_is = free == wished && linked.whole && linked.whole->index_file != nullptr &&
                        !linked.names.empty();
  if (free != wished) {
    linked.names.clear();
    CAIRN_TRY(count, free_shard_count(to.directory, to.base, requested_count(to, linked)));
    CAIRN_TRY(anew, name_shards(to, count, linked));
    bundle = std::move(anew);
  }
  for (std::size_t i = 0; i < temps.size(); ++i) {
    CAIRN_TRY(info, temps[i].file().info());
    temps[i].set_name(linked.facts.shards[i].name);
    if (linked.doubtful.empty() || !linked.doubtful[i])
      linked.facts.shards[i].identity = identity_of(info);
  }
  if (transfer.not_nameable.empty()) transfer.not_nameable = std::move(bundle.not_nameable);
  std::optional<format::IndexFacts> own;
  if (linked.own_index) own = std::move(linked.facts);
  if (linked.whole) CAIRN_CHECK(add_graph(publisher, *linked.whole));
  CAIRN_CHECK(as_it_is && !linked.whole->independent
                  ? add_linked_indexes(publisher, std::move(own), linked)
                  : add_indexes(publisher, std::move(own), format::as_bytes(bundle.bytes)));
  const std::vector<std::string_view> unwanted = absent(linked);
  CAIRN_CHECK(publisher.publish(temps, {.unwanted = unwanted}));
  if (auto warning = publisher.warning()) transfer.warnings.push_back(*std::move(warning));
  CAIRN_CHECK(publish_alias(to, linked, temps, publisher, options.replace));
  warn_of_kept_files(to, linked, temps, transfer);
  warn_of_hidden_v1(target, transfer.warnings);
  warn_if_moved(to.directory, transfer);
  return {};
}

}  // namespace cairn::internal
