// Keys of slices sort as what they encode, and no two are the same.

#include <fuzzer/FuzzedDataProvider.h>

#include <compare>
#include <tuple>

#include "format/tensorflow/bundle.h"
#include "fuzz.h"

using namespace cairn;

namespace {

struct Named {
  std::string name;
  std::vector<format::Extent> extents;
};

Named take(FuzzedDataProvider& data) {
  Named slice{data.ConsumeRandomLengthString(16), {}};
  const auto rank = data.ConsumeIntegralInRange<std::size_t>(0, 4);
  for (std::size_t i = 0; i < rank; ++i)
    slice.extents.push_back(
        {data.ConsumeIntegral<std::int64_t>(), data.ConsumeIntegral<std::int64_t>()});
  return slice;
}

std::strong_ordering order(const Named& a, const Named& b) {
  if (const int names = a.name.compare(b.name); names != 0) return names <=> 0;
  if (a.extents.size() != b.extents.size()) return a.extents.size() <=> b.extents.size();
  for (std::size_t i = 0; i < a.extents.size(); ++i) {
    const auto of = [&](const Named& slice) {
      return std::tuple(slice.extents[i].start, slice.extents[i].length);
    };
    if (of(a) != of(b)) return of(a) <=> of(b);
  }
  return std::strong_ordering::equal;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider provider(data, size);
  const Named a = take(provider);
  Named b = take(provider);
  if (provider.ConsumeBool()) b.name = a.name;
  const std::string key_a = format::tensorflow::slice_key(a.name, a.extents);
  const std::string key_b = format::tensorflow::slice_key(b.name, b.extents);
  fuzz::demand((key_a.compare(key_b) <=> 0) == order(a, b), "keys sort as what they encode");
  return 0;
}
