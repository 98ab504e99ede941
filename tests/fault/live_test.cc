// Readers take no lock, so they meet writers at every moment: between two renames, between the
// removal of an index and that of its shards, between the catalog and what it names. Here they do
// so thousands of times, in threads and in processes. What is promised: an open that could succeed
// does, what it gives belongs together, and stays as it is while its files are pruned.
//
// Every tensor of a checkpoint is filled with the number of its generation, and their lengths
// differ from one to the next: a view of two generations, or of a half-written one, is seen at
// once.

#include <cairn/cairn.h>
#include <doctest/doctest.h>
#include <fcntl.h>
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

// Which one it is, and how long its tensors are. Generations are given out under the lock, so that
// they grow in the order of the catalog; a Saver wants names and shapes before.
struct Content {
  std::int64_t generation = 0;
  std::int64_t length = 0;
};

std::int64_t length_of(std::int64_t number) { return 300 + number % 5; }

std::vector<TensorSpec> specs_of(std::int64_t length) {
  return {{"ints", DType::Int32, {length}},
          {"longs", DType::Int64, {length}},
          {"text", DType::String, {}}};
}

Result<void> write(Writer& writer, const Content& content) {
  const auto length = static_cast<std::size_t>(content.length);
  const std::vector<std::int64_t> longs(length, content.generation);
  const std::vector<std::int32_t> ints(length, static_cast<std::int32_t>(content.generation));
  const std::string text = std::to_string(content.generation);
  const std::string_view value = text;
  if (auto done = writer.write("longs", std::as_bytes(std::span(longs))); !done) return done;
  if (auto done = writer.write("ints", std::as_bytes(std::span(ints))); !done) return done;
  return writer.write_strings("text", std::span(&value, 1));
}

Result<void> save(const Path& prefix, std::int64_t generation, const WriterOptions& options = {}) {
  const std::int64_t length = length_of(generation);
  auto writer = Writer::create(prefix, specs_of(length), options);
  if (!writer) return std::move(writer).error();
  if (auto done = write(*writer, {generation, length}); !done) return done;
  return writer->commit();
}

template <class T>
Result<bool> all_are(const Checkpoint& checkpoint, std::string_view name, std::int64_t generation) {
  const auto tensor = checkpoint.tensor(name);
  if (!tensor) return tensor.error();
  const auto values = tensor->as<T>();  // in the mapping
  if (!values) return values.error();
  return std::ranges::all_of(*values, [&](T value) { return value == static_cast<T>(generation); });
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
  options.exec.threads_max = 1;
  return options;
}

Task reader_of(Board& board, Path path, Verify verify = Verify::Full) {
  return [&board, path = std::move(path), verify] {
    Reader reader(board);
    while (!board.over) reader.look(path, checked(verify));
  };
}

// ---- What P.cairn alone can say -----------------------------------------------------------------

// A tensor of a dtype that TensorFlow has not, and metadata; and one tensor that changes its name.
Result<void> save_mixed(const Path& prefix) {
  WriterOptions options;
  options.metadata = {{"who", "me"}};
  auto writer = Writer::create(
      prefix, {{"a", DType::Float32, {}}, {"fine", DType::Opaque, {2}, {"F8_E8M0", 8}}}, options);
  if (!writer) return std::move(writer).error();
  const float value = 1;
  const std::array fine{std::byte{1}, std::byte{2}};
  if (auto done = writer->write("a", std::as_bytes(std::span(&value, 1))); !done) return done;
  if (auto done = writer->write("fine", fine); !done) return done;
  return writer->commit();
}

// Renames in place, there and back.
Task renamer_of(Board& board, Path prefix, std::int64_t rounds) {
  return [&board, prefix = std::move(prefix), rounds] {
    TransferOptions options;
    options.replace = true;
    for (std::int64_t i = 0; i < rounds; ++i) {
      const NameChange change = i % 2 == 0 ? NameChange{"a", "b"} : NameChange{"b", "a"};
      const auto done = rename_tensors(prefix, {{change}, {}}, options);
      if (!done) return board.spurious(done.error().what);
      ++board.commits;
    }
  };
}

// One new prefix after the other.
Task first_saver_of(Board& board, Path dir, std::int64_t rounds) {
  return [&board, dir = std::move(dir), rounds] {
    for (std::int64_t i = 0; i < rounds; ++i) {
      board.next = i;
      if (auto done = save_mixed(dir / std::to_string(i)); !done)
        return board.spurious(done.error().what);
      ++board.commits;
    }
  };
}

// Sees the tensor by one of its names, and all that P.cairn says. `gone`: it need not be there.
void look_at_mixed(Board& board, const Path& prefix, bool gone) {
  const auto checkpoint = Checkpoint::open(prefix);
  if (!checkpoint && gone && checkpoint.error().code == Code::NotFound) {
    ++board.gone;
    return;
  }
  if (!checkpoint) return board.spurious(checkpoint.error().what);
  const bool named = checkpoint->tensor("a").has_value() != checkpoint->tensor("b").has_value();
  if (!named || checkpoint->tensor_count() != 2 || checkpoint->metadata("who") != "me") {
    return board.tear(prefix.string() + ": " + std::to_string(checkpoint->tensor_count()) +
                      " of 2 tensors, a part");
  }
  ++board.views;
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

// One of several trainings in a directory: they take turns by its lock.
Task saver_of(Board& board, Path dir, std::int64_t rounds) {
  return [&board, dir = std::move(dir), rounds] {
    SaverOptions options;
    options.keep_any_of = {Retention::newest(2)};
    options.lock_wait = std::chrono::minutes(2);
    auto saver = Saver::open(dir, options);
    if (!saver) return board.spurious(saver.error().what);
    for (std::int64_t i = 0; i < rounds; ++i) {
      SaveOptions what;
      what.step = ++board.tickets;
      const std::int64_t length = length_of(*what.step);
      const auto fill = [&](Writer& writer) { return write(writer, {++board.next, length}); };
      const auto saved = saver->save("m", specs_of(length), fill, what);
      if (!saved) return board.spurious(saved.error().what);
      for (const std::string& warning : saved->warnings) board.spurious(warning);
      ++board.commits;
    }
  };
}

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

// What nobody may do: remove what the catalog still names.
Task careless_saver_of(Board& board, Path dir, std::int64_t rounds) {
  return [&board, dir = std::move(dir), rounds] {
    for (std::int64_t i = 0; i < rounds && board.errors == 0; ++i) {
      const std::int64_t generation = ++board.next;
      const Path prefix = dir / ("m-" + std::to_string(generation));
      const auto saved = save(prefix, generation);
      const auto state = get_checkpoint_state(dir);
      if (!saved || !state || !*state) throw std::runtime_error("cannot save carelessly");
      remove_checkpoint((*state)->model_checkpoint_path);
      CheckpointState now;
      now.model_checkpoint_path = prefix;
      if (!update_checkpoint_state(dir, now)) throw std::runtime_error("cannot list carelessly");
      ++board.commits;
    }
  };
}

// Nor this: the bytes of a published shard change, and no index says so.
Task overwriter_of(Board& board, Path prefix, std::int64_t rounds) {
  return [&board, prefix = std::move(prefix), rounds] {
    for (std::int64_t i = 0; i < rounds && board.errors + board.torn == 0; ++i) {
      const int fd =
          ::open((prefix.string() + ".data-00000-of-00002").c_str(), O_WRONLY | O_CLOEXEC);
      const std::int64_t wrong = -1 - i;
      if (fd < 0 || ::pwrite(fd, &wrong, sizeof wrong, 6000) != sizeof wrong)
        throw std::runtime_error("cannot overwrite");
      ::close(fd);
      ++board.commits;
    }
  };
}

// ---- A model in several files -------------------------------------------------------------------

constexpr std::int64_t kModelLength = 100;

// Each generation from a checkpoint of its own, in one, two or three files.
Task model_writer_of(Board& board, Path dir, std::int64_t rounds) {
  return [&board, dir = std::move(dir), rounds] {
    constexpr std::array<std::uint64_t, 3> kLimits{1u << 20, 850, 1};
    TransferOptions options;
    options.output = dir / "model";
    options.replace = true;
    options.exec.threads_max = 1;
    for (std::int64_t i = 0; i < rounds; ++i) {
      options.max_shard_bytes = kLimits[static_cast<std::size_t>(i) % kLimits.size()];
      const auto done = convert(dir / std::to_string(i % 2), Format::Safetensors, options);
      if (!done) return board.spurious(done.error().what);
      for (const std::string& warning : done->warnings) board.spurious(warning);
      ++board.commits;
    }
  };
}

Task model_reader_of(Board& board, Path path) {
  return [&board, path = std::move(path)] {
    while (!board.over) {
      const auto checkpoint = Checkpoint::open(path);
      if (!checkpoint) {
        board.spurious(checkpoint.error().what);
        continue;
      }
      const auto first = checkpoint->tensor("longs").and_then(
          [](const Tensor& tensor) { return tensor.values<std::int64_t>(); });
      const auto longs = first ? all_are<std::int64_t>(*checkpoint, "longs", (*first)[0]) : false;
      const auto ints = first ? all_are<std::int32_t>(*checkpoint, "ints", (*first)[0]) : false;
      if (!longs || !ints || !*longs || !*ints || checkpoint->tensor_count() != 3)
        board.tear(path.string() + ": two models in one view");
      ++board.views;
    }
  };
}

Result<void> save_model_source(const Path& prefix, std::int64_t generation) {
  std::vector<TensorSpec> specs = specs_of(kModelLength);
  specs.back() = {"more", DType::Int32, {kModelLength}};
  auto writer = Writer::create(prefix, specs);
  if (!writer) return std::move(writer).error();
  const std::vector<std::int64_t> longs(kModelLength, generation);
  const std::vector<std::int32_t> ints(kModelLength, static_cast<std::int32_t>(generation));
  if (auto done = writer->write("longs", std::as_bytes(std::span(longs))); !done) return done;
  for (const char* name : {"ints", "more"}) {
    if (auto done = writer->write(name, std::as_bytes(std::span(ints))); !done) return done;
  }
  return writer->commit();
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

void check_flawless(const Board& board, std::int64_t commits) {
  MESSAGE(board.commits.load(), " commits, ", board.views.load(), " views, ", board.gone.load(),
          " gone, ", board.errors.load(), " spurious errors, ", board.torn.load(), " torn");
  INFO(std::string(board.first));
  CHECK(board.commits == static_cast<std::uint64_t>(commits));
  CHECK(board.views > 0);
  CHECK(board.errors == 0);
  CHECK(board.torn == 0);
}

#ifdef CAIRN_THREADS_ONLY
constexpr Form kForms[] = {Form::Threads};
#else
constexpr Form kForms[] = {Form::Threads, Form::Processes};
#endif

// A quarter, unless CAIRN_LIVE=long.
std::int64_t rounds(std::int64_t of_long_form) {
  const char* form = std::getenv("CAIRN_LIVE");
  const bool is_long = form != nullptr && std::string_view(form) == "long";
  return is_long ? of_long_form : of_long_form / 4;
}

TEST_CASE("a prefix that is saved again and again opens at every moment") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    REQUIRE(save(place / "m", ++board->next));
    run_tasks(form, *board, {resaver_of(*board, place / "m", rounds(10'000))},
              {reader_of(*board, place / "m"), reader_of(*board, place / "m", Verify::Lazy),
               reader_of(*board, place / "m.index"), reader_of(*board, place / "m.cairn")});
    check_flawless(*board, rounds(10'000));
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
    run_tasks(form, *board,
              {resaver_of(*board, place / "m", rounds(4000), {own, foreign, {}, foreign, own, {}})},
              {reader_of(*board, place / "m"), reader_of(*board, place / "m")});
    check_flawless(*board, rounds(4000));
  }
}

TEST_CASE("a directory opens at every moment while several writers save and prune") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    saver_of(*board, place.path(), 1)();
    const std::vector<Task> writers(4, saver_of(*board, place.path(), rounds(1000)));
    run_tasks(form, *board, writers,
              {reader_of(*board, place.path()), reader_of(*board, place.path(), Verify::Lazy),
               reader_of_latest(*board, place.path()), reader_of_listed(*board, place.path())});
    check_flawless(*board, 4 * rounds(1000) + 1);
  }
}

TEST_CASE("a checkpoint that is renamed in place opens by the old names or the new ones, whole") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    const Path prefix = place / "m";
    REQUIRE(save_mixed(prefix));
    const Task reader = [&board, &prefix] {
      while (!board->over) look_at_mixed(*board, prefix, false);
    };
    run_tasks(form, *board, {renamer_of(*board, prefix, rounds(2000))}, {reader, reader});
    check_flawless(*board, rounds(2000));
  }
}

TEST_CASE("a checkpoint that is saved for the first time is not there, or whole") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    const Task reader = [&board, &place] {
      while (!board->over) look_at_mixed(*board, place / std::to_string(board->next), true);
    };
    run_tasks(form, *board, {first_saver_of(*board, place.path(), rounds(2000))}, {reader, reader});
    check_flawless(*board, rounds(2000));
  }
}

TEST_CASE("a model opens at every moment while a writer replaces it") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    for (std::int64_t i = 0; i < 2; ++i)
      REQUIRE(save_model_source(place / std::to_string(i), i + 1));
    model_writer_of(*board, place.path(), 3)();
    run_tasks(form, *board, {model_writer_of(*board, place.path(), rounds(2000))},
              {model_reader_of(*board, place / "model"), model_reader_of(*board, place / "model")});
    check_flawless(*board, rounds(2000) + 3);
  }
}

// ---- One writer on several cores ----------------------------------------------------------------

TEST_CASE("tensors that several threads give to one writer, all at once, are whole") {
  const Place place;
  constexpr std::size_t kTensors = 12;
  constexpr std::int64_t kLength = 700'000;
  std::vector<TensorSpec> specs;
  std::vector<std::vector<std::int32_t>> values;
  std::vector<NamedBytes> tensors;
  for (std::size_t i = 0; i < kTensors; ++i) {
    specs.push_back({"t" + std::to_string(i), DType::Int32, {kLength}});
    values.emplace_back(kLength, static_cast<std::int32_t>(i));
  }
  for (std::size_t i = 0; i < kTensors; ++i)
    tensors.push_back({specs[i].name, std::as_bytes(std::span(values[i]))});
  auto writer = Writer::create(place / "m", specs);
  REQUIRE(writer);
  std::atomic<int> failures = 0;
  {
    std::vector<std::jthread> threads;
    for (std::size_t begin = 0; begin < kTensors; begin += 4) {
      threads.emplace_back([&, begin] {
        if (!writer->write_all(std::span(tensors).subspan(begin, 4))) ++failures;
      });
    }
  }
  CHECK(failures == 0);
  REQUIRE(writer->commit());
  const auto checkpoint = Checkpoint::open(place / "m");
  REQUIRE(checkpoint);
  CHECK(checkpoint->verify()->damage.empty());
  for (std::size_t i = 0; i < kTensors; ++i)
    CHECK(*all_are<std::int32_t>(*checkpoint, specs[i].name, static_cast<std::int64_t>(i)));
}

// ---- That the readers above would see it --------------------------------------------------------

TEST_CASE("a writer that changes a published shard in place is caught") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    REQUIRE(save(place / "m", ++board->next));
    fs::permissions(place / "m.data-00000-of-00002", fs::perms::owner_write, fs::perm_options::add);
    run_tasks(form, *board, {overwriter_of(*board, place / "m", 100'000)},
              {reader_of(*board, place / "m", Verify::None), reader_of(*board, place / "m")});
    CHECK(board->commits > 0);
    CHECK(board->errors + board->torn > 0);
  }
}

TEST_CASE("a writer that prunes before it renews the catalog is caught") {
  for (const Form form : kForms) {
    const Place place;
    const SharedBoard board;
    saver_of(*board, place.path(), 1)();
    run_tasks(form, *board, {careless_saver_of(*board, place.path(), 20'000)},
              {reader_of(*board, place.path()), reader_of_latest(*board, place.path())});
    CHECK(board->commits > 0);
    CHECK(board->errors + board->torn > 0);
  }
}

}  // namespace
}  // namespace cairn::live
