#pragma once

// What the numbers of a tensor are like.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "cairn/checkpoint.h"

namespace cairn::tools {

struct Statistics {
  std::uint64_t count = 0;  // elements
  std::uint64_t zeros = 0;  // negative ones too
  std::uint64_t nans = 0;
  std::uint64_t infinities = 0;  // of either sign
  // Of the finite elements; nothing: there is none.
  std::optional<double> mean;
  double deviation = 0;  // the standard deviation, as numpy's std: divided by the count
  double least = 0;
  double most = 0;
  std::string least_text;  // as `cairn cat` prints it: exact, whatever the dtype
  std::string most_text;
};

// Whether the elements are real numbers that are known: no strings, no complex numbers, no types of
// which only the name is known.
bool has_statistics(const Tensor& tensor);

// Of all elements; the threads do not change the numbers. Errors: those of Tensor::read. Memory:
// that of the tensor, if its elements cannot be used where they are mapped.
Result<Statistics> statistics_of(const Tensor& tensor, unsigned threads);

// Runs `work` for each number below `count`, on so many threads. What one of them throws is thrown
// when all have ended.
void for_each_parallel(std::size_t count, unsigned threads,
                       const std::function<void(std::size_t)>& work);

}  // namespace cairn::tools
