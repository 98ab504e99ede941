// A checkpoint as a whole: copied, moved, removed, beside those who use it.

#include <doctest/doctest.h>

#include <atomic>
#include <stop_token>
#include <thread>

#include "cairn/cairn.h"

#include "tests/unit/scratch.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using test::Scratch;

std::vector<test::Content> contents(std::string_view name) {
  return {test::raw(std::string(name), DType::Float32, {300, 1000}),
          test::raw("small", DType::Int8, {3}), test::text("words", {2}, {"a", "bc"})};
}

void write(const fs::path& prefix, std::string_view name, WriterOptions options = {}) {
  const auto all = contents(name);
  auto writer = Writer::create(prefix, test::specs_of(all), options);
  REQUIRE_OK(writer);
  for (const test::Content& content : all) REQUIRE_OK(test::write_content(*writer, content));
  REQUIRE_OK(writer->commit());
}

void save(const fs::path& dir, std::int64_t step, const SaverOptions& options = {}) {
  auto saver = Saver::open(dir, options);
  REQUIRE_OK(saver);
  SaveOptions what;
  what.step = step;
  const auto bytes = std::as_bytes(std::span(&step, 1));
  const std::vector<NamedTensor> tensors = {{{"step", DType::Int64, {}}, bytes, {}}};
  REQUIRE_OK(saver->save("m", tensors, what));
}

TransferOptions to(const fs::path& output) {
  TransferOptions options;
  options.output = output;
  return options;
}

std::vector<std::string> listed(const fs::path& dir) {
  const auto state = get_checkpoint_state(dir);
  REQUIRE_OK(state);
  std::vector<std::string> names;
  if (!*state) return names;
  for (const fs::path& path : (*state)->all_model_checkpoint_paths)
    names.push_back(path.filename().string());
  return names;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("a copy has all that its source has, and is nobody else's file") {
  const Scratch scratch;
  WriterOptions options;
  options.step = 7;
  options.metadata = {{"run", "blue"}};
  options.safetensors_metadata = {{"format", "flax"}};
  options.meta_graph = "a graph";
  write(scratch / "m", "big", options);
  const auto done = copy_checkpoint(scratch / "m", to(scratch / "new/n"));
  REQUIRE_OK(done);
  CHECK(done->prefix == scratch / "new/n");
  CHECK(done->used >= Link::Reflink);
  CHECK(done->warnings.empty());
  const Checkpoint copy = test::open_checkpoint(scratch / "new/n");
  CHECK(copy.warnings().empty());
  test::check_holds(copy, contents("big"));
  CHECK(copy.step() == 7);
  CHECK(copy.metadata("run") == "blue");
  CHECK(copy.safetensors_metadata("format") == "flax");
  CHECK(fs::file_size(scratch / "new/n.meta") == 7);
  // What happens to the one does not happen to the other.
  for (const auto& entry : fs::directory_iterator(scratch.path())) {
    if (!entry.is_regular_file()) continue;
    test::make_writable(entry.path());
    fs::resize_file(entry.path(), 0);
  }
  test::check_holds(test::open_checkpoint(scratch / "new/n"), contents("big"));
}

TEST_CASE("what is copied is the checkpoint of one moment, whoever saves over it") {
  const Scratch scratch;
  write(scratch / "m", "t0");
  std::atomic<bool> done = false;
  std::thread saving([&] {
    for (int i = 1; !done; ++i) write(scratch / "m", "t" + std::to_string(i % 2));
  });
  int copied = 0;
  for (int i = 0; i < 15; ++i) {
    TransferOptions options = to(scratch / "copy");
    options.replace = true;
    const auto copy = copy_checkpoint(scratch / "m", options);
    INFO(test::sentence_of(copy));
    CHECK((copy || copy.error().code == Code::Busy));
    if (!copy) continue;
    ++copied;
    const Checkpoint checkpoint = test::open_checkpoint(scratch / "copy");
    test::check_holds(checkpoint, contents(checkpoint.contains("t0") ? "t0" : "t1"));
  }
  done = true;
  saving.join();
  CHECK(copied > 0);
}

TEST_CASE("who has a checkpoint open keeps it, moved or removed") {
  const Scratch scratch;
  write(scratch / "m", "big");
  const Checkpoint open = test::open_checkpoint(scratch / "m");
  REQUIRE_OK(move_checkpoint(scratch / "m", to(scratch / "n")));
  test::check_holds(open, contents("big"));
  const Checkpoint moved = test::open_checkpoint(scratch / "n");
  REQUIRE_OK(remove_checkpoint(scratch / "n"));
  test::check_holds(moved, contents("big"));
  CHECK(scratch.names() == std::set<std::string>{".cairn-lock"});
}

TEST_CASE("a Saver goes on with what was moved and removed") {
  const Scratch scratch;
  SaverOptions options;
  options.keep_any_of = {Retention::tensorflow_manager(4)};
  for (int step = 1; step <= 4; ++step) save(scratch.path(), step, options);
  const auto before = get_checkpoint_state(scratch.path());
  REQUIRE_OK(before);
  const auto moved = move_checkpoint(scratch / "m-2", to(scratch / "best"));
  REQUIRE_OK(moved);
  CHECK(moved->catalogs == Names{"checkpoint"});
  CHECK(moved->transfer.used == Link::Hard);
  CHECK(listed(scratch.path()) == Names{"m-1", "best", "m-3", "m-4"});
  const auto after = get_checkpoint_state(scratch.path());
  REQUIRE_OK(after);
  CHECK((*after)->all_model_checkpoint_timestamps_s ==
        (*before)->all_model_checkpoint_timestamps_s);
  REQUIRE_OK(remove_checkpoint(scratch / "m-3"));
  save(scratch.path(), 5, options);
  save(scratch.path(), 6, options);
  CHECK(listed(scratch.path()) == Names{"best", "m-4", "m-5", "m-6"});
  CHECK(test::open_checkpoint(scratch / "best").step() == 2);
  save(scratch.path(), 7, options);
  CHECK(listed(scratch.path()) == Names{"m-4", "m-5", "m-6", "m-7"});
  CHECK_FALSE(fs::exists(scratch / "best.cairn"));
}

TEST_CASE("what cannot be done is an error, and nothing has happened") {
  const Scratch scratch;
  write(scratch / "m", "big");
  write(scratch / "other", "other");
  const auto names = scratch.names();
  CHECK(test::refusal(copy_checkpoint(scratch / "m", {})) == Code::Invalid);
  CHECK(test::refusal(move_checkpoint(scratch / "m", {})) == Code::Invalid);
  CHECK(test::refusal(copy_checkpoint(scratch / "m", to(scratch / "m"))) == Code::Invalid);
  CHECK(test::refusal(copy_checkpoint(scratch / "m", to(scratch / "other"))) == Code::Exists);
  CHECK(test::refusal(move_checkpoint(scratch / "m", to(scratch / "other"))) == Code::Exists);
  CHECK(test::refusal(copy_checkpoint(scratch / "no", to(scratch / "n"))) == Code::NotFound);
  CHECK(test::refusal(move_checkpoint(scratch / "no", to(scratch / "n"))) == Code::NotFound);
  CHECK(test::refusal(remove_checkpoint(scratch / "no")) == Code::NotFound);
  CHECK(test::refusal(remove_checkpoint(scratch / "m.index"), {"one file"}) == Code::Invalid);
  TransferOptions linked = to(scratch / "n");
  linked.link = Link::Hard;
  CHECK(test::refusal(copy_checkpoint(scratch / "m", linked)) == Code::Invalid);
  std::stop_source stop;
  stop.request_stop();
  TransferOptions stopped = to(scratch / "n");
  stopped.exec.stop = stop.get_token();
  CHECK(test::refusal(copy_checkpoint(scratch / "m", stopped)) == Code::Cancelled);
  CHECK(scratch.names() == names);
  test::flip_bit(scratch / "m.data-00000-of-00002", 300'000);
  CHECK(test::refusal(copy_checkpoint(scratch / "m", to(scratch / "n")), {"\"big\""}) ==
        Code::Corrupt);
  CHECK(scratch.names() == names);
}

TEST_CASE("a pin, the latest and another catalog's are not removed unasked") {
  const Scratch scratch;
  for (int step = 1; step <= 3; ++step) save(scratch.path(), step);
  SaverOptions best;
  best.latest_filename = "best";
  REQUIRE_OK(set_latest_checkpoint(scratch.path(), scratch / "m-1", "best"));
  REQUIRE_OK(set_latest_checkpoint(scratch.path(), scratch / "m-2", "best"));
  CHECK(test::refusal(remove_checkpoint(scratch / "m-3"), {"latest"}) == Code::Unsupported);
  CHECK(test::refusal(remove_checkpoint(scratch / "m-1"), {"best"}) == Code::Unsupported);
  RemoveOptions forced;
  forced.force = true;
  forced.dry_run = true;
  const auto would = remove_checkpoint(scratch / "m-1", forced);
  REQUIRE_OK(would);
  CHECK(would->catalogs == Names{"checkpoint", "best"});
  CHECK(listed(scratch.path()) == Names{"m-1", "m-2", "m-3"});
  {
    auto saver = Saver::open(scratch.path());
    REQUIRE_OK(saver);
    REQUIRE_OK(saver->pin("m-1"));
  }
  forced.dry_run = false;
  CHECK(test::refusal(remove_checkpoint(scratch / "m-1", forced), {"pinned"}) == Code::Unsupported);
  REQUIRE_OK(remove_checkpoint(scratch / "m-3", forced));
  REQUIRE_OK(remove_checkpoint(scratch / "m-2", forced));
  CHECK(listed(scratch.path()) == Names{"m-1"});
  const auto left = get_checkpoint_state(scratch.path(), "best");
  REQUIRE_OK(left);
  CHECK((*left)->model_checkpoint_path.filename() == "m-1");
}

}  // namespace cairn
