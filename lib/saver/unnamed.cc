// Shards that no index names.
//
// A publisher names its shards a moment before its indexes, and removes old ones a moment after, so
// a shard is taken for unnamed only if it is so at two looks, each of which lists the names first.

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <set>

#include "cairn/catalog.h"
#include "lib/os/file.h"
#include "lib/read/names.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/try.h"
#include "lib/write/publisher.h"

namespace cairn {
namespace {

// Adds what every index of the base names, and what somebody is about to publish there. false: an
// index cannot be read, and nobody knows.
Result<bool> add_named(const os::Directory& directory, std::span<const std::string> names,
                       const std::string& base, internal::ShardReferences& all) {
  CAIRN_TRY(references, internal::shard_references(directory, base));
  if (!references) return false;
  CAIRN_TRY(coming, internal::temporary_shard_references(directory, names, base));
  for (const internal::ShardReferences* each : {&*references, &coming}) {
    all.names.insert(each->names.begin(), each->names.end());
    all.counts.insert(each->counts.begin(), each->counts.end());
  }
  return true;
}

Result<std::set<std::string>> look_once(const os::Directory& directory) {
  CAIRN_TRY(names, directory.names());
  std::vector<std::string> temporaries;
  std::map<std::string, std::vector<std::string>> shards;  // by the base of their prefix
  for (const std::string& name : names) {
    if (os::is_temporary_name(name)) temporaries.push_back(name);
    const auto base = internal::base_of_file(name);
    if (base && internal::shard_number(name, *base)) shards[*base].push_back(name);
  }
  std::set<std::string> unnamed;
  for (auto& [base, files] : shards) {
    internal::ShardReferences references;
    CAIRN_TRY(known, add_named(directory, temporaries, base, references));
    const auto named = [&](const std::string& file) { return references.has(file, base); };
    if (!known || std::ranges::all_of(files, named)) continue;
    internal::add_opened(directory, base, references);
    std::ranges::copy_if(files, std::inserter(unnamed, unnamed.end()), std::not_fn(named));
  }
  return unnamed;
}

Result<std::vector<UnnamedShard>> look(const std::filesystem::path& dir) {
  CAIRN_TRY(directory, os::Directory::open(dir));
  CAIRN_TRY(first, look_once(directory));
  std::vector<UnnamedShard> shards;
  if (first.empty()) return shards;
  CAIRN_TRY(second, look_once(directory));
  for (const std::string& name : second) {
    CAIRN_TRY(info, directory.look(name));
    if (first.contains(name) && info) shards.push_back({dir / name, info->size_bytes});
  }
  return shards;
}

}  // namespace

Result<std::vector<UnnamedShard>> unnamed_shards(const std::filesystem::path& dir) noexcept {
  return at_boundary([&] { return look(dir); });
}

}  // namespace cairn
