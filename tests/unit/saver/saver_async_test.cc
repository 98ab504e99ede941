// A save in the background that copies: the copies, and the memory in which they lie.

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/le.h"
#include "lib/saver/pending.h"
#include "tests/unit/saver/saver_parts.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;

constexpr std::uint64_t kMiB = 1u << 20;

// Tensors of many sizes, among them none at all and one over several pieces of a copy.
struct Weights {
  std::vector<std::string> bytes;
  std::vector<std::string> words{"", "one", std::string(100'000, 'w')};
  std::vector<std::string_view> views;
  std::vector<NamedTensor> tensors;

  explicit Weights(char letter) {
    views.assign(words.begin(), words.end());
    for (const std::size_t size : {std::size_t{0}, std::size_t{13'000'001}, std::size_t{7},
                                   std::size_t{0}, std::size_t{4'194'304}, std::size_t{999}})
      bytes.emplace_back(size, letter);
    for (std::size_t i = 0; i < bytes.size(); ++i)
      tensors.push_back(
          {{"t" + std::to_string(i), DType::Uint8, {static_cast<std::int64_t>(bytes[i].size())}},
           format::as_bytes(bytes[i]),
           {}});
    tensors.push_back({{"words", DType::String, {3}}, {}, views});
  }
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  void overwrite(char letter) {
    for (std::string& each : bytes) std::ranges::fill(each, letter);
    for (std::string& each : words) std::ranges::fill(each, letter);
  }
};

void check_holds(const std::filesystem::path& prefix, char letter) {
  const auto values = test::values_at(prefix);
  REQUIRE_MESSAGE(values, refusal(values));
  CHECK(values->at("t0").bytes.empty());
  CHECK(values->at("t1").bytes == std::string(13'000'001, letter));
  CHECK(values->at("t2").bytes == std::string(7, letter));
  CHECK(values->at("t4").bytes == std::string(4'194'304, letter));
  CHECK(values->at("t5").bytes == std::string(999, letter));
  CHECK(has(values->at("words").bytes, ":" + std::string(100'000, 'w')));
}

SaveOptions step_of(std::int64_t step) {
  SaveOptions what;
  what.step = step;
  return what;
}

TEST_CASE(
    "copied saves in a row each hold what the tensors held at the call, whatever may be copied") {
  constexpr std::uint64_t kNoLimit = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t limit : {std::uint64_t{0}, std::uint64_t{5'000'000}, kNoLimit}) {
    for (const auto idle_max : {std::chrono::milliseconds(0), SaverOptions().idle_max}) {
      Sandbox box;
      SaverOptions options;
      options.staging_bytes_max = limit;
      options.idle_max = idle_max;
      auto saver = Saver::open(box.root(), options);
      std::vector<PendingSave> pending;
      for (int step = 0; step < 3; ++step) {
        Weights weights(static_cast<char>('a' + step));
        auto begun = saver->save_async("m", weights.tensors, Saver::Memory::Copy, step_of(step));
        REQUIRE_MESSAGE(begun, refusal(begun));
        weights.overwrite('-');
        pending.push_back(*begun);
      }
      for (const PendingSave& each : pending) CHECK_MESSAGE(each.wait(), refusal(each.wait()));
      for (int step = 0; step < 3; ++step)
        check_holds(box / ("m-" + std::to_string(step)), static_cast<char>('a' + step));
    }
  }
}

TEST_CASE("a Saver that goes away, or is moved, while a copied save runs keeps the copies for it") {
  Sandbox box;
  std::optional<PendingSave> pending;
  {
    auto saver = Saver::open(box.root());
    Weights weights('a');
    pending = *saver->save_async("m", weights.tensors, Saver::Memory::Copy);
    weights.overwrite('-');
    const Saver moved = *std::move(saver);
  }
  CHECK(pending->done());
  CHECK(pending->wait());
  check_holds(box / "m", 'a');
}

TEST_CASE(
    "the memory for copies stays, grows if it must, and is never more than there is to spare") {
  internal::StagingMemory memory;
  CHECK(memory.take(0).empty());
  const auto first = memory.take(kMiB);
  REQUIRE(first.size() == kMiB);
  CHECK(memory.take(kMiB / 2).data() == first.data());
  CHECK(memory.take(kMiB / 2).size() == kMiB / 2);
  CHECK(memory.take(kMiB).data() == first.data());
  CHECK(memory.take(3 * kMiB).size() == 3 * kMiB);
  const auto all = memory.take(std::numeric_limits<std::uint64_t>::max());
  CHECK(all.size() >= 3 * kMiB);
  CHECK(all.size() < std::uint64_t{1} << 50);
}

}  // namespace
}  // namespace cairn
