// Whose file is it that a link leads to? Of the checkpoint that is named like it, and of the one
// that is named like the link: to remove the first would leave the second without it. So a file
// goes only with all the links that lead to it.
//
// A link is followed by the names in the directory, one after the other, and not by what it comes
// to in the end: that may have another name, which stays (a rename's shards are hard links). Where
// a link leaves the directory, it may come back by a path that nobody here can follow; then the
// file that it comes to decides.

#include "lib/saver/links_here.h"

#include <algorithm>

#include "lib/os/file.h"
#include "lib/read/identity.h"
#include "lib/saver/checkpoint_files.h"
#include "lib/try.h"

namespace cairn::internal {
namespace {

constexpr std::size_t kLinksMax = 40;  // as the kernel

// Whether a directory, as a link in the place spells it, is the place itself.
Result<bool> is_here(const Place& place, const std::filesystem::path& parent) {
  if (parent.empty()) return true;
  CAIRN_TRY(own, place.directory.info());
  CAIRN_TRY(there, place.directory.look_from(parent, os::Links::Follow));
  return there && same_file(*there, own);
}

std::string sentence(const std::string& link) {
  return "the symbolic link " + link + " leads to it";
}

}  // namespace

Result<std::optional<LinksHere::Link>> LinksHere::follow(const std::string& name) const {
  Link link{name, {}, {}};
  std::string at = name;
  while (link.leads_to.size() < kLinksMax) {
    CAIRN_TRY(text, place_.directory.link_text(at));
    if (!text) break;
    const std::filesystem::path next = *text;
    CAIRN_TRY(here, is_here(place_, next.parent_path()));
    if (!here) {
      // Where it cannot be looked at, nobody can say, and to read by it fails as well.
      const auto there = place_.directory.look_from(at, os::Links::Follow);
      if (there && *there) link.inode = (*there)->inode;
      break;
    }
    at = next.filename().string();
    link.leads_to.push_back(at);
  }
  if (link.leads_to.empty() && !link.inode) return std::optional<Link>();
  return std::optional(std::move(link));
}

Result<LinksHere> LinksHere::read(const Place& place, std::span<const std::string> names,
                                  std::vector<std::filesystem::path> outside) {
  LinksHere here(place);
  here.outside_ = std::move(outside);
  for (const std::string& name : names) {
    if (os::is_temporary_name(name)) continue;
    CAIRN_TRY(link, here.follow(name));
    if (link) here.links_.push_back(*std::move(link));
  }
  return here;
}

// Links are mostly named like what they lead to, but for the base.
Result<std::optional<std::string>> LinksHere::from_outside(
    const format::JournalCheckpoint& what) const {
  for (const std::filesystem::path& entry : outside_) {
    const std::filesystem::path from = from_directory(place_.dir, entry);
    for (const format::JournalFile& file : what.files) {
      if (!file.name.starts_with(what.base)) continue;
      const std::filesystem::path path = from.string() + file.name.substr(what.base.size());
      const auto link = place_.directory.look_from(path, os::Links::Refuse);
      if (!link || !*link || (*link)->kind != os::FileKind::Link) continue;
      CAIRN_TRY(there, place_.directory.look_from(path, os::Links::Follow));
      if (there && there->inode == file.identity.inode)
        return std::optional(sentence((place_.dir / path).string()));
    }
  }
  return std::optional<std::string>();
}

Result<std::optional<std::string>> LinksHere::to(const format::JournalCheckpoint& what,
                                                 const std::set<std::string>& along) const {
  const auto leads_to_it = [&](const Link& link) {
    return std::ranges::any_of(what.files, [&](const format::JournalFile& file) {
      return link.inode == file.identity.inode ||
             std::ranges::find(link.leads_to, file.name) != link.leads_to.end();
    });
  };
  for (const Link& link : links_) {
    const bool goes_along = std::ranges::any_of(
        along, [&](const std::string& base) { return is_checkpoint_file(link.name, base); });
    if (!goes_along && leads_to_it(link)) return std::optional(sentence(link.name));
  }
  return from_outside(what);
}

}  // namespace cairn::internal
