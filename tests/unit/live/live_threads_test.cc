#include <doctest/doctest.h>

#include <atomic>
#include <stop_token>
#include <thread>
#include <vector>

#include "cairn/live.h"
#include "tests/unit/live/live_parts.h"

namespace cairn {
namespace {

using test::milliseconds;
using test::NumberedSaver;
using test::open_live;
using test::quick;
using test::Sandbox;
using test::status_of;

// What a request sees: a snapshot whose elements are all those of the checkpoint that it names.
bool is_one_model(const Snapshot& snapshot) {
  const int number = test::number_in(snapshot);
  return snapshot.checkpoint().step() == number;
}

TEST_CASE("readers in four threads see whole checkpoints while others replace them") {
  const Sandbox dir;
  NumberedSaver saver(dir.root());
  saver.save(1);
  Live live = open_live(dir.root());
  REQUIRE(test::poll_until(live, [&] { return static_cast<bool>(live.current()); }));
  std::atomic<bool> ends = false;
  std::atomic<int> bad = 0;
  std::atomic<std::uint64_t> reads = 0;
  const auto read = [&] {
    std::uint64_t last = 0;
    Snapshot kept = live.current();
    while (!ends) {
      Snapshot snapshot = live.current();
      if (!is_one_model(snapshot)) ++bad;
      last = std::max(last, snapshot.generation());
      if (++reads % 64 == 0) {
        if (!is_one_model(kept)) ++bad;
        kept = std::move(snapshot);
      }
      std::this_thread::sleep_for(std::chrono::microseconds(200));  // leaves idle time
    }
  };
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) readers.emplace_back(read);
  {
    const std::jthread poller([&](const std::stop_token& stop) { live.run(stop); });
    const std::jthread asker([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        (void)live.status();
        std::this_thread::sleep_for(milliseconds(1));
      }
    });
    for (int number = 2; number <= 40; ++number) {
      saver.save(number);
      if (number % 10 == 0) (void)live.rollback();
    }
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (status_of(live).swap_count < 5 && std::chrono::steady_clock::now() < end)
      std::this_thread::sleep_for(milliseconds(1));
  }
  ends = true;
  for (std::thread& each : readers) each.join();
  CHECK(bad == 0);
  CHECK(reads > 0);
  CHECK(status_of(live).swap_count >= 5);
}

}  // namespace
}  // namespace cairn
