#include "table.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "output.h"
#include "terminal.h"

namespace cairn::tools {
namespace {

constexpr std::size_t kGap = 2;
constexpr std::size_t kFirstMin = 16;

std::size_t line_width_of(const std::vector<std::size_t>& widths) {
  return std::accumulate(widths.begin(), widths.end(), std::size_t{0}) + kGap * (widths.size() - 1);
}

}  // namespace

Table::Table(std::vector<Column> columns) : columns_(std::move(columns)) {
  for (const Column& column : columns_) widths_.push_back(character_count(column.heading));
}

void Table::add(std::vector<std::string> cells) {
  for (std::size_t i = 0; i < cells.size(); ++i)
    widths_[i] = std::max(widths_[i], character_count(cells[i]));
  rows_.push_back(std::move(cells));
}

void Table::print(std::size_t columns_min) const {
  std::vector<std::size_t> widths = widths_;
  if (const auto room = terminal_width()) {
    while (line_width_of(widths) > *room && widths.size() > columns_min) widths.pop_back();
    const std::size_t others = line_width_of(widths) - widths.front();
    const std::size_t left = *room > others ? *room - others : 0;
    widths.front() = std::min(widths.front(), std::max(left, kFirstMin));
  }
  const auto line_of = [&](const auto& text_of) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string cell = shortened(text_of(i), widths[i]);
      const std::string padding(widths[i] - character_count(cell), ' ');
      line += columns_[i].is_number ? padding + cell : cell + padding;
      line.append(kGap, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
  };
  tools::print(heading(line_of([&](std::size_t i) { return columns_[i].heading; })) + "\n");
  for (const auto& cells : rows_)
    tools::print(line_of([&](std::size_t i) { return cells[i]; }) + "\n");
}

}  // namespace cairn::tools
