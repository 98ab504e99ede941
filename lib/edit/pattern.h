#pragma once

// Names changed by regular expressions, in time that is linear in the name.

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/edit.h"
#include "cairn/error.h"

namespace re2 {
class RE2;
}

namespace cairn::internal {

// An expression and what takes the place of its matches. Names are UTF-8 to it; a name that is not
// is matched byte by byte.
class Pattern {
 public:
  // Errors: Invalid (no regular expression; a group in the replacement that the expression does not
  // have), Unsupported (look-around, back-references: they need backtracking; what is before and
  // after a match).
  static Result<Pattern> compile(const NameChange& change);

  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;
  ~Pattern();

  // The name with each match replaced; nothing where there is no match. It ends where it is longer
  // than a name may be.
  std::optional<std::string> replaced(std::string_view name) const;

 private:
  // Of the replacement: text, and then a group, 0 for the whole match, -1 for none.
  struct Part {
    std::string text;
    int group = -1;
  };

  Pattern() noexcept;
  static Result<std::vector<Part>> parts_of(const NameChange& change, int groups);

  std::unique_ptr<re2::RE2> characters_;  // none where the expression is not UTF-8
  std::unique_ptr<re2::RE2> bytes_;
  std::vector<Part> replacement_;
};

}  // namespace cairn::internal
