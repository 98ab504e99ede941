#pragma once

// What a save is to say beside what it does: which tensors an index leaves out, and which of the
// checkpoint that is there it does away with.

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/tensor.h"
#include "format/cairn/index.h"
#include "format/facts.h"
#include "lib/os/file.h"
#include "lib/write/publisher.h"

namespace cairn::internal {

// "float32 [2, 3]", "F8_E8M0 [4]".
std::string describe(const TensorSpec& spec);

// A sentence about the tensors of a new checkpoint that its P.index cannot hold, and P.cairn can;
// none, where it holds all.
std::vector<std::string> left_out_of_bundle(const std::string& prefix,
                                            std::span<const TensorSpec> specs);

// A P.index of those that it can hold.
format::Decoded<std::string> encode_bundle(const format::BundleHeader& header,
                                           std::span<const format::TensorFacts> tensors);

// What a checkpoint of these tensors, sorted by name, does away with where it takes the place of
// the one that has the base: a sentence for each tensor that would go, or be of another dtype or
// shape. Nothing where none is there. Errors: an index is there that cannot be read, so that nobody
// knows. Cost: O(index).
Result<std::vector<std::string>> replaced_tensors(const os::Directory& directory,
                                                  const std::string& base,
                                                  std::span<const TensorSpec> specs);

// Exists: replaced_tensors() is not nothing, or nobody knows. The specs are in any order.
Result<void> refuse_replaced_tensors(const Target& target, std::vector<TensorSpec> specs);

// A sentence for each file by one of these suffixes: what was under the prefix before had it, and
// what is there now has not brought its own.
std::vector<std::string> stale_beside(const Target& target,
                                      std::span<const std::string_view> suffixes);

// "A; B; and 3 more".
std::string first_of(std::span<const std::string> sentences);

}  // namespace cairn::internal
