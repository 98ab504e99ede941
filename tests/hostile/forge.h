#pragma once

// Indexes that no writer would write, their digests right.

#include <string>

#include "format/cairn/index.h"
#include "format/cairn/index_layout.h"
#include "sandbox.h"

namespace cairn::test {

// The checkpoint's P.cairn, its first shard under this name.
inline std::string index_naming(const fs::path& prefix, const std::string& name) {
  const std::string text = read_file(prefix.string() + ".cairn");
  std::vector<std::byte> bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  const auto view = format::IndexView::decode(bytes);
  if (!view) throw std::runtime_error(view.error().what);
  format::IndexFacts facts = view->facts();
  facts.shards[0].name = name;
  const auto encoded = format::index::encode_unchecked(facts);
  if (!encoded) throw std::runtime_error(encoded.error().what);
  return std::string(format::as_text(*encoded));
}

}  // namespace cairn::test
