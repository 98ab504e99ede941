#include "lib/edit/pattern.h"

#include <re2/re2.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "format/limits.h"
#include "format/quoted.h"
#include "format/safetensors/header.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

using format::safetensors::is_utf8;
using re2::RE2;

std::unique_ptr<RE2> compiled(const std::string& expression, RE2::Options::Encoding encoding) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_encoding(encoding);
  return std::make_unique<RE2>(expression, options);
}

Error refusal(const std::string& expression, const RE2& compiled) {
  const std::string quoted = format::quoted(expression);
  const std::string& part = compiled.error_arg();
  const bool behind =
      expression.find("(?<=") != std::string::npos || expression.find("(?<!") != std::string::npos;
  const bool look_around = part == "(?=" || part == "(?!" || (part == "(?<" && behind);
  const bool back_reference =
      part.size() == 2 && part[0] == '\\' && part[1] >= '1' && part[1] <= '9';
  if (look_around || back_reference) {
    return Error{
        Code::Unsupported, 0,
        quoted + ": " + format::quoted(part) + " is " +
            (look_around ? "look-around" : "a back-reference") +
            ", which regular expressions of RE2 do not have; rename by full names instead (--map)"};
  }
  std::string why = compiled.error();
  if (compiled.error_code() == RE2::ErrorRepeatSize) why += "; the limit is 1000";
  if (part.starts_with("(?<") && !behind)
    why += "; write a named group as (?P<name>...), and use $1 for the first group";
  return Error{Code::Invalid, 0, quoted + " is not a regular expression: " + why};
}

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

// Whether the text begins as a group does in other languages' replacements: \1, ${1}, $<name>. No
// tensor is named so, and its writer would not see that the text was taken as it is.
bool is_foreign_group(std::string_view text) noexcept {
  if (text.size() < 2) return false;
  return text[0] == '\\' ? is_digit(text[1]) : text[0] == '$' && (text[1] == '{' || text[1] == '<');
}

// Where the character that begins here ends; each byte where the text is not UTF-8.
std::size_t character_end(std::string_view text, std::size_t begin, bool utf8) noexcept {
  std::size_t end = begin + 1;
  while (utf8 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) ++end;
  return end;
}

}  // namespace

Pattern::Pattern() noexcept = default;
Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

// As in ECMAScript: $1 to $99, of which the second digit counts where there are so many groups, $&
// and $$; a dollar before anything else is a dollar.
Result<std::vector<Pattern::Part>> Pattern::parts_of(const NameChange& change, int groups) {
  const std::string_view text = change.to;
  const auto error = [&](Code code, const std::string& what) {
    return Error{code, 0,
                 format::quoted(change.to) + ", which replaces " + format::quoted(change.from) +
                     ": " + what};
  };
  std::vector<Part> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (is_foreign_group(text.substr(i))) {
      return error(Code::Invalid, format::quoted(text.substr(i, 2)) +
                                      " is not a group: use $1 for the first group, $& for the "
                                      "whole match, $$ for a dollar");
    }
    const char next = text[i] == '$' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next == '`' || next == '\'')
      return error(Code::Unsupported,
                   "the text before or after a match cannot be used; use groups ($1, $2, …)");
    if (next == '$' || next == '&') {
      if (next == '$') parts.back().text += '$';
      if (next == '&') parts.back().group = 0;
      if (next == '&') parts.emplace_back();
      ++i;
    } else if (is_digit(next)) {
      int group = next - '0';
      ++i;
      const int longer = i + 1 < text.size() && is_digit(text[i + 1])
                             ? group * 10 + (text[i + 1] - '0')
                             : groups + 1;
      if (longer <= groups) {
        group = longer;
        ++i;
      }
      if (group == 0 || group > groups) {
        return error(Code::Invalid, "there is no group $" + std::to_string(group) +
                                        ", because the expression has " + std::to_string(groups) +
                                        " groups");
      }
      parts.back().group = group;
      parts.emplace_back();
    } else {
      parts.back().text += text[i];
    }
  }
  return parts;
}

Result<Pattern> Pattern::compile(const NameChange& change) {
  Pattern pattern;
  pattern.bytes_ = compiled(change.from, RE2::Options::EncodingLatin1);
  if (is_utf8(change.from)) {
    pattern.characters_ = compiled(change.from, RE2::Options::EncodingUTF8);
    if (!pattern.characters_->ok()) return refusal(change.from, *pattern.characters_);
  }
  if (!pattern.bytes_->ok()) return refusal(change.from, *pattern.bytes_);
  CAIRN_TRY(parts, parts_of(change, pattern.bytes_->NumberOfCapturingGroups()));
  pattern.replacement_ = std::move(parts);
  return pattern;
}

std::optional<std::string> Pattern::replaced(std::string_view name) const {
  const bool utf8 = characters_ != nullptr && is_utf8(name);
  const RE2& expression = utf8 ? *characters_ : *bytes_;
  const re2::StringPiece text(name.data(), name.size());
  std::vector<re2::StringPiece> groups(
      static_cast<std::size_t>(expression.NumberOfCapturingGroups()) + 1);
  std::string result;
  bool matched = false;
  std::size_t from = 0;  // what is before is in the result
  while (from <= name.size() && expression.Match(text, from, name.size(), RE2::UNANCHORED,
                                                 groups.data(), static_cast<int>(groups.size()))) {
    matched = true;
    const auto begin = static_cast<std::size_t>(groups[0].data() - name.data());
    result += name.substr(from, begin - from);
    for (const Part& part : replacement_) {
      result += part.text;
      if (part.group < 0) continue;
      const re2::StringPiece& group = groups[static_cast<std::size_t>(part.group)];
      result.append(group.data() == nullptr ? "" : group.data(), group.size());
    }
    from = begin + groups[0].size();
    if (!groups[0].empty()) continue;
    // After an empty match one character goes as it is.
    const std::size_t end = character_end(name, from, utf8);
    result += name.substr(std::min(from, name.size()), end - from);
    from = end;
  }
  if (!matched) return std::nullopt;
  if (from < name.size()) result += name.substr(from);
  return result;
}

}  // namespace cairn::internal
