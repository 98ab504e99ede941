#pragma once

// Giving back the pages of a generation that nobody uses, slice by slice: first those in the page
// table of this process, and then those in the page cache of files that nothing else of Live uses.
// Unmapping everything at once would hold the lock of the address space for all of it.

#include <cstdint>
#include <functional>

#include "lib/live/generation.h"

namespace cairn::internal {

class PageRelease {
 public:
  // Takes over a holder of `generation`. `ends`: it is the last one, and the model goes too.
  PageRelease(Generation* generation, bool ends) noexcept : generation_(generation), ends_(ends) {}
  PageRelease(const PageRelease&) = delete;
  PageRelease& operator=(const PageRelease&) = delete;
  ~PageRelease() { let_go(generation_); }

  const Generation* generation() const noexcept { return generation_; }
  bool ends() const noexcept { return ends_; }

  // `is_used`: whether the file of another generation is this one. False: there was nothing left
  // to do.
  bool step(const std::function<bool(const SeenFile&)>& is_used);

 private:
  Generation* generation_;
  bool ends_;
  std::uint32_t shard_ = 0;
  std::uint64_t offset_bytes_ = 0;
};

}  // namespace cairn::internal
