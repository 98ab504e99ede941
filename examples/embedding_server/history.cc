// cairn::Live has counters and no list; a status that differs from the one before is a swap.

#include "history.h"

#include <chrono>
#include <thread>

#include "json.h"

void History::look(const Models& models) {
  if (const auto status = models.status()) note(*status);
}

void History::follow(const Models& models, std::stop_token stop) {
  while (!stop.stop_requested()) {
    look(models);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

void History::note(const cairn::LiveStatus& status) {
  const std::lock_guard lock(mutex_);
  const bool first = swaps_.empty();
  if (first ? status.generation == 0
            : status.swap_count == swaps_.front().after.swap_count &&
                  status.rollback_count == swaps_.front().after.rollback_count)
    return;
  const bool back = !first && status.rollback_count != swaps_.front().after.rollback_count;
  swaps_.push_front({status, back ? std::chrono::system_clock::now() : status.last_swap_at,
                     back    ? "rollback"
                     : first ? "the first checkpoint"
                             : "a newer checkpoint"});
  if (swaps_.size() > kSwapsMax) swaps_.pop_back();
}

std::string History::json() const {
  const auto seconds = [](std::chrono::nanoseconds time) {
    return json_number(std::chrono::duration<double>(time).count());
  };
  const std::lock_guard lock(mutex_);
  return json_array(swaps_, [&](const Swap& swap) {
    std::string out = "{\"at\":" + seconds(swap.at.time_since_epoch()) +
                      ",\"generation\":" + std::to_string(swap.after.generation) +
                      ",\"prefix\":" + json_string(swap.after.prefix.string()) +
                      ",\"why\":" + json_string(swap.why);
    if (swap.why != "rollback")
      out += ",\"open_seconds\":" + seconds(swap.after.last_swap.open) +
             ",\"check_seconds\":" + seconds(swap.after.last_swap.check) +
             ",\"populate_seconds\":" + seconds(swap.after.last_swap.populate);
    return out + "}";
  });
}
