#include "lib/edit/put.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "format/digest.h"
#include "format/le.h"
#include "format/tensorflow/bundle.h"
#include "lib/compat/load.h"
#include "lib/compat/publish.h"
#include "lib/compat/transfer.h"
#include "lib/edit/sums.h"
#include "lib/store/names.h"
#include "lib/store/shard_names.h"
#include "lib/try.h"

namespace cairn::edit {
namespace {

Result<compat::Destination> open_destination(const TransferOptions& options) {
  const auto parts = store::Prefix::of(options.output);
  if (options.output.empty()) return Error{Code::Invalid, 0, "an output prefix is needed"};
  CAIRN_TRY(directory, os::Directory::open_or_create(parts.directory));
  for (const std::string_view suffix : {store::kCairnSuffix, store::kTensorFlowSuffix}) {
    const std::string name = parts.base + std::string(suffix);
    if (options.replace || !directory.exists(name)) continue;
    return Error{
        Code::Exists, 0,
        options.output.string() + ": " + name + " is there; choose another output, or say replace"};
  }
  return compat::Destination{std::move(directory), parts.base, options.output, false};
}

// Names the shards. To replace a checkpoint they take names that none of its shards has, so that
// its indexes go on pointing at its bytes.
Result<std::uint32_t> name_shards(const compat::Destination& to, bool replace,
                                  format::IndexFacts& facts) {
  auto count = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(facts.shards.size()));
  if (replace) {
    CAIRN_TRY(free, store::free_shard_count(to.directory, to.base, count));
    count = free;
  }
  facts.bundle.num_shards = static_cast<std::int32_t>(count);
  for (std::uint32_t i = 0; i < facts.shards.size(); ++i)
    facts.shards[i].name = to.base + format::tensorflow::shard_suffix(i, count);
  return count;
}

}  // namespace

Result<Transfer> put(Composed composed, const TransferOptions& options) {
  CAIRN_TRY(to, open_destination(options));
  CAIRN_TRY(shard_count, name_shards(to, options.replace, composed.facts));
  CAIRN_CHECK(add_sums(composed, options.work));
  CAIRN_TRY(bundle, compat::encode_bundle({to.base, to.prefix}, composed.facts));
  std::vector<std::string> names;
  for (const format::ShardFacts& shard : composed.facts.shards) names.push_back(shard.name);
  Transfer transfer;
  transfer.prefix = to.prefix;
  transfer.notices = std::move(composed.notices);
  transfer.not_nameable = std::move(bundle.not_nameable);
  TransferOptions bringing = options;
  bringing.replace = false;  // the names are free, or have what a killed attempt left
  CAIRN_CHECK(compat::bring_shards(composed.files, names, to, bringing, transfer));
  for (std::size_t i = 0; i < names.size(); ++i) {
    CAIRN_TRY(shard, compat::open_shard(to.directory, names[i], false));
    if (!composed.doubtful[i]) composed.facts.shards[i].identity = shard.identity;
  }
  CAIRN_CHECK(compat::publish(to, std::move(composed.facts), format::as_bytes(bundle.bytes)));
  store::remove_other_shards(to.directory, to.base, shard_count);
  return transfer;
}

}  // namespace cairn::edit
