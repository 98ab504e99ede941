#include "select.h"

#include <fmt/format.h>

#include <algorithm>

#include "cairn/object_graph.h"
#include "output.h"

namespace cairn::tools {

// Where the text does not go on as the pattern does, the last '*' takes one character more.
bool matches(std::string_view pattern, std::string_view text) {
  std::size_t in_pattern = 0;
  std::size_t in_text = 0;
  std::size_t star = std::string_view::npos;
  std::size_t star_end = 0;
  while (in_text < text.size()) {
    if (in_pattern < pattern.size() && pattern[in_pattern] == '*') {
      star = in_pattern++;
      star_end = in_text;
    } else if (in_pattern < pattern.size() &&
               (pattern[in_pattern] == '?' || pattern[in_pattern] == text[in_text])) {
      ++in_pattern;
      ++in_text;
    } else if (star != std::string_view::npos) {
      in_pattern = star + 1;
      in_text = ++star_end;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', in_pattern) == std::string_view::npos;
}

std::optional<std::vector<Tensor>> select(const Checkpoint& checkpoint,
                                          std::span<const std::string> words) {
  std::vector<bool> wanted(checkpoint.tensor_count(), words.empty());
  const auto position_of = [&](std::string_view name) {
    std::size_t first = 0;  // names ascend as unsigned bytes, as string_view compares them
    std::size_t count = wanted.size();
    while (count != 0) {
      const std::size_t half = count / 2;
      const bool before = checkpoint.tensor_at(first + half).name() < name;
      first += before ? half + 1 : 0;
      count = before ? count - half - 1 : half;
    }
    return first;
  };
  for (const std::string& word : words) {
    const bool pattern = word.find_first_of("*?") != std::string::npos;
    // An object path is looked up in the object graph, which takes longer.
    const auto found = pattern ? checkpoint.tensor(word) : find_tensor(checkpoint, word);
    if (found) wanted[position_of(found->name())] = true;
    bool any = found.has_value();
    for (std::size_t i = 0; i < wanted.size() && pattern && !found; ++i) {
      if (!matches(word, checkpoint.tensor_at(i).name())) continue;
      wanted[i] = any = true;
    }
    if (any) continue;
    if (!pattern)
      complain(found.error());
    else
      complain(fmt::format("{}: no tensor's name matches '{}'; 'cairn ls PATH' lists all names",
                           checkpoint.prefix().string(), word));
    return std::nullopt;
  }
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i]) tensors.push_back(checkpoint.tensor_at(i));
  }
  return tensors;
}

std::optional<std::vector<Tensor>> select(const Checkpoint& checkpoint,
                                          std::span<const std::string> words,
                                          std::span<const std::string> excluded) {
  auto tensors = select(checkpoint, words);
  if (!tensors || excluded.empty()) return tensors;
  const auto without = select(checkpoint, excluded);
  if (!without) return std::nullopt;
  std::erase_if(*tensors, [&](const Tensor& tensor) {
    return std::ranges::find(*without, tensor.name(), &Tensor::name) != without->end();
  });
  return tensors;
}

std::uint64_t parameter_count(std::span<const Tensor> tensors) {
  std::uint64_t count = 0;
  for (const Tensor& tensor : tensors) {
    const bool numbers = tensor.dtype() != DType::String && tensor.dtype() != DType::Variant;
    if (numbers) count += tensor.element_count();
  }
  return count;
}

}  // namespace cairn::tools
