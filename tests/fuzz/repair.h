#pragma once

// Sums made good again after a mutation: else every decoder would stop at its first check.

#include <string>

namespace cairn::fuzz {

// The digest and the size in the header of P.cairn.
void repair_index(std::string& file);

// The sums of all blocks of a table that its footer and its index lead to.
void repair_table(std::string& file);

// Mutates one entry's key or value and writes the table anew; where the file is no table, or now
// and then, its bytes instead, and makes their sums good.
std::string mutated_table(std::string file, std::size_t max_size, unsigned seed);

}  // namespace cairn::fuzz
