// Readers take no lock, so they meet writers at every moment: between two renames, between the
// removal of an index and that of its shards, between the catalog and what it names. Here they do
// so thousands of times, in threads and in processes. What is promised: an open that could succeed
// does, what it gives belongs together, and stays as it is while its files are pruned.
//
// Every tensor of a checkpoint is filled with the number of its generation, and their length
// follows from it too: a view of two generations, or of a half-written one, is seen at once.

#include <cairn/cairn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <deque>
#include <fstream>
#include <optional>

#include "crew.h"

namespace cairn::live {
namespace {

namespace fs = std::filesystem;
using Path = fs::path;

// ---- Checkpoints by generation ------------------------------------------------------------------

std::size_t length_of(std::int64_t generation) {
  return 300 + static_cast<std::size_t>(generation % 5);
}

Result<void> save(const Path& prefix, std::int64_t generation, const WriterOptions& options = {}) {
  const std::vector<std::int64_t> longs(length_of(generation), generation);
  const std::vector<std::int32_t> ints(length_of(generation),
                                       static_cast<std::int32_t>(generation));
  const auto length = static_cast<std::int64_t>(longs.size());
  const std::string text = std::to_string(generation);
  auto writer = Writer::create(prefix,
                               {{"ints", DType::Int32, {length}},
                                {"longs", DType::Int64, {length}},
                                {"text", DType::String, {}}},
                               options);
  if (!writer) return std::move(writer).error();
  if (auto done = writer->write("longs", std::as_bytes(std::span(longs))); !done) return done;
  if (auto done = writer->write("ints", std::as_bytes(std::span(ints))); !done) return done;
  const std::string_view value = text;
  if (auto done = writer->write_strings("text", std::span(&value, 1)); !done) return done;
  return writer->commit();
}

template <class T>
Result<bool> all_are(const Checkpoint& checkpoint, std::string_view name, std::int64_t generation) {
  const auto tensor = checkpoint.tensor(name);
  if (!tensor) return tensor.error();
  const auto values = tensor->as<T>();  // in the mapping
  if (!values) return values.error();
  return values->size() == length_of(generation) &&
         std::ranges::all_of(*values, [&](T value) { return value == static_cast<T>(generation); });
}

// The generation that a checkpoint holds; −1: its tensors do not belong together.
Result<std::int64_t> generation_of(const Checkpoint& checkpoint) {
  const auto tensor = checkpoint.tensor("text");
  if (!tensor) return tensor.error();
  const auto text = tensor->strings();
  if (!text) return text.error();
  const std::int64_t generation = std::stoll(std::string((*text)[0]));
  const auto longs = all_are<std::int64_t>(checkpoint, "longs", generation);
  if (!longs) return longs.error();
  const auto ints = all_are<std::int32_t>(checkpoint, "ints", generation);
  if (!ints) return ints.error();
  return *longs && *ints ? generation : -1;
}

// ---- Readers ------------------------------------------------------------------------------------

// Opens again and again, and keeps the last views open: what was seen must stay.
class Reader {
 public:
  explicit Reader(Board& board) : board_(board) {}

  // `gone`: whether "it was removed" is an honest answer. Generations never go back.
  void look(const Path& path, const OpenOptions& options, bool gone = false) {
    const auto checkpoint = Checkpoint::open(path, options);
    if (!checkpoint && gone && checkpoint.error().code == Code::NotFound) {
      ++board_.gone;
      return;
    }
    if (!checkpoint) return board_.spurious(checkpoint.error().what);
    const auto generation = generation_of(*checkpoint);
    if (!generation) return board_.spurious(generation.error().what);
    if (*generation < 0) return board_.tear(path.string() + ": two generations in one view");
    if (!gone && *generation < newest_) {
      return board_.tear(path.string() + ": generation " + std::to_string(*generation) + " after " +
                         std::to_string(newest_));
    }
    newest_ = std::max(newest_, *generation);
    held_.push_back({*checkpoint, *generation});
    if (held_.size() > kHeld) let_go();
    ++board_.views;
  }

  ~Reader() {
    while (!held_.empty()) let_go();
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

 private:
  static constexpr std::size_t kHeld = 16;
  struct Held {
    Checkpoint checkpoint;
    std::int64_t generation;
  };

  void let_go() {
    const Held& oldest = held_.front();
    const auto now = generation_of(oldest.checkpoint);
    const auto sums = oldest.checkpoint.verify({.threads_max = 1});
    if (!now || *now != oldest.generation || !sums || !sums->damage.empty())
      board_.tear(oldest.checkpoint.prefix().string() + ": a view changed while it was held");
    held_.pop_front();
  }

  Board& board_;
  std::int64_t newest_ = 0;
  std::deque<Held> held_;
};

OpenOptions checked(Verify verify) {
  OpenOptions options;
  options.verify = verify;
  options.work.threads_max = 1;
  return options;
}

Task reader_of(Board& board, Path path, Verify verify = Verify::Full) {
  return [&board, path = std::move(path), verify] {
    Reader reader(board);
    while (!board.over) reader.look(path, checked(verify));
  };
}

// ---- Writers ------------------------------------------------------------------------------------

// One prefix, saved again and again.
Task resaver_of(Board& board, Path prefix, std::int64_t rounds,
                std::vector<WriterOptions> kinds = {{}}) {
  return [&board, prefix = std::move(prefix), rounds, kinds = std::move(kinds)] {
    for (std::int64_t i = 0; i < rounds; ++i) {
      const std::int64_t generation = ++board.next;
      const auto done = save(prefix, generation, kinds[static_cast<std::size_t>(i) % kinds.size()]);
      if (!done) return board.spurious(done.error().what);
      ++board.commits;
    }
  };
}

// A lock that dies with its process; each holder has its own descriptor.
class Lock {
 public:
  explicit Lock(const Path& path) : fd_(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)) {
    if (fd_ < 0 || ::flock(fd_, LOCK_EX) != 0)
      throw std::runtime_error("cannot lock " + path.string());
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() { ::close(fd_); }

 private:
  int fd_;
};

enum class Order : std::uint8_t { CatalogFirst, RemoveFirst };

// The files of a checkpoint, its indexes first.
void remove_checkpoint(const Path& prefix) {
  for (const char* suffix : {".index", ".cairn"}) fs::remove(prefix.string() + suffix);
  for (int count = 1; count <= 3; ++count) {
    for (int shard = 0; shard < count; ++shard) {
      char name[32];
      std::snprintf(name, sizeof name, ".data-%05d-of-%05d", shard, count);
      fs::remove(prefix.string() + name);
    }
  }
}

Path prefix_of(const Path& dir, std::int64_t generation) {
  return dir / ("m-" + std::to_string(generation));
}

// Saves, names it in the catalog, and removes what is too old.
Result<void> save_next(Board& board, const Path& dir, Order order) {
  constexpr std::size_t kKept = 2;
  const Lock lock(dir / "lock");
  const std::int64_t generation = ++board.next;
  const Path prefix = prefix_of(dir, generation);
  if (auto done = save(prefix, generation); !done) return done;
  const auto before = get_checkpoint_state(dir);
  if (!before) return before.error();
  CheckpointState state = before->value_or(CheckpointState());
  state.all_model_checkpoint_paths.push_back(prefix);
  state.model_checkpoint_path = prefix;
  std::vector<Path> old;
  while (state.all_model_checkpoint_paths.size() > kKept) {
    old.push_back(state.all_model_checkpoint_paths.front());
    state.all_model_checkpoint_paths.erase(state.all_model_checkpoint_paths.begin());
  }
  if (order == Order::RemoveFirst) {
    for (const Path& each : before->value_or(state).all_model_checkpoint_paths)
      remove_checkpoint(each);
  }
  if (auto done = update_checkpoint_state(dir, state); !done) return done;
  for (const Path& each : old) remove_checkpoint(each);
  return {};
}

Task saver_of(Board& board, Path dir, std::int64_t rounds, Order order = Order::CatalogFirst) {
  return [&board, dir = std::move(dir), rounds, order] {
    for (std::int64_t i = 0; i < rounds; ++i) {
      const auto done = save_next(board, dir, order);
      if (!done) return board.spurious(done.error().what);
      ++board.commits;
      if (order == Order::RemoveFirst && board.errors > 0) return;  // caught
    }
  };
}

// What nobody may do: the bytes of a published shard change, and no index says so.
Task overwriter_of(Board& board, Path prefix, std::int64_t rounds) {
  return [&board, prefix = std::move(prefix), rounds] {
    for (std::int64_t i = 0; i < rounds && board.errors + board.torn == 0; ++i) {
      const int fd =
          ::open((prefix.string() + ".data-00000-of-00002").c_str(), O_WRONLY | O_CLOEXEC);
      const std::int64_t wrong = -1 - i;
      if (fd < 0 || ::pwrite(fd, &wrong, sizeof wrong, 6000) != sizeof wrong)
        return board.spurious("cannot overwrite");
      ::close(fd);
      ++board.commits;
    }
  };
}

// ---- Readers of a directory ---------------------------------------------------------------------

Task reader_of_latest(Board& board, Path dir) {
  return [&board, dir = std::move(dir)] {
    while (!board.over) {
      const auto latest = latest_checkpoint(dir);
      if (!latest || !*latest)
        board.spurious(latest ? "there is no latest checkpoint" : latest.error().what);
      const auto whole = latest_whole(dir);
      if (!whole || !whole->prefix)
        board.spurious(whole ? "there is no whole checkpoint" : whole.error().what);
      ++board.views;
    }
  };
}

// Opens what the catalog lists, the oldest first: that is what goes next.
Task reader_of_listed(Board& board, Path dir) {
  return [&board, dir = std::move(dir)] {
    Reader reader(board);
    while (!board.over) {
      const auto state = get_checkpoint_state(dir);
      if (!state || !*state) {
        board.spurious(state ? "there is no catalog" : state.error().what);
        continue;
      }
      for (const Path& each : (*state)->all_model_checkpoint_paths)
        reader.look(each, checked(Verify::Lazy), true);
    }
  };
}

// ---- What must hold -----------------------------------------------------------------------------

void check_flawless(const Board& board, std::uint64_t commits) {
  MESSAGE(board.commits.load(), " commits, ", board.views.load(), " views, ", board.gone.load(),
          " gone, ", board.errors.load(), " spurious errors, ", board.torn.load(), " torn");
  INFO(std::string(board.first));
  CHECK(board.commits == commits);
  CHECK(board.views > 0);
  CHECK(board.errors == 0);
  CHECK(board.torn == 0);
}

#ifdef CAIRN_THREADS_ONLY
constexpr Form kForms[] = {Form::Threads};
#else
constexpr Form kForms[] = {Form::Threads, Form::Processes};
#endif

TEST_CASE("a prefix that is saved again and again opens at every moment") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    REQUIRE(save(place / "m", ++board->next));
    work(form, *board, {resaver_of(*board, place / "m", 5000)},
         {reader_of(*board, place / "m"), reader_of(*board, place / "m", Verify::Lazy),
          reader_of(*board, place / "m.index"), reader_of(*board, place / "m.cairn")});
    check_flawless(*board, 5000);
  }
}

TEST_CASE("a prefix opens at every moment though its indexes come and go") {
  WriterOptions own;
  own.tensorflow_index = false;
  WriterOptions foreign;
  foreign.cairn_index = false;
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    REQUIRE(save(place / "m", ++board->next));
    work(form, *board,
         {resaver_of(*board, place / "m", 2000, {own, foreign, {}, foreign, own, {}})},
         {reader_of(*board, place / "m"), reader_of(*board, place / "m")});
    check_flawless(*board, 2000);
  }
}

TEST_CASE("a directory opens at every moment while several writers save and prune") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    REQUIRE(save_next(*board, place.path(), Order::CatalogFirst));
    const std::vector<Task> writers(4, saver_of(*board, place.path(), 1000));
    work(form, *board, writers,
         {reader_of(*board, place.path()), reader_of(*board, place.path(), Verify::Lazy),
          reader_of_latest(*board, place.path()), reader_of_listed(*board, place.path())});
    check_flawless(*board, 4000);
  }
}

// ---- That the readers above would see it --------------------------------------------------------

TEST_CASE("a writer that changes a published shard in place is caught") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    REQUIRE(save(place / "m", ++board->next));
    fs::permissions(place / "m.data-00000-of-00002", fs::perms::owner_write, fs::perm_options::add);
    work(form, *board, {overwriter_of(*board, place / "m", 100'000)},
         {reader_of(*board, place / "m", Verify::None), reader_of(*board, place / "m")});
    CHECK(board->commits > 0);
    CHECK(board->errors + board->torn > 0);
  }
}

TEST_CASE("a writer that prunes before it renews the catalog is caught") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    REQUIRE(save_next(*board, place.path(), Order::CatalogFirst));
    work(form, *board, {saver_of(*board, place.path(), 20'000, Order::RemoveFirst)},
         {reader_of(*board, place.path()), reader_of_latest(*board, place.path())});
    CHECK(board->commits > 0);
    CHECK(board->errors + board->torn > 0);
  }
}

}  // namespace
}  // namespace cairn::live
