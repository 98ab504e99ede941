#pragma once

// Facts for the tests of Cairn's index.

#include <cstddef>
#include <random>
#include <string>
#include <vector>

#include "format/cairn/index.h"
#include "format/facts.h"

namespace cairn::format {

// Two scalars in one universal shard: the index that FORMAT.md shows byte by byte.
IndexFacts walk_facts();

// One of everything.
IndexFacts rich_facts();

// One of everything that is announced as a feature.
IndexFacts featured_facts();

// Valid facts of any kind.
IndexFacts random_facts(std::mt19937_64& random);

// The bytes of facts that must be valid.
std::vector<std::byte> encode(const IndexFacts& facts);

// Makes the digest (and the body's size in the header) fit the bytes again.
void repair(std::vector<std::byte>& file);

}  // namespace cairn::format
