#include "words.h"

#include <array>
#include <utility>

namespace cairn::tools {
namespace {

// The longer ones first, which hold shorter ones.
constexpr std::array<std::pair<std::string_view, std::string_view>, 31> kWords{{
    {"export_index() with replace (cairn export --to tensorflow --replace)",
     "'cairn export --to tensorflow --replace'"},
    {"repair_catalog() (cairn state --repair)", "'cairn state --repair'"},
    {"convert() (cairn convert)", "'cairn convert'"},
    {" (import_index)", ""},
    {"set_latest_checkpoint() (cairn set-latest)", "'cairn set-latest'"},
    {"Saver::pin() (cairn pin --remove)", "'cairn pin --remove'"},
    {"Saver::pin() (cairn pin)", "'cairn pin'"},
    {"remove_checkpoint() (cairn rm)", "'cairn rm'"},
    {"copy_checkpoint()", "'cairn cp'"},
    {"remove_checkpoint()", "'cairn rm'"},
    {"salvage()", "'cairn salvage'"},
    {"convert()", "'cairn convert'"},
    {"merge()", "'cairn merge'"},
    {"import_index() with replace (cairn import --replace)", "'cairn import --replace'"},
    {"import_index()", "'cairn import'"},
    {"export_index()", "'cairn export'"},
    {"replace (--replace)", "--replace"},
    {"or say replace", "or use --replace"},
    {"allow_lossy (--allow-lossy)", "--allow-lossy"},
    {"follow_links (--follow-links)", "--follow-links"},
    {"force (--force)", "--force"},
    {"void_dtype (--void-dtype)", "--void-dtype"},
    {"large_header (--large-header)", "--large-header"},
    {"Link::Auto (--link auto)", "--link auto"},
    {"an output (--output)", "--output"},
    {"repair_catalog() with all (cairn state --repair --all)", "'cairn state --repair --all'"},
    {"wait longer (lock_wait)", "wait longer (--lock-wait)"},
    {"use save(), which", "use 'cairn save', which"},
    {"repair_catalog()", "'cairn state --repair'"},
    {"rename_tensors()", "'cairn rename'"},
    {"open() lists the formats", "'cairn --help' lists the formats"},
}};

}  // namespace

std::string in_command_words(std::string_view sentence) {
  std::string words;
  while (!sentence.empty()) {
    bool found = false;
    for (const auto& [call, typed] : kWords) {
      if (!sentence.starts_with(call)) continue;
      words += typed;
      sentence.remove_prefix(call.size());
      found = true;
      break;
    }
    if (found) continue;
    words += sentence.front();
    sentence.remove_prefix(1);
  }
  return words;
}

}  // namespace cairn::tools
