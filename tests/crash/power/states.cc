#include "states.h"

#include <algorithm>

namespace power {
namespace {

// ext4's superblock spans two sectors, and its checksum lies in the second: torn, it takes the
// whole file system with it, whatever lies there. So it stays whole.
constexpr std::uint64_t kSuperblockOffset = 1024;
constexpr std::uint64_t kSuperblockBytes = 1024;

// The choices that have broken programs before: an order kept but cut short, one write late, one
// write early.
std::vector<Choice> telling_choices(std::size_t pieces) {
  std::vector<Choice> choices;
  for (std::size_t i = 1; i < pieces; ++i) {
    Choice prefix(pieces, false);
    std::fill_n(prefix.begin(), i, true);
    choices.push_back(std::move(prefix));
  }
  for (const bool others : {true, false}) {
    for (std::size_t i = 0; i < pieces; ++i) {
      Choice choice(pieces, others);
      choice[i] = !others;
      choices.push_back(std::move(choice));
    }
  }
  return choices;
}

Choice random_choice(std::size_t pieces, std::mt19937_64& random) {
  // Many and few arrive equally often.
  const std::uint64_t threshold = random() >> 1;
  Choice choice(pieces);
  for (std::size_t i = 0; i < pieces; ++i) choice[i] = (random() >> 1) < threshold;
  return choice;
}

}  // namespace

std::vector<Entry> cut(std::span<const Entry> writes, Tear tear) {
  if (tear == Tear::No) return {writes.begin(), writes.end()};
  const auto grain_bytes = static_cast<std::uint64_t>(tear);
  std::vector<Entry> pieces;
  for (Entry rest : writes) {
    while (!rest.bytes.empty()) {
      std::uint64_t to_edge = grain_bytes - rest.offset_bytes % grain_bytes;
      if (rest.offset_bytes == kSuperblockOffset)
        to_edge = std::max<std::uint64_t>(to_edge, kSuperblockBytes);
      const std::size_t size_bytes = std::min<std::uint64_t>(to_edge, rest.bytes.size());
      pieces.push_back({Event::Write, rest.offset_bytes, rest.bytes.first(size_bytes)});
      rest.offset_bytes += size_bytes;
      rest.bytes = rest.bytes.subspan(size_bytes);
    }
  }
  return pieces;
}

bool exhaustible(std::size_t pieces, std::size_t count_max) {
  return pieces < 20 && (std::size_t{1} << pieces) <= count_max;
}

void for_each_choice(std::size_t pieces, std::size_t count_max, std::mt19937_64& random,
                     const std::function<void(const Choice&)>& look) {
  if (exhaustible(pieces, count_max)) {
    for (std::uint64_t mask = 0; mask >> pieces == 0; ++mask) {
      Choice choice(pieces);
      for (std::size_t i = 0; i < pieces; ++i) choice[i] = (mask >> i & 1) != 0;
      look(choice);
    }
    return;
  }
  std::vector<Choice> choices = telling_choices(pieces);
  std::shuffle(choices.begin(), choices.end(), random);
  choices.resize(std::min(choices.size(), (count_max + 1) / 2));
  while (choices.size() < count_max) choices.push_back(random_choice(pieces, random));
  for (const Choice& choice : choices) look(choice);
}

}  // namespace power
