#pragma once

// Rows in columns, as `ls` and `stat` print them.

#include <cstddef>
#include <string>
#include <vector>

namespace cairn::tools {

struct Column {
  std::string heading;
  bool is_number = false;  // to the right
};

class Table {
 public:
  explicit Table(std::vector<Column> columns);

  // A cell for each column, in UTF-8, which nothing in it can make a terminal act on.
  void add(std::vector<std::string> cells);

  // On a terminal, columns that do not fit into a line are left out, the last ones first, but not
  // the first `columns_min`; if that is not enough, the first column loses the middle of its texts.
  void print(std::size_t columns_min) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::size_t> widths_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace cairn::tools
