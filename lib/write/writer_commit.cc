// commit(): from the sums of what was written to the two indexes, and to files that have their
// names. The order of the syncs and renames stands in lib/write/publisher.cc.

#include <algorithm>
#include <array>
#include <utility>

#include "cairn/version.h"
#include "format/cairn/index.h"
#include "format/le.h"
#include "format/quoted.h"
#include "format/tensorflow/bundle.h"
#include "lib/os/parallel.h"
#include "lib/read/identity.h"
#include "lib/read/names.h"
#include "lib/read/origin.h"
#include "lib/try.h"
#include "lib/write/remarks.h"
#include "lib/write/shard_names.h"
#include "lib/write/writer_state.h"

namespace cairn {
namespace {

Error invalid(std::string what) { return {Code::Invalid, 0, std::move(what)}; }

}  // namespace

Result<void> Writer::State::check_whole() {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    // An empty tensor has all its bytes from the start.
    const auto& plan = shards_->layout().tensors[i];
    if (incoming_[i].is_empty() && !same_as_[i] && !plan.encoded && plan.size_bytes == 0) {
      CAIRN_CHECK(write_all(std::array{NamedBytes{specs_[i].name, {}}}, {.threads_max = 1}));
    }
    if (incoming_[same_as_[i].value_or(i)].is_whole()) continue;
    return invalid(prefix_.string() + ": tensor " + format::quoted(specs_[i].name) +
                   " does not have all its bytes");
  }
  return {};
}

Result<void> Writer::State::commit(const ExecOptions& exec) {
  CAIRN_CHECK(usable());
  CAIRN_CHECK(prepare());
  CAIRN_CHECK(check_whole());
  CAIRN_CHECK(os::unless_stopped(exec.stop));
  broken_ = true;  // whatever comes now: this writer is not for a second commit
  CAIRN_CHECK(shards_->sync());
  auto publisher = internal::Publisher::begin({directory_, base_, prefix_.string()},
                                              {options_.lock_wait, exec.stop});
  if (!publisher) {
    broken_ = false;  // but where nothing has happened yet
    return std::move(publisher).error();
  }
  CAIRN_CHECK(publish(*publisher));
  committed_ = true;
  return {};
}

Result<void> Writer::State::publish(internal::Publisher& publisher) {
  constexpr std::array kIndexes{internal::kCairnSuffix, internal::kTensorFlowSuffix};
  if (!options_.replace) CAIRN_CHECK(publisher.refuse(kIndexes));
  if (before_publishing_) CAIRN_CHECK(before_publishing_());
  if (stays_) CAIRN_CHECK(internal::check_unchanged(source().origin, directory_, prefix_.string()));
  warn_of_replaced();
  const internal::Target target{directory_, base_, prefix_.string()};
  const bool replaces = !internal::refuse_existing(target, kIndexes);
  const auto shards = static_cast<std::uint32_t>(shards_->temps().size());
  CAIRN_TRY(count, internal::free_shard_count(directory_, base_, shards));
  shards_->set_names(internal::shard_names(base_, shards, count));
  CAIRN_CHECK(add_indexes(publisher, count));
  std::vector<std::string_view> unwanted;
  if (!options_.tensorflow_index) unwanted.push_back(internal::kTensorFlowSuffix);
  if (!options_.cairn_index) unwanted.push_back(internal::kCairnSuffix);
  CAIRN_CHECK(publisher.publish(shards_->temps(), {unwanted}));
  if (auto warning = publisher.warning()) warnings_.push_back(*std::move(warning));
  if (replaces) warn_of_kept();
  return {};
}

std::vector<format::TensorFacts> Writer::State::tensor_facts() const {
  std::vector<format::TensorFacts> tensors(specs_.size());
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const internal::Sums& sums = incoming_[same_as_[i].value_or(i)].sums();
    const internal::PlannedTensor& plan = shards_->layout().tensors[same_as_[i].value_or(i)];
    format::TensorFacts& facts = tensors[i];
    facts.name = specs_[i].name;
    facts.dtype = specs_[i].dtype;
    facts.opaque_dtype = specs_[i].opaque.name;
    facts.opaque_bits = specs_[i].opaque.bits;
    facts.opaque_block = {specs_[i].opaque.block_elements, specs_[i].opaque.block_bytes};
    facts.shape = specs_[i].shape;
    facts.encoding = format::encoding_of(facts.dtype);
    facts.span = {plan.shard, plan.offset_bytes, plan.size_bytes, sums.crc32c};
    facts.chunk_crc32cs = sums.chunk_crc32cs;
    facts.content_hash = sums.content_hash;
  }
  return tensors;
}

format::IndexFacts Writer::State::index_facts(std::uint32_t shard_count) const {
  format::IndexFacts facts;
  facts.step = options_.step;
  facts.created_ns = created_ns_.value_or(os::now_ns());
  facts.producer = "cairn " + std::string(version());
  facts.chunk_bytes = internal::kChunkBytes;
  facts.metadata = options_.metadata;
  std::ranges::sort(facts.metadata);
  facts.safetensors_metadata = options_.safetensors_metadata;
  facts.bundle.num_shards = static_cast<std::int32_t>(shard_count);
  facts.tensors = tensor_facts();
  return facts;
}

// What the checkpoint that is there has, and this one has not.
void Writer::State::warn_of_replaced() {
  const auto goes = internal::replaced_tensors(directory_, base_, specs_);
  if (goes && goes->empty()) return;
  warnings_.push_back(prefix_.string() + ": replaced another checkpoint" +
                      (goes ? ": " + internal::first_of(*goes)
                            : ", whose tensors are not known: " + goes.error().what));
}

// Files of that one that a new one has not: a shard that was exported, and a graph.
void Writer::State::warn_of_kept() {
  std::vector<std::string_view> suffixes{internal::kSafetensorsSuffix};
  if (options_.meta_graph.empty()) suffixes.push_back(internal::kMetaSuffix);
  for (std::string& warning :
       internal::stale_beside({directory_, base_, prefix_.string()}, suffixes))
    warnings_.push_back(std::move(warning));
}

Result<void> Writer::State::add_indexes(internal::Publisher& publisher, std::uint32_t shard_count) {
  format::IndexFacts facts = index_facts(shard_count);
  CAIRN_TRY(shards, shards_->facts());
  facts.shards = std::move(shards);
  if (!options_.meta_graph.empty())
    CAIRN_CHECK(publisher.add(internal::kMetaSuffix, format::as_bytes(options_.meta_graph)));
  if (options_.tensorflow_index) {
    const auto index = internal::encode_bundle(facts.bundle, facts.tensors);
    if (!index) return invalid(prefix_.string() + ": " + index.error().what);
    CAIRN_TRY(file, publisher.add(internal::kTensorFlowSuffix, format::as_bytes(*index)));
    CAIRN_TRY(info, file->info());
    facts.tensorflow_index = {true, internal::identity_of(info),
                              format::xxh3_128(format::as_bytes(*index))};
  }
  if (!options_.cairn_index) return {};
  const auto bytes = format::encode_index(facts);
  if (!bytes) return invalid(prefix_.string() + ": " + bytes.error().what);
  CAIRN_CHECK(publisher.add(internal::kCairnSuffix, *bytes));
  return {};
}

}  // namespace cairn
