#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "cairn/catalog.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

constexpr const char* kDescription =
    "Print the prefix of the latest checkpoint of a directory, as tf.train.latest_checkpoint\n"
    "does: the checkpoint that the catalog names, if its files exist. 'cairn state' checks\n"
    "more.";

constexpr const char* kFooter =
    "Exit status: 0 the prefix was printed, 1 there is no latest checkpoint (or no DIR), 2\n"
    "the catalog could not be read.\n\n"
    "JSON: {\"latest\": PREFIX or null}.\n\n"
    "Example:\n"
    "  cairn verify \"$(cairn latest saved)\"";

// Goes on behind "DIR has no latest checkpoint".
std::string why_none(const std::string& dir, const std::string& catalog) {
  const auto state = get_checkpoint_state(dir, catalog);
  if (!state || !*state) return {};
  return fmt::format(
      ": its catalog names {}, whose files are missing; 'cairn state' shows which "
      "are whole",
      (*state)->model_checkpoint_path.native());
}

}  // namespace

int latest(Arguments arguments) {
  std::string dir;
  std::string catalog = "checkpoint";
  bool json = false;
  CommandLine line("cairn latest", kDescription, kFooter);
  // A directory that is not there has no latest checkpoint, as an empty one has none.
  line.add("DIR", dir, "A directory of checkpoints").required();
  add_catalog(line, catalog);
  add_json(line, json);
  if (const auto exit = line.parse(arguments)) return *exit;

  const auto found = latest_checkpoint(dir, catalog);
  if (!found) {
    complain(found.error());
    return kFailed;
  }
  if (json) {
    const auto prefix = found->has_value() ? std::optional((*found)->native()) : std::nullopt;
    Json().begin_object().text_or_null("latest", prefix).end_object().finish();
  } else if (found->has_value()) {
    print(safe((*found)->native()) + "\n");
  }
  if (found->has_value()) return kYes;
  complain(fmt::format("{} has no latest checkpoint{}", dir, why_none(dir, catalog)));
  return kNo;
}

}  // namespace cairn::tools
