// The `cairn` command: a table of verbs. Each verb is one file of this room, which declares its
// options, calls the library and prints; the exit codes are in verb.h.

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <exception>
#include <numeric>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "cairn/sigbus_guard.h"
#include "cairn/version.h"
#include "interruption.h"
#include "output.h"
#include "verb.h"

namespace cairn::tools {
namespace {

struct Verb {
  std::string_view name;
  int (*run)(Arguments);
  std::string_view synopsis;
  std::string_view does;
};

constexpr Verb kVerbs[] = {
    {"ls", ls, "PATH [TENSOR...]",
     "list the tensors: dtype, shape, bytes, shard, offset, checksum"},
    {"info", info, "PATH", "say what a checkpoint is: format, dtypes, parameters, metadata"},
    {"stat", stat, "PATH [TENSOR...]",
     "print least, greatest, mean, deviation, zeros, NaN and infinities"},
    {"tree", tree, "PATH",
     "print the objects of a TensorFlow 2 checkpoint, or tensor names, as a tree"},
    {"cat", cat, "PATH TENSOR", "print the values of a tensor, or write its bytes"},
    {"diff", diff, "A B", "print what differs between two checkpoints"},
    {"verify", verify, "PATH...", "compare every byte with its checksum"},
    {"salvage", salvage_verb, "SRC DST",
     "write the whole tensors of a damaged checkpoint to a new one"},
    {"import", import_verb, "PATH", "add Cairn's index beside the payload of another format"},
    {"export", export_verb, "PATH --to FORMAT", "add another format's index beside the payload"},
    {"convert", convert_verb, "SRC DST --to FORMAT", "rewrite the payload in another layout"},
    {"merge", merge_verb, "PATH... --output PREFIX", "make one checkpoint from several"},
    {"rename", rename_verb, "PATH --map OLD=NEW", "rename tensors"},
    {"cp", copy_verb, "FROM TO", "copy a checkpoint with all its files, and check it"},
    {"mv", move_verb, "FROM TO", "move or rename a checkpoint, and update the catalog"},
    {"rm", remove_verb, "PREFIX", "remove a checkpoint, and update the catalog"},
    {"latest", latest, "DIR", "print the latest checkpoint of a directory"},
    {"state", state, "DIR", "print the catalog of a directory, and which checkpoints are whole"},
    {"set-latest", set_latest, "DIR PREFIX", "make a checkpoint the latest of its directory"},
    {"watch", watch, "DIR", "print each checkpoint of a directory when it is published"},
    {"save", save, "DIR/NAME TENSOR...", "save the next checkpoint, and remove old ones"},
    {"prune", prune, "DIR", "remove the checkpoints that no rule keeps"},
    {"pin", pin, "PREFIX", "keep a checkpoint for ever"},
    {"demo", demo, "", "show the main task with a directory that TensorFlow wrote"},
    {"bench", bench, "PATH", "measure how fast a model is on this machine, beside plain reads"},
    {"completion", completion, "SHELL",
     "print a script that completes words for bash, fish or zsh"},
};

std::string help() {
  std::string out =
      "cairn: memory-mapped checkpoints that TensorFlow reads and writes too\n\n"
      "Usage: cairn VERB [OPTIONS] ...\n"
      "       cairn help VERB\n"
      "       cairn --version\n\n"
      "Verbs:\n";
  for (const Verb& verb : kVerbs) {
    out += fmt::format("  {:<30}  {}\n", fmt::format("{} {}", verb.name, verb.synopsis), verb.does);
  }
  out +=
      "\nPATH is a prefix (saved/train2-9), any file of a checkpoint, or a file of another "
      "format:\n"
      ".safetensors, .gguf, .onnx, .npz, .npy, .ptd, .tflite, .pt, .pth, .bin (PyTorch), .h5 or\n"
      ".keras. It can be a directory: with a catalog (this means its latest checkpoint), a\n"
      "SavedModel, a Hugging Face model, or a distributed checkpoint of PyTorch.\n\n"
      "Exit status:\n"
      "  0  success\n"
      "  1  the check failed: damage or a difference was found, or there is no latest checkpoint\n"
      "  2  an error: wrong usage, unreadable, refused\n\n"
      "Results go to stdout, messages and warnings to stderr. If a result cannot be written to\n"
      "stdout, the exit status is 2, even if the work is done and durable.\n";
  return out;
}

// Levenshtein's distance: the fewest letters to insert, delete or replace.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replace = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

int unknown(std::string_view word) {
  if (word.starts_with('-')) {
    complain(fmt::format("a verb comes first, not '{}' (see cairn --help)", word));
    return kFailed;
  }
  const auto nearest =
      std::min_element(std::begin(kVerbs), std::end(kVerbs), [word](const Verb& a, const Verb& b) {
        return distance(word, a.name) < distance(word, b.name);
      });
  const bool near = distance(word, nearest->name) <= nearest->name.size() / 2;
  complain(fmt::format("there is no verb '{}'{} (see cairn --help)", word,
                       near ? fmt::format("; the nearest is '{}'", nearest->name) : ""));
  return kFailed;
}

const Verb* verb_of(std::string_view word) {
  const auto found = std::ranges::find(kVerbs, word, &Verb::name);
  return found == std::end(kVerbs) ? nullptr : found;
}

int help_of(std::string_view word) {
  const Verb* const verb = verb_of(word);
  std::string option = "--help";
  char* const argument = option.data();
  return verb == nullptr ? unknown(word) : verb->run(Arguments(&argument, 1));
}

int run(Arguments arguments) {
  if (arguments.empty()) {
    complain("a verb is missing (see cairn --help)");
    return kFailed;
  }
  const std::string_view word = arguments[0];
  const bool asks_help = word == "--help" || word == "-h" || word == "help";
  if (asks_help && arguments.size() == 1) {
    print(help());
    return kYes;
  }
  if (asks_help) return help_of(arguments[1]);
  if (word == "--version") {
    print(fmt::format("cairn {}\n", version()));
    return kYes;
  }
  const Verb* const verb = verb_of(word);
  return verb == nullptr ? unknown(word) : verb->run(arguments.subspan(1));
}

// In place of the death by SIGBUS, in a signal handler: it may do little more than this.
void end_with_sentence(const MappingFault& /*fault*/, void* /*context*/) noexcept {
  constexpr std::string_view kSentence =
      "cairn: a shard can no longer be read: it was truncated while it was in use, or its disk "
      "fails; 'cairn verify' shows the place\n";
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, kSentence.data(), kSentence.size());
  ::_exit(kFailed);
}

// A stream that is closed stays closed to whoever writes to it, but no file gets its number; and to
// write to a reader that has gone is a failure, not the end: a warning that nobody reads is no
// reason to give up a save. Nor is a limit of a file's size: it is an error as a full disk is.
void hold_standard_streams() {
  int fd = -1;
  do {
    fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

int run_to_end(Arguments arguments) {
  try {
    const int exit = run(arguments);
    flush_output();
    return exit;
  } catch (const std::system_error& error) {
    // `cairn ls … | head` has seen enough, and needs no sentence.
    if (error.code() != std::errc::broken_pipe) complain(error.what());
  } catch (const std::exception& error) {  // memory, or a path that the C++ library refuses
    complain(error.what());
  }
  return kFailed;
}

}  // namespace
}  // namespace cairn::tools

int main(int argc, char** argv) {
  using namespace cairn::tools;
  hold_standard_streams();
  const auto guard = cairn::SigbusGuard::install({end_with_sentence, nullptr});
  const int exit =
      run_to_end(Arguments(argv, static_cast<std::size_t>(argc)).subspan(argc > 0 ? 1 : 0));
  // What is done is done, and said; what was given up, was given up for the signal.
  if (exit == kFailed) end_by_signal();
  return exit;
}
