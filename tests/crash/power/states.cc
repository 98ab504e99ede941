#include "states.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace power {
namespace {

// What file systems do not survive torn within, whatever lies in their files: there a cut at 512
// bytes falls on the block's edge instead. ext4's superblock has its checksum in its second sector;
// XFS replays no metadata block whose first sector says that it is newer than the log's.
bool stays_whole(const Entry& at_block) {
  if (at_block.offset_bytes == 0 || at_block.bytes.size() < 4) return at_block.offset_bytes == 0;
  const std::string_view magic(reinterpret_cast<const char*>(at_block.bytes.data()), 4);
  constexpr std::array<std::string_view, 8> kXfs{"XDB3", "XDD3", "AB3B", "AB3C",
                                                 "IAB3", "FIB3", "RMB3", "R3FC"};
  return std::ranges::find(kXfs, magic) != kXfs.end();
}

std::uint64_t to_edge(const Entry& rest, Tear tear) {
  constexpr auto kBlockBytes = static_cast<std::uint64_t>(Tear::Block);
  const bool at_block = rest.offset_bytes % kBlockBytes == 0;
  const auto grain_bytes =
      at_block && stays_whole(rest) ? kBlockBytes : static_cast<std::uint64_t>(tear);
  return grain_bytes - rest.offset_bytes % grain_bytes;
}

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
  std::vector<Entry> pieces;
  for (Entry rest : writes) {
    while (!rest.bytes.empty()) {
      const std::size_t size_bytes =
          std::min<std::uint64_t>(to_edge(rest, tear), rest.bytes.size());
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
