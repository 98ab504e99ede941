#include "lib/open/attempt.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "lib/try.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using internal::OpenAttempt;
using test::has;
using test::refusal;
using test::Sandbox;
using test::write_file;
using test::fs::path;

Result<std::string> read_index(const path& file, OpenAttempt& attempt) {
  CAIRN_TRY(directory, os::Directory::open(file.parent_path()));
  CAIRN_TRY(opened, directory.open_file(file.filename().string(), os::Links::Follow));
  CAIRN_TRY(info, opened.info());
  CAIRN_TRY(bytes, os::read_whole(attempt.keep_index(std::move(opened), info), info, 1000));
  return std::string(format::as_text(bytes));
}

// An index is right if it says so; `meanwhile` happens after each look at it.
struct Opening {
  int attempts = 0;
  std::string said;
};
template <class Meanwhile>
Opening open_right(const path& index, Meanwhile meanwhile, Code code = Code::Corrupt) {
  OpenAttempt attempt;
  Opening opening;
  const auto answer = internal::retry_until_stable(attempt, [&]() -> Result<std::string> {
    ++opening.attempts;
    auto text = read_index(index, attempt);
    meanwhile(opening.attempts);
    if (!text || *text == "right") return text;
    return Error{code, 0, *text + " is not right"};
  });
  opening.said = answer ? *answer : test::sentence(attempt.explain("P", answer.error()));
  return opening;
}

TEST_CASE("where a name was a link, another file behind any name begins the open anew") {
  for (const char* const moved : {"none", "P.index", "P.data", "P.plain"}) {
    INFO("moved: ", moved);
    Sandbox box;
    for (const char* const name : {"1-index", "2-index", "1-data", "2-data", "P.plain"})
      write_file(box / name, "same");
    std::filesystem::create_symlink("1-index", box / "P.index");
    std::filesystem::create_symlink("1-data", box / "P.data");
    const auto directory = os::Directory::open(box.root());
    REQUIRE(directory);
    OpenAttempt attempt;
    attempt.begin();
    auto index = directory->open_seen("P.index", os::Links::Inside);
    REQUIRE(index);
    attempt.keep_index(std::move(index->file), index->info);
    std::vector<os::File> shards;
    for (const char* const name : {"P.data", "P.plain"})
      shards.push_back(*directory->open_file(name, os::Links::Inside));
    CHECK_FALSE(attempt.links_moved(shards));
    const std::string name = moved;
    if (name != "none") std::filesystem::rename(box / name, box / "old");
    if (name == "P.plain") write_file(box / name, "same");
    if (name == "P.index" || name == "P.data")
      std::filesystem::create_symlink("2-" + name.substr(2), box / name);
    CHECK(attempt.links_moved(shards) == (name != "none"));
    CHECK(attempt.may_retry() == (name != "none"));
  }
}

TEST_CASE("what is wrong and stays as it is, is reported after one attempt") {
  Sandbox box;
  write_file(box / "P.index", "wrong");
  const Opening opening = open_right(box / "P.index", [](int) {});
  CHECK(opening.attempts == 1);
  CHECK(opening.said == "Corrupt: wrong is not right");
}

TEST_CASE("what is replaced meanwhile is read again, until it is right") {
  Sandbox box;
  write_file(box / "P.index", "wrong");
  const Opening opening = open_right(box / "P.index", [&](int attempt) {
    write_file(box / "P.index", attempt < 5 ? "wrong" : "right");
  });
  CHECK(opening.attempts == 6);
  CHECK(opening.said == "right");
}

TEST_CASE("an index that is written in place, half of it there, is read again") {
  Sandbox box;
  for (const std::string_view half : {"", "ri"}) {
    write_file(box / "P.index", half);
    const Opening opening = open_right(
        box / "P.index", [&](int) { std::ofstream(box / "P.index", std::ios::trunc) << "right"; });
    CHECK(opening.attempts == 2);
    CHECK(opening.said == "right");
  }
}

TEST_CASE("what never stands still is given up after sixteen attempts, to be tried again") {
  Sandbox box;
  write_file(box / "P.index", "wrong");
  const Opening opening =
      open_right(box / "P.index", [&](int) { write_file(box / "P.index", "wrong"); });
  CHECK(opening.attempts == 16);
  CHECK(opening.said ==
        "Busy: P: is replaced faster than it can be opened; try again: wrong is not right");
}

TEST_CASE("what is removed meanwhile is said to be removed") {
  Sandbox box;
  write_file(box / "P.index", "wrong");
  const Opening opening =
      open_right(box / "P.index", [&](int) { test::fs::remove(box / "P.index"); });
  CHECK(opening.attempts == 2);
  CHECK(opening.said == "NotFound: P: was removed while it was being opened");
}

TEST_CASE("an error that no writer can cause is not tried again") {
  for (const Code code : {Code::Invalid, Code::Unsafe, Code::Unsupported, Code::NoSpace,
                          Code::OutOfMemory, Code::Cancelled}) {
    Sandbox box;
    write_file(box / "P.index", "wrong");
    const Opening opening =
        open_right(box / "P.index", [&](int) { write_file(box / "P.index", "right"); }, code);
    CHECK(opening.attempts == 1);
  }
}

TEST_CASE("a new file of the same size and time is another file") {
  Sandbox box;
  write_file(box / "P.index", "wrong");
  OpenAttempt attempt;
  REQUIRE(read_index(box / "P.index", attempt));
  CHECK_FALSE(attempt.index_changed());
  const auto time = test::fs::last_write_time(box / "P.index");
  write_file(box / "P.index", "right");
  test::fs::last_write_time(box / "P.index", time);
  CHECK(attempt.index_changed());
}

// ---- The same from outside ----------------------------------------------------------------------

TEST_CASE("a checkpoint that is saved anew while it is checked opens as the new one") {
  Sandbox box;
  test::Save what{{{"v", test::floats(std::vector<float>(1000, 1))}}};
  what.options.cairn_index = false;
  test::save(box / "m", what);
  write_file(box / "m.data-00000-of-00001", std::string(8096, 'x'));
  bool is_due = false;
  OpenOptions options;
  options.verify = Verify::Full;
  options.exec.progress = [&](const Progress&) {
    if (std::exchange(is_due, false)) test::save(box / "m", what);
  };
  CHECK(has(refusal(Checkpoint::open(box / "m", options)), "Corrupt: "));
  is_due = true;
  const auto opened = Checkpoint::open(box / "m", options);
  REQUIRE_MESSAGE(opened, refusal(opened));
  CHECK(*test::values_of(*opened) == what.values);
}

TEST_CASE("a checkpoint that is removed while it is checked was removed, not damaged") {
  Sandbox box;
  test::Save what{{{"v", test::floats(std::vector<float>(1000, 1))}}};
  what.options.cairn_index = false;
  test::save(box / "m", what);
  write_file(box / "m.data-00000-of-00001", std::string(8096, 'x'));
  OpenOptions options;
  options.verify = Verify::Full;
  options.exec.progress = [&](const Progress&) { test::fs::remove(box / "m.index"); };
  CHECK(refusal(Checkpoint::open(box / "m", options)) ==
        "NotFound: " + (box / "m").string() + ": was removed while it was being opened");
}

// Kubernetes publishes by turning the one link that all names go through.
TEST_CASE("an open beside a turning link gives one of the two checkpoints, and never a mixture") {
  const std::string kinds[] = {"both indexes", "TensorFlow's", "Cairn's"};
  for (const std::string& kind : kinds) {
    CAPTURE(kind);
    Sandbox box;
    for (int i = 1; i <= 2; ++i) {
      test::Save what{{{"a", test::int_scalar(i)}, {"b", test::int_scalar(10 * i)}}};
      what.options.cairn_index = kind != "TensorFlow's";
      what.options.tensorflow_index = kind != "Cairn's";
      test::save(box / ("..v" + std::to_string(i)) / "m", what);
    }
    for (const char* suffix : {".cairn", ".index", ".data-00000-of-00001"}) {
      const std::string name = std::string("m") + suffix;
      if (std::filesystem::exists(box / "..v1" / name))
        std::filesystem::create_symlink("..data/" + name, box / name);
    }
    std::filesystem::create_symlink("..v1", box / "..data");
    std::atomic<bool> done = false;
    std::thread turning([&] {
      for (int turn = 0; !done; ++turn) {
        std::filesystem::create_symlink(turn % 2 == 0 ? "..v2" : "..v1", box / "..data_tmp");
        std::filesystem::rename(box / "..data_tmp", box / "..data");
        std::this_thread::sleep_for(std::chrono::microseconds(200 + 97 * (turn % 8)));
      }
    });
    int seen[3] = {0, 0, 0};
    std::string wrong;
    OpenOptions unchecked;
    unchecked.verify = Verify::None;
    // A link that turns faster than a slow machine opens is Busy at times, which is no mixture.
    const auto begun = std::chrono::steady_clock::now();
    const auto goes_on = [&] {
      const auto gone = std::chrono::steady_clock::now() - begun;
      const bool few = seen[1] <= 10 || seen[2] <= 10;
      return wrong.empty() && gone < std::chrono::milliseconds(few ? 20'000 : 700);
    };
    while (goes_on()) {
      const auto checkpoint = Checkpoint::open(box / "m", unchecked);
      if (!checkpoint && checkpoint.error().code == Code::Busy) continue;
      const auto values = checkpoint ? test::values_of(*checkpoint) : checkpoint.error();
      if (!values) wrong = refusal(values);
      if (!values) continue;
      const int which = values->at("a") == test::int_scalar(1) ? 1 : 2;
      if (values->at("b") != test::int_scalar(10 * which)) wrong = "a mixture";
      ++seen[which];
    }
    done = true;
    turning.join();
    CHECK(wrong == "");
    CHECK(seen[1] > 10);
    CHECK(seen[2] > 10);
  }
}

}  // namespace
}  // namespace cairn
