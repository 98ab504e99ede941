// The main job on real input: a directory that TensorFlow's Saver wrote is opened, listed,
// verified, restored, gone on with and exported, by the same verbs and calls that a user has; then
// a model of GPT-2's size shows the times.

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "cairn/checkpoint.h"
#include "cairn/saver.h"
#include "demo_model.h"
#include "output.h"
#include "verb.h"
#include "walk_files.h"
#include "workplace.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDescription =
    "Show the main task with real input. Open a checkpoint directory that TensorFlow wrote,\n"
    "without a copy; list, verify and restore it, save the next checkpoint, and export it.\n"
    "Then write a model of GPT-2's size (148 tensors, 498 MB) and restore it, cold and warm,\n"
    "beside a plain read that copies.";

constexpr const char* kFooter =
    "Exit status: 0 done, 2 something failed.\n\n"
    "Takes at most half a minute, and 0.5 GB in DIR. The files are removed at the end.\n\n"
    "Example:\n"
    "  cairn demo --dir /var/tmp --keep";

void say(std::string_view text) { print(fmt::format("\n{}\n", text)); }

struct Command {
  std::string_view name;
  int (*verb)(Arguments);
  std::vector<std::string> words;
};

// Runs verbs as the shell would, showing the command lines, until one fails.
Result<void> shell(std::vector<Command> commands) {
  for (Command& command : commands) {
    const std::string words = fmt::format("{}", fmt::join(command.words, " "));
    print(fmt::format("   $ cairn {} {}\n", command.name, safe(words)));
    std::vector<char*> pointers;
    pointers.reserve(command.words.size());
    for (std::string& word : command.words) pointers.push_back(word.data());
    if (command.verb(Arguments(pointers)) == kYes) continue;
    return Error{Code::Invalid, 0,
                 fmt::format("cairn {} did not give the expected result", command.name)};
  }
  return {};
}

Result<void> lay_out(const fs::path& dir) {
  fs::create_directory(dir);
  for (const WalkFile& file : walk_files()) {
    std::ofstream out(dir / file.name, std::ios::binary);
    out.write(file.bytes.data(), static_cast<std::streamsize>(file.bytes.size()));
    if (!out.flush()) {
      return Error{Code::Io, errno,
                   fmt::format("{} cannot be written", (dir / file.name).native())};
    }
  }
  return {};
}

struct Variables {
  std::int32_t v1 = 0;
  std::int32_t v2 = 0;
};

// Restores the two variables: pointers into the mapped file, nothing copied.
Result<Variables> restore(const fs::path& prefix) {
  const auto checkpoint = Checkpoint::open(prefix);
  if (!checkpoint) return checkpoint.error();
  Variables variables;
  const std::pair<const char*, std::int32_t*> wanted[] = {{"v1", &variables.v1},
                                                          {"v2", &variables.v2}};
  for (const auto& [name, out] : wanted) {
    const auto value =
        checkpoint->tensor(name).and_then([](Tensor tensor) { return tensor.as<std::int32_t>(); });
    if (!value) return value.error();
    *out = value->front();
  }
  return variables;
}

// Saves them as the next checkpoint of the directory, which keeps five unless told otherwise.
Result<Saved> save_next(const fs::path& dir, const Variables& variables, std::int64_t step) {
  auto saver = Saver::open(dir);
  if (!saver) return std::move(saver).error();
  const NamedTensor tensors[] = {
      {{"v1", DType::Int32, {}}, std::as_bytes(std::span(&variables.v1, 1)), {}},
      {{"v2", DType::Int32, {}}, std::as_bytes(std::span(&variables.v2, 1)), {}}};
  SaveOptions options;
  options.step = step;
  return saver->save("train2", tensors, options);
}

Result<void> look(const fs::path& dir, const fs::path& prefix) {
  say("TensorFlow's Saver wrote this directory: ten saves of two variables, five of them kept.\n"
      "Cairn finds the latest checkpoint as TensorFlow does:");
  auto done = shell({{"latest", latest, {dir}}, {"state", state, {dir}}});
  if (!done) return done;
  say("The latest checkpoint, mapped in place: no conversion, no copy.");
  done = shell({{"ls", ls, {prefix}},
                {"verify", verify, {prefix}},
                {"cat", cat, {prefix, "v1"}},
                {"cat", cat, {prefix, "v2"}}});
  if (!done) return done;
  say("Importing writes Cairn's index beside the payload, which does not change:");
  return shell({{"import", import_verb, {prefix}}, {"verify", verify, {prefix}}});
}

Result<void> go_on(const fs::path& dir, const fs::path& prefix) {
  say("The next step: restore both variables, add 1 to v1, and save the result.");
  auto variables = restore(prefix);
  if (!variables) return variables.error();
  print(fmt::format("   restored v1 = {}, v2 = {}\n", variables->v1, variables->v2));
  variables->v1 += 1;
  const auto saved = save_next(dir, *variables, 10);
  if (!saved) return saved.error();
  const fs::path& next = saved->prefix;
  print(fmt::format("   saved {} with v1 = {}, durably; the catalog names it\n",
                    safe(next.native()), variables->v1));
  for (const fs::path& gone : saved->deleted)
    print(fmt::format("   {} was removed: {} are kept\n", safe(gone.filename().native()),
                      saved->kept.size()));
  auto done = shell({{"state", state, {dir}}, {"ls", ls, {dir}}, {"cat", cat, {dir, "v1"}}});
  if (!done) return done;
  say("The same bytes for other readers. The save also wrote TensorFlow's index. The shard "
      "already\n"
      "has a safetensors header; it gets a second name:");
  return shell({{"export", export_verb, {next, "--to", "tensorflow"}},
                {"export", export_verb, {next, "--to", "safetensors"}},
                {"ls", ls, {next.native() + ".safetensors"}}});
}

Result<void> show(const fs::path& exec) {
  const fs::path dir = exec / "saved";
  auto done = lay_out(dir);
  if (done) done = look(dir, dir / "train2-9");
  if (done) done = go_on(dir, dir / "train2-9");
  if (done) done = demo_model(exec / "model" / "gpt2");
  return done;
}

}  // namespace

int demo(Arguments arguments) {
  std::string dir = fs::temp_directory_path();
  bool keep = false;
  CommandLine line("cairn demo", kDescription, kFooter);
  line.add("--dir", dir, "DIR", "Directory for the files (the system's temporary directory)");
  line.add_flag("--keep", keep, "Keep the files");
  if (const auto exit = line.parse(arguments)) return *exit;

  std::error_code ignored;
  fs::create_directories(dir, ignored);
  const Workplace exec(dir, "cairn-demo", keep);
  if (exec.path().empty()) {
    complain(fmt::format("{}: cannot make a directory there: {}", dir, std::strerror(errno)));
    return kFailed;
  }
  const auto done = show(exec.path());
  if (!done) {
    complain(done.error());
    return kFailed;
  }
  if (keep) say(fmt::format("Kept in {}", safe(exec.path().native())));
  return kYes;
}

}  // namespace cairn::tools
