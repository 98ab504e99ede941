// Every publisher beside every other one, in two processes, over one prefix: nothing acknowledged
// is lost.
//
// usage: publishers [--rounds=N] [--seed=N] [PAIR…]     PAIR: "save+rename", to try some alone
//
// What may come of two calls is not written down. Both are run one after the other, in both orders;
// what then is in the directory, and what the calls said, is what they may leave when they run at
// once: as if one had been first. Besides, one may be refused because the other had it (Busy), and
// has then done nothing. A round begins with a directory of its own, whose files are links to the
// first one's, and ends with every tensor read against its checksum, by P.cairn and by P.index
// alone.

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "cairn/cairn.h"

namespace {

namespace fs = std::filesystem;
using namespace cairn;

constexpr std::int64_t kElements = 64;
constexpr int kTensors = 8;
const fs::path kFrom = "from";  // what transfers read; nobody changes it
const fs::path kTo = "to";      // where everybody publishes "m"

// Some values that tell who wrote them.
std::vector<float> values_of(int writer, int tensor) {
  return std::vector<float>(kElements, static_cast<float>(100 * writer + tensor));
}

std::vector<TensorSpec> specs() {
  std::vector<TensorSpec> specs;
  for (int i = 0; i < kTensors; ++i)
    specs.push_back({"t" + std::to_string(i), DType::Float32, {kElements}});
  return specs;
}

Result<void> fill(Writer& writer, int value) {
  for (int i = 0; i < kTensors; ++i) {
    const std::vector<float> values = values_of(value, i);
    auto done = writer.write("t" + std::to_string(i), std::as_bytes(std::span(values)));
    if (!done) return done;
  }
  return {};
}

Result<void> write(const fs::path& prefix, int value, const WriterOptions& options = {}) {
  auto writer = Writer::create(prefix, specs(), options);
  if (!writer) return writer.error();
  if (auto done = fill(*writer, value); !done) return done;
  return writer->commit({.threads_max = 1});
}

Result<void> save(const fs::path& dir, const std::string& name, int value) {
  SaverOptions options;
  options.exec.threads_max = 1;
  auto saver = Saver::open(dir, options);
  if (!saver) return saver.error();
  const auto done =
      saver->save(name, specs(), [value](Writer& writer) { return fill(writer, value); });
  return done ? Result<void>() : Result<void>(done.error());
}

template <class T>
Result<void> outcome(const Result<T>& done) {
  return done ? Result<void>() : Result<void>(done.error());
}

TransferOptions to_m() {
  TransferOptions options;
  options.output = kTo / "m";
  options.replace = true;
  options.exec.threads_max = 1;
  return options;
}

Result<void> rename(const fs::path& prefix) {
  Renaming renaming;
  renaming.patterns = {{"^t", "u"}};
  TransferOptions options;
  options.replace = true;
  return outcome(rename_tensors(prefix, renaming, options));
}

Result<void> merge_two() {
  const std::array<fs::path, 2> sources{kFrom / "own", kFrom / "renamed"};
  return outcome(merge(sources, to_m()));
}

Result<void> salvage_one() {
  SalvageOptions options;
  options.output = kTo / "m";
  options.replace = true;
  options.exec.threads_max = 1;
  return outcome(salvage(kFrom / "damaged", options));
}

Result<void> prune() {
  SaverOptions options;
  options.keep_any_of = {Retention::newest(1)};
  auto saver = Saver::open(kTo, options);
  return saver ? outcome(saver->prune(false)) : Result<void>(saver.error());
}

Result<void> pin() {
  auto saver = Saver::open(kTo);
  return saver ? saver->pin("m") : Result<void>(saver.error());
}

Result<void> move(const char* from, const char* to) {
  TransferOptions options = to_m();
  options.output = kTo / to;
  return outcome(move_checkpoint(kTo / from, options));
}

Result<void> remove_m() {
  RemoveOptions options;
  options.force = true;  // also the latest
  return outcome(remove_checkpoint(kTo / "m", options));
}

struct Publisher {
  std::string_view name;
  std::function<Result<void>()> publish;
};

const std::vector<Publisher>& publishers() {
  static const std::vector<Publisher> all = {
      {"write", [] { return write(kTo / "m", 1); }},
      {"save", [] { return save(kTo, "m", 2); }},
      {"import", [] { return outcome(import_index(kTo / "m")); }},
      {"import-to", [] { return outcome(import_index(kFrom / "foreign", to_m())); }},
      {"export-to",
       [] { return outcome(export_index(kFrom / "own", Format::TensorFlow, to_m())); }},
      {"convert", [] { return outcome(convert(kFrom / "other", Format::Cairn, to_m())); }},
      {"merge", merge_two},
      {"rename", [] { return rename(kTo / "m"); }},
      {"salvage", salvage_one},
      {"prune", prune},
      {"pin", pin},
      {"copy", [] { return outcome(copy_checkpoint(kFrom / "own", to_m())); }},
      {"move", [] { return move("m", "k"); }},
      {"move-to", [] { return move("n", "m"); }},
      {"remove", remove_m},
  };
  return all;
}

const Publisher& pruning() {
  return *std::ranges::find(publishers(), std::string_view("prune"), &Publisher::name);
}

// ---- What is in the directory -------------------------------------------------------------------

std::string contents(const fs::path& prefix) {
  OpenOptions options;
  options.verify = Verify::Full;
  options.exec.threads_max = 1;
  const auto checkpoint = Checkpoint::open(prefix, options);
  if (!checkpoint) {
    const bool none = checkpoint.error().code == Code::NotFound;
    return none ? "none" : "BROKEN: " + checkpoint.error().what;
  }
  std::string text = std::string(name(checkpoint->format())) + ":";
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    const auto values = tensor.values<float>();
    const bool same = values && std::ranges::all_of(
                                    *values, [&](float value) { return value == values->front(); });
    text += " " + std::string(tensor.name()) + "=" +
            (same ? std::to_string(static_cast<int>(values->front())) : "MIXED");
  }
  if (checkpoint->metadata("cairn.pinned")) text += " pinned";
  return text;
}

// As TensorFlow finds it, which knows no P.cairn.
std::string foreign_contents() {
  const fs::path copy = "alone";
  fs::remove_all(copy);
  fs::create_directory(copy);
  for (const auto& entry : fs::directory_iterator(kTo)) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with("m.") && !file.ends_with(".cairn"))
      fs::create_hard_link(entry.path(), copy / file);
  }
  return contents(copy / "m");
}

std::set<std::string> names_in(const fs::path& dir) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir))
    names.insert(entry.path().filename().string());
  return names;
}

// Those that belong to no checkpoint. Into how many shards a Writer divides its tensors is chance:
// it goes by what was there when the first bytes came.
std::string strays() {
  std::set<std::string> known{".cairn-lock", "checkpoint"};
  for (const fs::path& prefix : {kTo / "m", kTo / "n", kTo / "k"}) {
    const auto checkpoint = Checkpoint::open(prefix);
    if (!checkpoint) continue;
    for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i)
      known.emplace(checkpoint->tensor_at(i).shard());
    for (const char* suffix : {".index", ".cairn"})
      known.insert(prefix.filename().string() + suffix);
  }
  std::string text;
  for (const std::string& file : names_in(kTo)) {
    if (!known.contains(file)) text += " " + file;
  }
  return text;
}

std::string catalog() {
  const auto state = get_checkpoint_state(kTo);
  if (!state) return "BROKEN: " + state.error().what;
  std::string text;
  if (!*state) return text;
  for (const auto& path : (*state)->all_model_checkpoint_paths)
    text += " " + path.filename().string();
  return text;
}

std::string state() {
  return "m: " + contents(kTo / "m") + "\n  by P.index: " + foreign_contents() +
         "\n  n: " + contents(kTo / "n") + "\n  k: " + contents(kTo / "k") +
         "\n  strays:" + strays() + "\n  catalog:" + catalog();
}

// ---- Rounds -------------------------------------------------------------------------------------

void demand(const Result<void>& done, const char* what) {
  if (done) return;
  std::fprintf(stderr, "publishers: %s: %s\n", what, done.error().what.c_str());
  std::exit(3);
}

// What every round begins with: m and the newer n by a Saver, and sources of every kind.
void prepare() {
  fs::create_directory("start");
  fs::current_path("start");
  demand(save(kTo, "m", 8), "m");
  demand(save(kTo, "n", 9), "n");
  demand(write(kFrom / "own", 3), "own");
  demand(write(kFrom / "other", 4), "other");
  demand(write(kFrom / "renamed", 5), "renamed");
  demand(rename(kFrom / "renamed"), "renamed");
  WriterOptions foreign;
  foreign.cairn_index = false;
  demand(write(kFrom / "foreign", 6, foreign), "foreign");
  demand(write(kFrom / "damaged", 7), "damaged");
  const fs::path shard = kFrom / "damaged.data-00000-of-00001";
  fs::permissions(shard, fs::perms::owner_all);
  std::fstream file(shard, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(-5, std::ios::end);  // of the last tensor
  file.put('\x55');
  file.close();
  fs::current_path("..");
}

// A fresh directory, whose files keep their identity.
void begin() {
  fs::remove_all("round");
  fs::copy("start", "round", fs::copy_options::recursive | fs::copy_options::create_hard_links);
  // Files that are written in place are not to be shared.
  for (const fs::path& dir : {kFrom, kTo}) fs::remove("round" / dir / ".cairn-lock");
  fs::current_path("round");
}

void end() { fs::current_path(".."); }

enum class Said : int { Done = 0, Busy = 1, NotFound = 2, Exists = 3, Other = 4 };

const char* name_of(Said said) {
  constexpr std::array kNames{"done", "Busy", "NotFound", "Exists", "failed"};
  return kNames[static_cast<std::size_t>(said)];
}

Said said(const Result<void>& done) {
  if (done) return Said::Done;
  switch (done.error().code) {
    case Code::Busy:
      return Said::Busy;
    case Code::NotFound:
      return Said::NotFound;
    case Code::Exists:
      return Said::Exists;
    default:
      std::fprintf(stderr, "publishers: %s\n", done.error().what.c_str());
      return Said::Other;
  }
}

struct Result2 {
  Said first{};
  Said second{};
  std::string state;
  friend auto operator<=>(const Result2&, const Result2&) = default;
};

pid_t start(const Publisher& publisher, useconds_t delay_us) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::usleep(delay_us);
  ::_exit(static_cast<int>(said(publisher.publish())));
}

Said wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) return static_cast<Said>(WEXITSTATUS(status));
  std::fprintf(stderr, "publishers: a child died by signal %d\n", WTERMSIG(status));
  return Said::Other;
}

// Everything that two calls may leave that are run one after the other, or one alone.
std::set<Result2> serial(const Publisher& a, const Publisher& b) {
  std::set<Result2> allowed;
  const auto run = [&](bool with_a, bool with_b, bool a_first) {
    begin();
    Result2 result{Said::Busy, Said::Busy, {}};
    if (with_a && a_first) result.first = wait_for(start(a, 0));
    if (with_b) result.second = wait_for(start(b, 0));
    if (with_a && !a_first) result.first = wait_for(start(a, 0));
    result.state = state();
    end();
    // What prune has judged may be written anew before it is removed: then it stays, unlisted.
    if (&a == &pruning() || &b == &pruning()) {
      Result2 unlisted{Said::Done, Said::Done, result.state};
      const std::size_t at = unlisted.state.find("catalog: m n");
      if (at != std::string::npos) unlisted.state.replace(at, std::string::npos, "catalog: n");
      allowed.insert(std::move(unlisted));
    }
    allowed.insert(std::move(result));
  };
  run(true, true, true);
  run(true, true, false);
  run(true, false, true);
  run(false, true, true);
  return allowed;
}

struct Count {
  int rounds = 0;
  int both = 0;
  int lost = 0;
};

void rounds(const Publisher& a, const Publisher& b, int count, std::mt19937& random, Count& total) {
  const std::set<Result2> allowed = serial(a, b);
  int both = 0;
  int lost = 0;
  for (int i = 0; i < count; ++i) {
    begin();
    std::uniform_int_distribution<useconds_t> delay(0, 4000);
    const pid_t one = start(a, delay(random));
    const pid_t other = start(b, delay(random));
    Result2 result{wait_for(one), wait_for(other), {}};
    result.state = state();
    end();
    both += result.first == Said::Done && result.second == Said::Done;
    if (allowed.contains(result)) continue;
    if (++lost > 1) continue;
    std::printf("publishers: %s (%s) beside %s (%s), round %d:\n  %s\n  allowed:\n", a.name.data(),
                name_of(result.first), b.name.data(), name_of(result.second), i,
                result.state.c_str());
    for (const Result2& each : allowed)
      std::printf("  %s, %s: %s\n", name_of(each.first), name_of(each.second), each.state.c_str());
  }
  std::printf("publishers: %s beside %s: %d rounds, both acknowledged in %d%s\n", a.name.data(),
              b.name.data(), count, both,
              lost == 0 ? "" : (", LOST in " + std::to_string(lost)).c_str());
  std::fflush(stdout);
  total.rounds += count;
  total.both += both;
  total.lost += lost;
}

int number(const char* argument, const char* option, int otherwise) {
  const std::size_t length = std::strlen(option);
  return std::strncmp(argument, option, length) == 0 ? std::atoi(argument + length) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
  int count = 5;
  int seed = static_cast<int>(std::random_device()() & 0x7fffffff);
  std::set<std::string> wanted;
  for (int i = 1; i < argc; ++i) {
    count = number(argv[i], "--rounds=", count);
    seed = number(argv[i], "--seed=", seed);
    if (argv[i][0] != '-') wanted.insert(argv[i]);
  }
  std::printf("publishers: seed %d\n", seed);
  std::mt19937 random(static_cast<unsigned>(seed));
  std::string root =
      (fs::exists("/dev/shm") ? "/dev/shm" : "/tmp") + std::string("/cairn-pub-XXXXXX");
  if (::mkdtemp(root.data()) == nullptr) return 3;
  fs::current_path(root);
  prepare();
  Count total;
  int passed = 0;
  int failed = 0;
  const auto& all = publishers();
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = i; j < all.size(); ++j) {
      const std::string pair = std::string(all[i].name) + "+" + std::string(all[j].name);
      if (!wanted.empty() && !wanted.contains(pair)) continue;
      const int lost = total.lost;
      rounds(all[i], all[j], count, random, total);
      ++(total.lost == lost ? passed : failed);
    }
  }
  fs::current_path("/");
  fs::remove_all(root);
  std::printf("publishers: %d rounds, both acknowledged in %d, %d lost\n", total.rounds, total.both,
              total.lost);
  std::printf("%d passed, %d failed, 0 skipped\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
