#pragma once

// The swaps of a server, as it saw them.

#include <deque>
#include <mutex>
#include <stop_token>
#include <string>

#include "models.h"

class History {
 public:
  // Notes the last swap of `models`, if it was not noted yet. The server looks before each swap, so
  // that none is left out.
  void look(const Models& models);

  // Looks 20 times a second until stop is requested.
  void follow(const Models& models, std::stop_token stop);

  std::string json() const;  // newest first

 private:
  struct Swap {
    cairn::LiveStatus after;
    std::chrono::system_clock::time_point at;
    std::string_view why;
  };
  void note(const cairn::LiveStatus& status);

  static constexpr std::size_t kSwapsMax = 100;

  mutable std::mutex mutex_;
  std::deque<Swap> swaps_;
};
