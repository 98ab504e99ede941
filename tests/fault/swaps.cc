// A server whose Live follows a directory, while everybody is killed at random moments: the trainer
// that saves into the directory, another reader, and the server itself. Among the checkpoints are
// ones that must never be served: damaged, with a sector of an older file under newer sums, of
// another shape; and ones that are half copied at first, or vanish.
//
// usage: swaps [COUNT [SEED [careless]]]     COUNT: how many checkpoints are published in all (300)
//
// careless: the trainer changes published files in place, and the requests must notice it.
//
// Every element of a checkpoint is its number, which is also its step. So a request that gets a
// mixed, damaged or wrong model sees it.

#include <cairn/cairn.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <optional>
#include <random>

#include "crew.h"

namespace cairn::live {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using Random = std::mt19937_64;

constexpr std::size_t kElements = 60'000;
constexpr const char* kShard = ".data-00000-of-00001";

struct SwapBoard {
  std::atomic<std::uint64_t> swaps{0};
  std::atomic<std::uint64_t> rollbacks{0};
  std::atomic<std::uint64_t> rejected{0};
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::uint64_t> wrong{0};                 // answers from a model that is not whole
  std::atomic<std::uint64_t> unexplained{0};           // rejected without a reason
  std::atomic<std::int64_t> last{0};                   // the number that was given out last
  std::array<std::atomic<std::uint64_t>, 8> made{};    // by Kind
  std::array<std::atomic<std::uint64_t>, 16> codes{};  // of rejections, by Code
};

enum class Kind : std::uint8_t { Good, Damaged, OldSector, HalfCopied, OtherShape, Vanishing };
constexpr std::array kKinds{"good",        "damaged",     "old sector",
                            "half copied", "other shape", "vanishing"};

// ---- The trainer --------------------------------------------------------------------------------

struct Model {
  Model(std::int64_t number, std::size_t elements)
      : values(elements, static_cast<float>(number)), number_value(number) {}
  std::vector<NamedTensor> tensors() const {
    return {{{"a", DType::Float32, {static_cast<std::int64_t>(values.size())}},
             std::as_bytes(std::span(values)),
             {}},
            {{"n", DType::Int64, {}}, std::as_bytes(std::span(&number_value, 1)), {}}};
  }
  std::vector<float> values;
  std::int64_t number_value;
};

std::string base_of(std::int64_t number) { return "m-" + std::to_string(number); }

Result<void> write(const fs::path& prefix, const Model& model) {
  std::vector<TensorSpec> specs;
  for (const NamedTensor& tensor : model.tensors()) specs.push_back(tensor.spec);
  auto writer = Writer::create(prefix, specs, {.step = model.number_value});
  if (!writer) return writer.error();
  for (const NamedTensor& tensor : model.tensors()) {
    if (auto done = writer->write(tensor.spec.name, tensor.bytes); !done) return done;
  }
  return writer->commit();
}

void overwrite(const fs::path& path, std::uint64_t offset_bytes, const std::string& bytes) {
  fs::permissions(path, fs::perms::owner_write, fs::perm_options::add);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset_bytes));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string read_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class Trainer {
 public:
  Trainer(SwapBoard& board, fs::path dir, std::uint64_t seed, bool careless)
      : board_(board), dir_(std::move(dir)), random_(seed), careless_(careless) {}

  void work() {
    auto saver = Saver::open(dir_, {.keep_any_of = {Retention::newest(4)}});
    if (!saver) ::_exit(3);
    while (true) {
      const std::int64_t number = ++board_.last;
      forget_before(number - 40);
      const std::uint64_t dice = random_() % 100;
      const Kind kind = dice < 50   ? Kind::Good
                        : dice < 60 ? Kind::Damaged
                        : dice < 70 ? Kind::OldSector
                        : dice < 80 ? Kind::HalfCopied
                        : dice < 90 ? Kind::OtherShape
                                    : Kind::Vanishing;
      ++board_.made[static_cast<std::size_t>(kind)];
      make(*saver, kind, number);
      ::usleep(static_cast<useconds_t>(random_() % 8000));
      if (careless_ && kind == Kind::Good)
        overwrite(dir_ / (base_of(number) + kShard), 120'000, std::string(4096, '\x7f'));
    }
  }

 private:
  void make(Saver& saver, Kind kind, std::int64_t number) {
    const std::size_t elements = kind == Kind::OtherShape ? kElements / 2 : kElements;
    const Model model(number, elements);
    const fs::path prefix = dir_ / base_of(number);
    if (kind == Kind::Good || kind == Kind::OtherShape || kind == Kind::Vanishing) {
      if (!saver.save("m", model.tensors(), {.step = number})) return;
      if (kind != Kind::Vanishing) return;
      ::usleep(static_cast<useconds_t>(random_() % 3000));
      for (const char* suffix : {kShard, ".index", ".cairn"}) fs::remove(prefix.string() + suffix);
      return;
    }
    const fs::path staged = dir_ / "staged" / base_of(number);
    fs::create_directories(staged.parent_path());
    if (!write(staged, model)) return;
    const std::string shard = read_bytes(staged.string() + kShard);
    if (kind == Kind::Damaged) {
      overwrite(staged.string() + kShard, 100'000 + random_() % 100'000, "\x7f");
    } else if (kind == Kind::OldSector) {
      const float old = static_cast<float>(number - 1);
      std::string sector;
      for (int i = 0; i < 1024; ++i) sector.append(reinterpret_cast<const char*>(&old), sizeof old);
      overwrite(staged.string() + kShard, 40'960, sector);
    } else {
      overwrite(staged.string() + kShard, 120'000, std::string(shard.size() - 120'000, '\0'));
    }
    for (const char* suffix : {kShard, ".cairn", ".index"})
      fs::rename(staged.string() + suffix, prefix.string() + suffix);
    (void)set_latest_checkpoint(dir_, prefix);
    if (kind != Kind::HalfCopied) return;
    ::usleep(static_cast<useconds_t>(random_() % 5000));
    overwrite(prefix.string() + kShard, 120'000, shard.substr(120'000));
  }

  // What killed trainers left, and what was copied in, belongs to no retention.
  void forget_before(std::int64_t number) {
    std::error_code ignored;
    for (const char* suffix : {kShard, ".index", ".cairn"}) {
      fs::remove(dir_.string() + "/" + base_of(number) + suffix, ignored);
      fs::remove(dir_.string() + "/staged/" + base_of(number) + suffix, ignored);
    }
  }

  SwapBoard& board_;
  fs::path dir_;
  Random random_;
  bool careless_;
};

// ---- The server ---------------------------------------------------------------------------------

bool is_whole(const Checkpoint& checkpoint) {
  const auto n = checkpoint.tensor("n");
  const auto a = checkpoint.tensor("a");
  if (!n || !a) return false;
  const auto numbers = n->as<std::int64_t>();
  const auto values = a->as<float>();
  if (!numbers || !values || values->size() != kElements) return false;
  const std::int64_t number = numbers->front();
  return checkpoint.prefix().filename() == base_of(number) &&
         std::ranges::all_of(*values, [&](float v) { return v == static_cast<float>(number); });
}

void answer_requests(SwapBoard& board, const Live& live) {
  Snapshot kept;
  for (std::uint64_t i = 0;; ++i) {
    Snapshot snapshot = live.current();
    if (snapshot && !is_whole(snapshot.checkpoint())) ++board.wrong;
    if (kept && i % 16 == 0 && !is_whole(kept.checkpoint())) ++board.wrong;
    if (i % 64 == 0) kept = snapshot;
    ++board.requests;
    ::usleep(300);
  }
}

// Adds what the status says to the board, until the process is killed.
void account(SwapBoard& board, Live& live, Random& random) {
  LiveStatus before;
  while (true) {
    ::usleep(1000);
    if (random() % 500 == 0) (void)live.rollback();
    const auto status = live.status();
    if (!status) continue;
    board.swaps += status->swap_count - before.swap_count;
    board.rollbacks += status->rollback_count - before.rollback_count;
    const std::uint64_t rejected = status->rejected_count - before.rejected_count;
    board.rejected += rejected;
    const std::size_t count = status->quarantine.size();
    for (std::size_t i = count - std::min<std::size_t>(count, rejected); i < count; ++i) {
      const QuarantinedCheckpoint& each = status->quarantine[i];
      if (each.why.empty() || each.prefix.empty()) ++board.unexplained;
      ++board.codes[static_cast<std::size_t>(each.code)];
    }
    before = *status;
  }
}

void serve(SwapBoard& board, const fs::path& dir, std::uint64_t seed) {
  Random random(seed);
  Random vetoes(seed + 1);
  LiveOptions options;
  options.bytes_per_second_max = 0;
  options.poll = milliseconds(1);
  options.expected = {{"a", DType::Float32, {static_cast<std::int64_t>(kElements)}},
                      {"n", DType::Int64, {}}};
  options.prepare = [&](const Checkpoint&) -> Result<std::shared_ptr<void>> {
    if (vetoes() % 50 == 0) return Error{Code::Unsupported, 0, "the server does not want it"};
    return std::shared_ptr<void>();
  };
  auto live = Live::open(dir, options);
  if (!live) ::_exit(3);
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back([&] { answer_requests(board, *live); });
  threads.emplace_back([&, runs = random() % 3 == 0] {
    if (runs) live->run({});
    while (true)
      if (live->poll(milliseconds(2)) > milliseconds(0)) ::usleep(300);
  });
  account(board, *live, random);
}

void read_too(const fs::path& dir) {
  while (true) {
    const auto checkpoint = Checkpoint::open(dir);
    if (checkpoint) (void)checkpoint->verify({.threads_max = 1});
    ::usleep(2000);
  }
}

// ---- All of them --------------------------------------------------------------------------------

class Process {
 public:
  explicit Process(std::function<void()> task) : task_(std::move(task)) { start(); }

  void start() {
    pid_ = ::fork();
    if (pid_ != 0) return;
    task_();
    ::_exit(0);
  }

  // false: it had ended before, by itself.
  bool kill_it() {
    ::kill(pid_, SIGKILL);
    int status = 0;
    ::waitpid(pid_, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

 private:
  std::function<void()> task_;
  pid_t pid_ = -1;
};

// Whether a Live publishes a good checkpoint after all this.
bool recovers(SwapBoard& board, const fs::path& dir) {
  const std::int64_t number = ++board.last;
  auto saver = Saver::open(dir);
  if (!saver || !saver->save("m", Model(number, kElements).tensors(), {.step = number}))
    return false;
  auto live = Live::open(dir, {.bytes_per_second_max = 0, .poll = milliseconds(1)});
  if (!live) return false;
  for (int i = 0; i < 10'000; ++i) {
    live->poll(milliseconds(1));
    const Snapshot snapshot = live->current();
    if (snapshot && snapshot.checkpoint().step() == number) return is_whole(snapshot.checkpoint());
  }
  return false;
}

void tell(const SwapBoard& board, std::array<std::uint64_t, 3> kills, std::uint64_t crashes) {
  std::printf("%llu swaps, %llu rollbacks, %llu rejected, %llu requests\n",
              static_cast<unsigned long long>(board.swaps),
              static_cast<unsigned long long>(board.rollbacks),
              static_cast<unsigned long long>(board.rejected),
              static_cast<unsigned long long>(board.requests));
  for (std::size_t i = 0; i < kKinds.size(); ++i)
    std::printf("%s%llu %s", i == 0 ? "made: " : ", ",
                static_cast<unsigned long long>(board.made[i]), kKinds[i]);
  std::printf("\nrejected as:");
  for (std::size_t i = 0; i < board.codes.size(); ++i)
    if (board.codes[i] != 0)
      std::printf(" %s %llu", name(static_cast<Code>(i)),
                  static_cast<unsigned long long>(board.codes[i]));
  std::printf("\nkilled: trainer %llu, server %llu, reader %llu times\n",
              static_cast<unsigned long long>(kills[0]), static_cast<unsigned long long>(kills[1]),
              static_cast<unsigned long long>(kills[2]));
  std::printf("%llu wrong answers, %llu rejections without a reason, %llu crashes\n",
              static_cast<unsigned long long>(board.wrong),
              static_cast<unsigned long long>(board.unexplained),
              static_cast<unsigned long long>(crashes));
}

int run(std::uint64_t count, std::uint64_t seed, bool careless) {
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  Random random(seed);
  const Place place;
  const SharedMemory<SwapBoard> board;
  std::array<Process, 3> processes{
      Process([&] {
        Trainer(*board, place.path(), seed + static_cast<std::uint64_t>(board->last), careless)
            .work();
      }),
      Process([&] { serve(*board, place.path(), seed + board->swaps); }),
      Process([&] { read_too(place.path()); })};
  std::array<std::uint64_t, 3> kills{};
  std::uint64_t crashes = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::hours(1);
  while (board->swaps < count && std::chrono::steady_clock::now() < end) {
    ::usleep(static_cast<useconds_t>(random() % 80'000));
    const std::uint64_t dice = random() % 10;
    const std::size_t victim = dice < 6 ? 0 : dice < 8 ? 1 : 2;
    if (!processes[victim].kill_it()) ++crashes;
    ++kills[victim];
    processes[victim].start();
  }
  for (Process& each : processes)
    if (!each.kill_it()) ++crashes;
  tell(*board, kills, crashes);
  const bool good = board->swaps >= count && board->wrong == 0 && board->unexplained == 0 &&
                    crashes == 0 && board->requests > 0 && board->rejected > 0;
  if (careless) {
    const bool caught = board->wrong > 0;
    std::printf("%d passed, %d failed, 0 skipped\n", caught ? 1 : 0, caught ? 0 : 1);
    return caught ? 0 : 1;
  }
  const int passed = (good ? 1 : 0) + (recovers(*board, place.path()) ? 1 : 0);
  std::printf("%d passed, %d failed, 0 skipped\n", passed, 2 - passed);
  return passed == 2 ? 0 : 1;
}

}  // namespace
}  // namespace cairn::live

int main(int argc, char** argv) {
  const std::uint64_t count = argc > 1 ? std::stoull(argv[1]) : 300;
  const std::uint64_t seed = argc > 2 ? std::stoull(argv[2]) : std::random_device{}();
  return cairn::live::run(count, seed, argc > 3);
}
