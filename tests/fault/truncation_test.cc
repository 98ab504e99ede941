// Somebody cuts files off at any moment, and puts back what was there, while others open, verify,
// prefetch, read and restore. What is promised: Cairn's own calls answer with an error or with what
// was saved, and no signal comes; under a SigbusGuard, who touches the mapping lives as well, and
// can tell that he read zeros.
//
// Readers are processes, so that one that dies is seen and replaced.

#include <doctest/doctest.h>
#include <fcntl.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iterator>
#include <random>
#include <thread>

#include "crew.h"
#include "faults.h"

namespace cairn::faults {
namespace {

namespace fs = std::filesystem;
using live::Place;
using Random = std::mt19937_64;

std::uint64_t below(Random& random, std::uint64_t bound) { return random() % bound; }

void rest(Random& random, std::uint64_t microseconds_max) {
  std::this_thread::sleep_for(std::chrono::microseconds(below(random, microseconds_max)));
}

bool is_long() {
  const char* form = std::getenv("CAIRN_LIVE");
  return form != nullptr && std::string_view(form) == "long";
}

std::uint64_t seed() {
  const char* given = std::getenv("CAIRN_SEED");
  return given != nullptr ? std::stoull(given) : std::random_device()();
}

// ---- What all processes see ---------------------------------------------------------------------

constexpr std::size_t kCallsMax = 24;

struct Tally {
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> wrong{0};    // values that were given out, and nothing said
  std::atomic<std::uint64_t> faulted{0};  // checkpoints that a guard marked
  std::array<std::atomic<std::uint64_t>, kCallsMax> done{};
  std::array<std::atomic<std::uint64_t>, kCallsMax> failed{};
};

class SharedTally {
 public:
  SharedTally() {
    void* memory =
        ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    tally_ = new (memory) Tally();
  }
  SharedTally(const SharedTally&) = delete;
  SharedTally& operator=(const SharedTally&) = delete;
  ~SharedTally() { ::munmap(tally_, sizeof(Tally)); }
  Tally& operator*() const noexcept { return *tally_; }
  Tally* operator->() const noexcept { return tally_; }

 private:
  Tally* tally_;
};

// ---- What is cut off ----------------------------------------------------------------------------

// A file that is cut off and put back.
class Victim {
 public:
  explicit Victim(fs::path path) : path_(std::move(path)), time_(fs::last_write_time(path_)) {
    ::chmod(path_.c_str(), 0600);
    std::ifstream in(path_, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
  }

  std::uint64_t size() const { return bytes_.size(); }

  void truncate(std::uint64_t size_bytes) const { cut(path_, size_bytes); }

  // By appending, so that nobody ever sees zeros where there were none.
  void put_back(std::uint64_t from_bytes) const {
    const int fd = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) throw std::runtime_error("cannot open " + path_.string());
    for (std::uint64_t at = from_bytes; at < size();) {
      const ssize_t count = ::pwrite(fd, &bytes_[at], size() - at, static_cast<off_t>(at));
      if (count <= 0) throw std::runtime_error("cannot write " + path_.string());
      at += static_cast<std::uint64_t>(count);
    }
    ::close(fd);
    fs::last_write_time(path_, time_);
  }

 private:
  fs::path path_;
  fs::file_time_type time_;
  std::string bytes_;
};

// Lengths that a file is cut to.
enum class Lengths : std::uint8_t { Any, Pages };

void truncate_once(const std::vector<Victim>& victims, Lengths lengths, Random& random) {
  const Victim& victim = victims[below(random, victims.size())];
  std::uint64_t size_bytes = below(random, victim.size());
  if (lengths == Lengths::Pages) size_bytes = size_bytes / kPageBytes * kPageBytes;
  if (below(random, 4) == 0) size_bytes = 0;
  rest(random, 8000);
  victim.truncate(size_bytes);
  rest(random, 300);
  victim.put_back(size_bytes);
}

// ---- The files ----------------------------------------------------------------------------------

// Checkpoints of each kind, and their files.
class Files {
 public:
  Files() {
    save(own());
    save(large(), 2000);
    auto writer =
        Writer::create(foreign(), {{"w", DType::Int32, {kCount / 4}}}, {.cairn_index = false});
    must(writer);
    const std::vector<std::int32_t> values(kCount / 4, kValue);
    must(writer->write("w", std::as_bytes(std::span(values))));
    must(writer->commit());
    copy("v1/old.ckpt-3", v1());
    copy("tf2_manager/tf_ckpts/ckpt-4.index", objects().string() + ".index");
    copy("tf2_manager/tf_ckpts/ckpt-4.data-00000-of-00001",
         objects().string() + ".data-00000-of-00001");
  }

  fs::path own() const { return place_ / "own"; }
  fs::path large() const { return place_ / "large"; }  // its index has many pages
  fs::path foreign() const { return place_ / "foreign"; }
  fs::path v1() const { return place_ / "v1"; }
  fs::path objects() const { return place_ / "objects"; }

  // The files of these prefixes, and the shard that most is asked of half of the time.
  std::vector<Victim> of(const std::vector<fs::path>& prefixes) const {
    std::vector<Victim> victims;
    for (const auto& entry : fs::directory_iterator(place_.path())) {
      for (const fs::path& prefix : prefixes) {
        const std::string name = entry.path().string();
        if (name == prefix || name.starts_with(prefix.string() + ".")) victims.emplace_back(name);
      }
    }
    const std::vector<Victim> shards(victims.size(), Victim(shard_of(own())));
    victims.insert(victims.end(), shards.begin(), shards.end());
    return victims;
  }

  std::vector<Victim> all() const { return of({own(), large(), foreign(), v1(), objects()}); }

  // A directory of this process.
  fs::path scratch() const { return place_ / ("scratch-" + std::to_string(::getpid())); }

 private:
  static void copy(const std::string& golden, const fs::path& to) {
    fs::copy_file(fs::path(CAIRN_GOLDEN_DIR) / "tensorflow" / golden, to);
  }

  Place place_;
};

// ---- What readers do ----------------------------------------------------------------------------

struct Reader {
  const Files& files;
  Tally& tally;
  Random random;
};

struct Call {
  const char* name;
  std::function<bool(Reader&)> make;
};

Result<Checkpoint> open(const fs::path& prefix, Access access = Access::Shared,
                        Verify verify = Verify::None) {
  OpenOptions options;
  options.access = access;
  options.verify = verify;
  return Checkpoint::open(prefix, options);
}

bool all_are_right(std::span<const std::int32_t> values) {
  return std::ranges::all_of(values, [](std::int32_t value) { return value == kValue; });
}

bool with(const Result<Checkpoint>& checkpoint, const auto& use) {
  return checkpoint && use(*checkpoint);
}

std::function<bool(Reader&)> list(const fs::path& prefix) {
  return [prefix](Reader&) {
    return with(open(prefix), [](const Checkpoint& checkpoint) {
      std::size_t bytes = 0;
      for (std::size_t i = 0; i < checkpoint.tensor_count(); ++i)
        bytes += checkpoint.tensor_at(i).name().size();
      return bytes != 0;
    });
  };
}

bool verify_all(Reader& reader) {
  return with(open(reader.files.own()), [](const Checkpoint& checkpoint) {
    const auto seen = checkpoint.verify();
    return seen && seen->damage.empty();
  });
}

bool prefetch_all(Reader& reader) {
  return with(open(reader.files.own()),
              [](const Checkpoint& checkpoint) { return checkpoint.prefetch().has_value(); });
}

// What is summed on the way is right, or an error.
bool read_whole(Reader& reader) {
  const auto checkpoint = open(reader.files.own(), Access::Shared, Verify::Lazy);
  if (!checkpoint) return false;
  std::vector<std::int32_t> values(kCount);
  const bool done =
      checkpoint->tensor("w")->read(std::as_writable_bytes(std::span(values))).has_value();
  if (done && !all_are_right(values)) ++reader.tally.wrong;
  return done;
}

bool read_by_plan(Reader& reader) {
  const auto checkpoint = open(reader.files.own(), Access::Shared, Verify::Lazy);
  if (!checkpoint) return false;
  std::vector<std::int32_t> values(kCount);
  std::vector<std::int32_t> few(2);
  const Read reads[]{{"w", {}, std::as_writable_bytes(std::span(values))},
                     {"v", {}, std::as_writable_bytes(std::span(few))}};
  const bool done = checkpoint->read(reads).has_value();
  if (done && !(all_are_right(values) && all_are_right(few))) ++reader.tally.wrong;
  return done;
}

bool read_slices(Reader& reader) {
  return with(open(reader.files.own(), Access::Shared, Verify::Lazy),
              [&](const Checkpoint& checkpoint) {
                const auto start = static_cast<std::int64_t>(below(reader.random, kCount - 1000));
                const Range part[]{{start, 1000}};
                return checkpoint.tensor("w")->values<std::int32_t>(part).has_value();
              });
}

bool read_strings(Reader& reader) {
  return with(open(reader.files.own(), Access::Shared, Verify::Lazy),
              [](const Checkpoint& checkpoint) {
                const auto strings = checkpoint.tensor("text")->strings();
                return strings && strings->size() == 1;
              });
}

bool read_private(Reader& reader) {
  return with(open(reader.files.own(), Access::Private), [](const Checkpoint& checkpoint) {
    std::vector<std::byte> out(kCount * 4);
    return checkpoint.tensor("w")->read(out) && checkpoint.tensor("text")->strings();
  });
}

bool copy_and_touch(Reader& reader) {
  return with(open(reader.files.own(), Access::Copy, Verify::Full),
              [&](const Checkpoint& checkpoint) {
                const auto values = checkpoint.tensor("w")->as<std::int32_t>();
                if (values && !all_are_right(*values)) ++reader.tally.wrong;
                return values.has_value();
              });
}

bool open_foreign(Reader& reader) {
  return with(open(reader.files.foreign(), Access::Shared, Verify::Full),
              [](const Checkpoint&) { return true; });
}

bool open_v1(Reader& reader) {
  return with(open(reader.files.v1()), [](const Checkpoint&) { return true; });
}

bool read_graph(Reader& reader) {
  return with(open(reader.files.objects()), [](const Checkpoint& checkpoint) {
    return read_object_graph(checkpoint).has_value();
  });
}

bool convert_it(Reader& reader) {
  const fs::path scratch = reader.files.scratch();
  TransferOptions options;
  options.output = scratch / "m";
  const Format to = below(reader.random, 2) == 0 ? Format::Cairn : Format::TensorFlow;
  const bool done = convert(reader.files.foreign(), to, options).has_value();
  fs::remove_all(scratch);
  return done;
}

std::function<bool(Reader&)> restore_by(IoMethod method) {
  return [method](Reader& reader) {
    RestoreOptions options;
    options.method = method;
    return restore(reader.files.own(), options).has_value();
  };
}

std::vector<Call> own_calls(const Files& files) {
  return {{"open", list(files.own())},
          {"large index", list(files.large())},
          {"verify", verify_all},
          {"prefetch", prefetch_all},
          {"read", read_whole},
          {"read plan", read_by_plan},
          {"slices", read_slices},
          {"strings", read_strings},
          {"private", read_private},
          {"copy", copy_and_touch},
          {"foreign", open_foreign},
          {"V1", open_v1},
          {"object graph", read_graph},
          {"convert", convert_it},
          {"map", restore_by(IoMethod::Map)},
          {"populate", restore_by(IoMethod::Populate)},
          {"restore: read", restore_by(IoMethod::Read)},
          {"direct", restore_by(IoMethod::Direct)}};
}

// What only a guard makes safe: a view that is read where it lies.
bool touch_views(Reader& reader, const fs::path& prefix, Access access) {
  const auto checkpoint = open(prefix, access);
  if (!checkpoint) return false;
  const auto values = checkpoint->tensor("w")->as<std::int32_t>();
  if (!values) return false;
  const bool right = all_are_right(*values);
  const bool faulted = checkpoint->faulted();
  if (faulted) ++reader.tally.faulted;
  if (!right && !faulted) ++reader.tally.wrong;
  return right;
}

std::vector<Call> touching_calls() {
  return {
      {"touch", [](Reader& r) { return touch_views(r, r.files.own(), Access::Shared); }},
      {"touch private", [](Reader& r) { return touch_views(r, r.files.own(), Access::Private); }}};
}

std::vector<Call> guarded_calls(const Files& files) {
  std::vector<Call> calls = own_calls(files);
  for (Call& call : touching_calls()) calls.push_back(std::move(call));
  return calls;
}

// ---- Readers in processes -----------------------------------------------------------------------

enum class Guarded : std::uint8_t { No, Yes };

struct Plan {
  const Files& files;
  std::vector<Call> calls;
  Guarded guarded{};
};

class Readers {
 public:
  Readers(const Plan& plan, Tally& tally, Random& random)
      : plan_(plan), tally_(tally), random_(random) {
    for (int i = 0; i < 3; ++i) start();
  }

  // Replaces those that died; how many there were.
  std::size_t bury() {
    std::size_t dead = 0;
    for (pid_t& reader : readers_) {
      int status = 0;
      if (::waitpid(reader, &status, WNOHANG) != reader) continue;
      ++dead;
      reader = fork_one();
    }
    return dead;
  }

  // Ends them; how many died before.
  std::size_t end() {
    tally_.over = true;
    std::size_t dead = 0;
    for (const pid_t reader : readers_) {
      int status = 0;
      if (::waitpid(reader, &status, 0) != reader || status != 0) ++dead;
    }
    return dead;
  }

 private:
  void start() { readers_.push_back(fork_one()); }

  pid_t fork_one() {
    const std::uint64_t own_seed = random_();
    const pid_t child = ::fork();
    if (child < 0) throw std::runtime_error("cannot fork");
    if (child > 0) return child;
    std::optional<Result<SigbusGuard>> guard;
    if (plan_.guarded == Guarded::Yes) guard.emplace(SigbusGuard::install());
    if (guard && !*guard) ::_exit(1);
    Reader reader{plan_.files, tally_, Random(own_seed)};
    while (!tally_.over) {
      const std::size_t number = below(reader.random, plan_.calls.size());
      const bool done = plan_.calls[number].make(reader);
      ++(done ? tally_.done : tally_.failed)[number];
    }
    ::_exit(0);
  }

  const Plan& plan_;
  Tally& tally_;
  Random& random_;
  std::vector<pid_t> readers_;
};

struct Round {
  std::vector<Victim> victims;
  Lengths lengths{};
  std::uint64_t truncations = 0;
  bool until_a_death = false;
};

// Whether each kind of call has come to its end without meeting a file that was cut off.
bool all_done(const Plan& plan, const Tally& tally) {
  return std::all_of(tally.done.begin(), tally.done.begin() + plan.calls.size(),
                     [](const auto& count) { return count > 0; });
}

// How many readers died.
std::size_t run(const Plan& plan, const Round& round, Tally& tally) {
  const std::uint64_t first = seed();
  Random random(first);
  Readers readers(plan, tally, random);
  std::size_t dead = 0;
  std::uint64_t made = 0;
  // On a busy machine one kind of call may not have come to its end by then.
  const auto goes_on = [&] {
    if (round.until_a_death) return made < round.truncations && dead == 0;
    return made < round.truncations || (made < 10 * round.truncations && !all_done(plan, tally));
  };
  while (goes_on()) {
    truncate_once(round.victims, round.lengths, random);
    ++made;
    dead += readers.bury();
  }
  dead += readers.end();
  std::string text;
  for (std::size_t i = 0; i < plan.calls.size(); ++i) {
    text += std::string(i == 0 ? "" : ", ") + plan.calls[i].name + " " +
            std::to_string(tally.done[i]) + "/" + std::to_string(tally.failed[i]);
  }
  MESSAGE("seed ", first, ": ", made, " truncations, ", dead, " dead, ", tally.wrong.load(),
          " wrong, ", tally.faulted.load(), " marked; done/failed: ", text);
  return dead;
}

// Each kind of call was made, and met a file that was cut off: else the round proves nothing.
void check_busy(const Plan& plan, const Tally& tally) {
  for (std::size_t i = 0; i < plan.calls.size(); ++i) {
    INFO(plan.calls[i].name);
    CHECK(tally.done[i] > 0);
    if (is_long()) CHECK(tally.failed[i] > 0);
  }
}

std::uint64_t truncations() { return is_long() ? 10'000 : 400; }

TEST_CASE("files are cut off at any moment, and no signal comes inside a call of Cairn's") {
  const Files files;
  const SharedTally tally;
  const Plan plan{files, own_calls(files), Guarded::No};
  const Round round{files.all(), Lengths::Any, truncations()};
  CHECK(run(plan, round, *tally) == 0);
  CHECK(tally->wrong == 0);
  check_busy(plan, *tally);
}

TEST_CASE("with a guard nobody dies who reads mappings, and nobody takes a zero for a value") {
  const Files files;
  const SharedTally tally;
  const Plan plan{files, guarded_calls(files), Guarded::Yes};
  const Round round{files.all(), Lengths::Pages, truncations()};
  CHECK(run(plan, round, *tally) == 0);
  CHECK(tally->wrong == 0);
  CHECK(tally->faulted > 0);
  check_busy(plan, *tally);
}

TEST_CASE("without the guard somebody dies who reads mappings") {
  const Files files;
  const SharedTally tally;
  const Plan plan{files, touching_calls(), Guarded::No};
  const Round round{files.of({files.own()}), Lengths::Any, 10'000, true};
  CHECK(run(plan, round, *tally) > 0);
}

}  // namespace
}  // namespace cairn::faults
