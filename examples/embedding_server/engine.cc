// Words are separated by spaces. A word selects the row with the number FNV-1a(word) mod rows.

#include "engine.h"

#include <algorithm>
#include <cstdint>

cairn::Result<Engine> Engine::open(const cairn::Checkpoint& checkpoint, std::string_view tensor) {
  auto found = checkpoint.tensor(tensor);
  if (!found) return found.error();
  auto table = found->as<float>();
  if (!table) return table.error();
  const auto shape = found->shape();
  if (shape.size() != 2 || table->empty())
    return cairn::Error{cairn::Code::Invalid, 0,
                        std::string(tensor) + ": the table must be float32 [rows, width]"};
  return Engine(*table, static_cast<std::size_t>(shape[1]));
}

std::vector<float> Engine::embed(std::string_view text) const {
  std::vector<double> sum(width_);
  std::size_t count = 0;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (word.empty()) continue;
    std::uint64_t hash = 0xcbf29ce484222325;
    for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    const auto row = table_.subspan(hash % (table_.size() / width_) * width_, width_);
    std::transform(row.begin(), row.end(), sum.begin(), sum.begin(),
                   [](float value, double so_far) { return so_far + double{value}; });
    ++count;
  }
  std::vector<float> mean(width_);
  if (count == 0) return mean;
  std::transform(sum.begin(), sum.end(), mean.begin(), [&](double value) {
    return static_cast<float>(value / static_cast<double>(count));
  });
  return mean;
}
