#include "format/cairn/journal.h"

#include <charconv>
#include <optional>
#include <utility>

#include "format/digest.h"
#include "format/le.h"
#include "format/quoted.h"
#include "format/sentence.h"

namespace cairn::format {
namespace {

constexpr std::string_view kFirstLine = "cairn journal 1\n";
constexpr std::string_view kSumWord = "sum\t";
constexpr std::size_t kSumDigits = 32;

std::string sum_of(std::string_view text) { return hex(xxh3_128(as_bytes(text)).bytes); }

void add_checkpoint(std::string& text, const JournalCheckpoint& what) {
  text += sentence(one_line(what.base), "\n");
  for (const JournalFile& file : what.files) {
    text += sentence("file\t", file.identity.size_bytes, "\t", file.identity.mtime_ns, "\t",
                     file.identity.inode, "\t", file.ctime_ns, "\t", one_line(file.name), "\n");
  }
}

// What stands before the next `end`, which is taken too. Nothing: there is none.
std::optional<std::string_view> take(std::string_view& text, char end) {
  const std::size_t at = text.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view taken = text.substr(0, at);
  text.remove_prefix(at + 1);
  return taken;
}

template <class Integer>
bool take_number(std::string_view& text, Integer& number) {
  const auto digits = take(text, '\t');
  if (!digits) return false;
  const char* end = digits->data() + digits->size();
  const auto [stop, error] = std::from_chars(digits->data(), end, number);
  return error == std::errc() && stop == end;
}

std::optional<JournalFile> file_of(std::string_view line) {
  JournalFile file;
  if (!take_number(line, file.identity.size_bytes) || !take_number(line, file.identity.mtime_ns) ||
      !take_number(line, file.identity.inode) || !take_number(line, file.ctime_ns) ||
      line.empty()) {
    return std::nullopt;
  }
  file.name = from_one_line(line);
  return file;
}

// One line of the body; false: it means nothing here.
bool add_line(JournalFacts& facts, JournalCheckpoint*& current, std::string_view line) {
  const auto word = take(line, '\t');
  if (!word || line.empty()) return false;
  if (*word == "catalog" && facts.catalog.empty()) {
    facts.catalog = from_one_line(line);
    return true;
  }
  if (*word == "adding" && facts.adding.base.empty() && current == nullptr) {
    current = &facts.adding;
    if (!take_number(line, current->created_ns) || line.empty()) return false;
    current->base = from_one_line(line);
    return true;
  }
  if (*word == "removing" || *word == "leaving") {
    auto& list = *word == "removing" ? facts.removing : facts.leaving;
    current = &list.emplace_back();
    current->base = from_one_line(line);
    return true;
  }
  const auto file = *word == "file" && current != nullptr ? file_of(line) : std::nullopt;
  if (file) current->files.push_back(*file);
  return file.has_value();
}

}  // namespace

std::string encode_journal(const JournalFacts& facts) {
  std::string text = sentence(kFirstLine, "catalog\t", one_line(facts.catalog), "\n");
  if (!facts.adding.base.empty()) {
    text += sentence("adding\t", facts.adding.created_ns, "\t");
    add_checkpoint(text, facts.adding);
  }
  for (const auto& [word, list] :
       {std::pair("removing\t", &facts.removing), std::pair("leaving\t", &facts.leaving)}) {
    for (const JournalCheckpoint& what : *list) {
      text += word;
      add_checkpoint(text, what);
    }
  }
  return text + sentence(kSumWord, sum_of(text), "\n");
}

Decoded<JournalFacts> decode_journal(std::string_view text) {
  const std::size_t tail_bytes = kSumWord.size() + kSumDigits + 1;
  if (!text.starts_with(kFirstLine) || text.size() < kFirstLine.size() + tail_bytes) {
    return corrupt(0, "is not a journal of this version");
  }
  const std::size_t body_end = text.size() - tail_bytes;
  if (text.substr(body_end) != sentence(kSumWord, sum_of(text.substr(0, body_end)), "\n")) {
    return corrupt(body_end, "the journal was not written completely");
  }
  JournalFacts facts;
  JournalCheckpoint* current = nullptr;
  std::string_view rest = text.substr(kFirstLine.size(), body_end - kFirstLine.size());
  while (!rest.empty()) {
    const std::size_t at = body_end - rest.size();
    const auto line = take(rest, '\n');
    if (line && add_line(facts, current, *line)) continue;
    return corrupt(at, "the journal has a line that has no meaning");
  }
  if (facts.catalog.empty()) return corrupt(0, "the journal names no catalog");
  return facts;
}

}  // namespace cairn::format
