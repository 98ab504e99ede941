#include "lib/os/link_snapshot.h"

#include <system_error>
#include <vector>

namespace cairn::os {
namespace {

constexpr int kLinksMax = 40;  // as the kernel

// The parts of a path are the next steps to take; the next one stands last.
void push_steps(const std::filesystem::path& path, std::vector<std::filesystem::path>& steps) {
  const std::vector<std::filesystem::path> parts(path.begin(), path.end());
  steps.insert(steps.end(), parts.rbegin(), parts.rend());
}

}  // namespace

std::optional<std::string> LinkSnapshot::text(const std::filesystem::path& path) {
  const auto [place, is_new] = texts_.try_emplace(path);
  if (is_new && within_ != nullptr)
    place->second = within_->link_text(path.native()).value_or(std::nullopt);
  if (is_new && within_ == nullptr) {
    std::error_code no_link;
    auto said = std::filesystem::read_symlink(path, no_link);
    if (!no_link) place->second = said.native();
  }
  return place->second;
}

std::optional<std::filesystem::path> LinkSnapshot::resolve(const std::filesystem::path& path) {
  std::vector<std::filesystem::path> steps;
  push_steps(path, steps);
  std::filesystem::path place;
  int links = 0;
  while (!steps.empty()) {
    const std::filesystem::path step = std::move(steps.back());
    steps.pop_back();
    if (step.empty() || step == ".") continue;
    // There are no links in `place`, so ".." takes back its last part, if it has one to take back.
    const bool goes_up = step == ".." && place.has_filename() && place.filename() != "..";
    const bool is_name = step != ".." && !step.is_absolute();
    std::filesystem::path next = goes_up ? place.parent_path() : place / step;
    const auto link = is_name ? text(next) : std::nullopt;
    if (!link) {
      place = std::move(next);
      continue;
    }
    if (++links > kLinksMax) return std::nullopt;
    push_steps(*link, steps);
  }
  return place;
}

Result<std::optional<FileInfo>> LinkSnapshot::look(const std::filesystem::path& path) {
  const auto real = resolve(path);
  if (!real) return std::optional<FileInfo>();
  return within_ == nullptr ? os::look(*real) : within_->look_from(*real, Links::Refuse);
}

}  // namespace cairn::os
