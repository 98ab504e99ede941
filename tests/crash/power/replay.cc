// Cuts the power at every moment of a log, and looks at what is left.
//
//   power_replay BASE LOG SCRATCH TYPE OPTIONS GOLDEN WHOLE_MAX TORN_MAX SEED
//
// Between two flushes a drive may keep any of the writes, in any order: an epoch. For each epoch
// its choices are tried, at most WHOLE_MAX of them with writes that arrive whole, and at most
// TORN_MAX each with writes torn at 4 KiB and at 512 bytes. A state is the disk as the flushes left
// it, the writes of a choice on top: mounted, looked at, unmounted, put back. Whatever was done
// before the epoch's end must be there in all of them.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "block_log.h"
#include "host.h"
#include "image.h"
#include "oracle.h"
#include "states.h"

namespace {

namespace fs = std::filesystem;
using power::Choice;
using power::Entry;
using power::Event;
using power::Tear;

struct Limits {
  std::size_t whole_max;
  std::size_t torn_max;
  std::uint64_t seed;
};

struct Place {
  fs::path base;
  fs::path scratch;
  fs::path golden;
  power::MountAs as;
};

struct Counts {
  std::size_t epochs = 0;
  std::size_t exhausted = 0;  // epochs of which every choice was tried
  std::size_t states = 0;
  std::size_t lost = 0;   // states in which something was
  std::size_t wrong = 0;  // likewise
  std::size_t unmountable = 0;
};

class Replay {
 public:
  Replay(const Place& place, const Limits& limits)
      : mount_point_(place.scratch / "mnt"),
        as_(place.as),
        limits_(limits),
        random_(limits.seed),
        image_(place.base, place.scratch / "image"),
        device_(place.scratch / "image"),
        oracle_(place.golden, place.scratch / "view") {}

  void run(const std::vector<Entry>& entries);
  const Counts& counts() const { return counts_; }

 private:
  void explore(const std::vector<Entry>& writes);
  void look(const std::vector<Entry>& pieces, const Choice& choice, Tear tear);
  void complain(const std::string& what, const Choice& choice, Tear tear);

  fs::path mount_point_;
  power::MountAs as_;
  Limits limits_;
  std::mt19937_64 random_;
  power::Image image_;
  power::LoopDevice device_;
  power::Oracle oracle_;
  Counts counts_;
};

void Replay::run(const std::vector<Entry>& entries) {
  std::vector<Entry> writes;
  bool begun = false;  // before the first mark nothing is promised
  const auto end_epoch = [&] {
    if (begun) explore(writes);
    for (const Entry& write : writes) image_.recover_from_journal(write);
    writes.clear();
  };
  for (const Entry& entry : entries) {
    if (entry.event == Event::Write) writes.push_back(entry);
    if (entry.event == Event::Flush) end_epoch();
    if (entry.event != Event::Mark) continue;
    begun = true;
    oracle_.hear({reinterpret_cast<const char*>(entry.bytes.data()), entry.bytes.size()});
  }
  end_epoch();
}

void Replay::explore(const std::vector<Entry>& writes) {
  ++counts_.epochs;
  const bool exhausted = power::exhaustible(writes.size(), limits_.whole_max);
  counts_.exhausted += exhausted;
  if (!exhausted) look(writes, Choice(writes.size(), false), Tear::No);
  std::size_t coarser = 0;
  for (const Tear tear : {Tear::No, Tear::Block, Tear::Sector}) {
    const std::vector<Entry> pieces = power::cut(writes, tear);
    const std::size_t count_max = tear == Tear::No ? limits_.whole_max : limits_.torn_max;
    if (tear != Tear::No && pieces.size() == coarser) continue;  // nothing to tear
    coarser = pieces.size();
    power::for_each_choice(pieces.size(), count_max, random_,
                           [&](const Choice& choice) { look(pieces, choice, tear); });
  }
}

void Replay::look(const std::vector<Entry>& pieces, const Choice& choice, Tear tear) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (choice[i]) image_.write(pieces[i]);
  }
  device_.forget_cache();
  std::vector<power::Finding> findings;
  {
    as_.read_only = !oracle_.writes();
    const power::Mount mount(device_.path(), mount_point_, as_);
    if (mount.mounted()) {
      findings = oracle_.look(mount_point_);
    } else {
      ++counts_.unmountable;
      complain(std::string("cannot be mounted: ") + std::strerror(mount.error()), choice, tear);
    }
  }
  image_.restore();
  const auto any = [&](power::Verdict verdict) {
    return std::ranges::any_of(findings, [=](const auto& f) { return f.verdict == verdict; });
  };
  ++counts_.states;
  counts_.lost += any(power::Verdict::Lost);
  counts_.wrong += any(power::Verdict::Wrong);
  for (const power::Finding& finding : findings)
    complain((finding.verdict == power::Verdict::Lost ? "lost: " : "wrong: ") + finding.what,
             choice, tear);
}

// Enough to find the state again: the seed and the log give the rest.
void Replay::complain(const std::string& what, const Choice& choice, Tear tear) {
  constexpr std::size_t kComplaintsMax = 5;
  if (counts_.lost + counts_.wrong + counts_.unmountable > kComplaintsMax) return;
  std::string arrived;
  for (const bool piece : choice) arrived += piece ? '1' : '0';
  std::printf("epoch %zu, torn at %u, arrived %.200s: %s\n", counts_.epochs,
              static_cast<unsigned>(tear), arrived.c_str(), what.c_str());
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 10) {
    power::die("usage: power_replay BASE LOG SCRATCH TYPE OPTIONS GOLDEN WHOLE_MAX TORN_MAX SEED");
  }
  const auto number = [&](int i) { return std::strtoull(arguments[i], nullptr, 10); };
  power::end_with_parent();
  const fs::path scratch = arguments[3];
  fs::create_directories(scratch / "mnt");
  power::leave_mount_namespace();
  const std::vector<std::byte> log = power::read_file(arguments[2]);
  const Place place{arguments[1], scratch, arguments[6], {arguments[4], arguments[5]}};
  Replay replay(place, {number(7), number(8), number(9)});
  replay.run(power::entries_of(log));
  const Counts& counts = replay.counts();
  std::printf("epochs %zu exhausted %zu states %zu lost %zu wrong %zu unmountable %zu\n",
              counts.epochs, counts.exhausted, counts.states, counts.lost, counts.wrong,
              counts.unmountable);
  return 0;
}
