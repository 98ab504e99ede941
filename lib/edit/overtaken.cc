#include "lib/edit/overtaken.h"

#include <algorithm>

#include "format/cairn/index.h"
#include "format/quoted.h"
#include "lib/edit/fit.h"
#include "lib/open/load.h"
#include "lib/open/recoverable.h"
#include "lib/read/names.h"
#include "lib/write/remarks.h"

namespace cairn::internal {
namespace {

bool has(const format::KeyValues& pairs, std::string_view key) {
  return std::ranges::any_of(pairs, [&](const auto& pair) { return pair.first == key; });
}

// A sentence's part for each thing that the index knows and the facts do not.
std::vector<std::string> known_beyond(const format::IndexView& index,
                                      const format::IndexFacts& facts) {
  std::vector<std::string> beyond;
  for (std::size_t i = 0; i < index.tensor_count(); ++i) {
    const TensorSpec spec = spec_of(index.tensor(i));
    if (!std::ranges::binary_search(facts.tensors, spec.name, {}, &format::TensorFacts::name))
      beyond.push_back("tensor " + format::quoted(spec.name) + " (" + describe(spec) + ")");
  }
  for (std::size_t i = 0; i < index.metadata_count(); ++i) {
    const auto key = index.metadata(i).first;
    if (!is_bookkeeping(key) && key != format::kPinnedKey && !has(facts.metadata, key))
      beyond.push_back("metadata " + format::quoted(key));
  }
  for (std::size_t i = 0; i < index.safetensors_metadata_count(); ++i) {
    const auto [key, value] = index.safetensors_metadata(i);
    if (!is_made_anew(key, value) && !has(facts.safetensors_metadata, key))
      beyond.push_back("__metadata__ " + format::quoted(key));
  }
  return beyond;
}

void warn(const Location& location, const Result<OwnIndex>& own, const format::IndexFacts& facts,
          std::vector<std::string>& warnings) {
  if (!own) {
    warnings.push_back(own.error().what + "; it was not used; what only it held (" +
                       std::string(kHeldByOwnAlone) + ") is not known, and is lost");
    return;
  }
  const auto beyond = known_beyond(own->index, facts);
  if (beyond.empty()) return;
  warnings.push_back(location.prefix.string() + std::string(kCairnSuffix) +
                     ": was not used; what only it held is lost: " + first_of(beyond));
}

}  // namespace

void warn_of_overtaken(const Location& location, const format::IndexFacts& facts,
                       std::vector<std::string>& warnings) {
  if (location.has(kCairnSuffix)) warn(location, load_own_index(location), facts, warnings);
}

Result<void> replace_overtaken(const Location& location, format::IndexFacts& facts,
                               std::vector<std::string>& warnings) {
  if (!location.has(kCairnSuffix)) return {};
  const auto own = load_own_index(location);
  if (!own && may_pass(own.error())) return own.error();
  const auto pin =
      own ? own->index.metadata(format::kPinnedKey) : std::optional<std::string_view>();
  if (pin && !has(facts.metadata, format::kPinnedKey)) {
    facts.metadata.emplace_back(format::kPinnedKey, *pin);
    std::ranges::sort(facts.metadata);
  }
  warn(location, own, facts, warnings);
  return {};
}

}  // namespace cairn::internal
