// Names are taken literally: no pattern, no escape, no encoding. Only what the kernel cannot have
// in a file's name, a slash and a NUL, has a meaning.

#include <doctest/doctest.h>

#include "cairn/watcher.h"
#include "format/cairn/journal.h"
#include "format/quoted.h"
#include "lib/read/names.h"
#include "tests/unit/sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::fs::path;

const std::vector<std::string>& odd_names() {
  static const std::vector<std::string> names{
      "*",
      "a?[b]",
      "{a,b}",
      "with space ",
      " ",
      "new\nline",
      "\n",
      "tab\tand\rreturn",
      "\x1b[2J",
      "\x7f",
      "\xff\xfe not UTF-8",
      "\xc3\xa9t\xc3\xa9",
      "back\\slash\\n",
      "\"quoted\" 'twice'",
      "-dash",
      "--",
      "%d%s",
      "~",
      "$HOME",
      "a.index",
      "m.data-00000-of-00001",
      ".hidden",
      "checkpoint ",
      std::string(200, 'n'),
  };
  return names;
}

// A catalog is protobuf's text, which is UTF-8.
std::vector<std::string> names_for_catalogs() {
  std::vector<std::string> names = odd_names();
  std::erase_if(names, [](const std::string& name) { return has(name, "\xff"); });
  return names;
}

const test::Values kValues{{"v", test::int_scalar(7)}, {"w", test::floats({1, 2, 3})}};

TEST_CASE("any prefix can be saved, opened, imported, exported and verified") {
  for (const std::string& name : odd_names()) {
    INFO(name);
    Sandbox box;
    const path prefix = box / name / name;
    test::save(prefix, {kValues});
    const auto checkpoint = Checkpoint::open(prefix);
    REQUIRE_MESSAGE(checkpoint, refusal(checkpoint));
    CHECK(checkpoint->prefix() == prefix);
    CHECK(*test::values_of(*checkpoint) == kValues);
    CHECK(checkpoint->verify()->damage.empty());
    test::fs::remove(prefix.string() + ".cairn");
    CHECK(*test::values_at(prefix) == kValues);
    const auto imported = import_index(prefix);
    REQUIRE_MESSAGE(imported, refusal(imported));
    test::fs::remove(prefix.string() + ".index");
    CHECK(*test::values_at(prefix) == kValues);
    const auto exported = export_index(prefix, Format::TensorFlow);
    REQUIRE_MESSAGE(exported, refusal(exported));
    CHECK(*test::values_at(prefix.string() + ".data-00000-of-00001") == kValues);
    TransferOptions elsewhere;
    elsewhere.output = box / "out" / name;
    const auto converted = convert(prefix, Format::Cairn, elsewhere);
    REQUIRE_MESSAGE(converted, refusal(converted));
    CHECK(*test::values_at(elsewhere.output) == kValues);
  }
}

TEST_CASE("a Saver lets go of checkpoints of any name, and lists them in the catalog") {
  for (const std::string& name : names_for_catalogs()) {
    INFO(name);
    Sandbox box;
    const path dir = box / name;
    std::int32_t value = 0;
    const NamedTensor tensor{{"v", DType::Int32, {}}, std::as_bytes(std::span(&value, 1)), {}};
    SaverOptions options;
    options.keep_any_of = {Retention::newest(2)};
    for (int round = 0; round < 2; ++round) {
      auto saver = Saver::open(dir, options);
      REQUIRE_MESSAGE(saver, refusal(saver));
      for (int step = 0; step < 3; ++step) {
        value = 10 * round + step;
        SaveOptions what;
        what.step = value;
        const auto saved = saver->save(name, std::span(&tensor, 1), what);
        REQUIRE_MESSAGE(saved, refusal(saved));
        CHECK(saved->prefix == dir / (name + "-" + std::to_string(value)));
      }
    }
    CHECK(latest_checkpoint(dir)->value() == dir / (name + "-12"));
    CHECK(get_checkpoint_state(dir)->value().all_model_checkpoint_paths.size() == 2);
    CHECK(test::values_at(dir)->at("v") == test::int_scalar(12));
    std::size_t shards = 0;
    for (const auto& [file, bytes] : test::read_files(dir))
      shards += has(file.substr(file.size() - std::min<std::size_t>(file.size(), 20)), ".data-");
    CHECK(shards == 2);
  }
}

TEST_CASE("a watcher goes on from its cursor past names of any kind") {
  for (const std::string& name : names_for_catalogs()) {
    INFO(name);
    Sandbox box;
    test::save(box / (name + "1"), {kValues});
    test::save(box / (name + "2"), {{{"v", test::int_scalar(8)}}});
    REQUIRE(set_latest_checkpoint(box.root(), box / (name + "1")));
    WatcherOptions options;
    std::string cursor;
    for (const char* number : {"1", "2"}) {
      REQUIRE(set_latest_checkpoint(box.root(), box / (name + number)));
      options.cursor = cursor;
      auto watcher = Watcher::open(box.root(), options);
      REQUIRE_MESSAGE(watcher, refusal(watcher));
      const auto next = watcher->next(std::chrono::seconds(5));
      REQUIRE_MESSAGE(next, refusal(next));
      CHECK(next->prefix == box / (name + number));
      cursor = watcher->cursor();
    }
  }
}

TEST_CASE("names of tensors are bytes") {
  Sandbox box;
  test::Values values;
  std::int32_t number = 0;
  for (const std::string& name : odd_names()) values[name] = test::int_scalar(++number);
  values[std::string("\0", 1)] = test::int_scalar(++number);
  values[std::string("a\0b", 3)] = test::int_scalar(++number);
  values["slash/../and//more/"] = test::int_scalar(++number);
  values[std::string(100'000, 'x')] = test::int_scalar(++number);
  test::save(box / "m", {values});
  CHECK(*test::values_at(box / "m") == values);
  test::fs::remove(box / "m.cairn");
  CHECK(*test::values_at(box / "m") == values);
}

TEST_CASE("the step stands behind the last dash of a prefix, and the number of a shard is none") {
  const std::pair<const char*, std::optional<std::int64_t>> rows[] = {
      {"saved/m-3", 3},
      {"m-00000007", 7},
      {"m", std::nullopt},
      {"m-", std::nullopt},
      {"m-3x", std::nullopt},
      {"m-3-00001-of-00002", 3},
      {"m-3-????"
       "?-of-00002",
       3},
      {"part-00000-of-00002", std::nullopt},
  };
  for (const auto& [prefix, step] : rows) {
    INFO(prefix);
    CHECK(internal::step_of(prefix) == step);
  }
}

TEST_CASE("a NUL byte, which would cut a name short, is refused") {
  Sandbox box;
  test::save(box / "m", {kValues});
  const path cut(std::string((box / "m").string() + '\0' + "x"));
  CHECK(refusal(Checkpoint::open(cut)).starts_with("NotFound: "));
  CHECK(refusal(test::try_save(cut, {kValues})).starts_with("Invalid: "));
}

TEST_CASE("a name too long for its files is refused in a sentence, and nothing stays") {
  Sandbox box;
  for (const std::size_t length : {240u, 250u, 255u, 256u, 5000u}) {
    INFO(length);
    const path prefix = box / std::string(length, 'n');
    CHECK(has(refusal(test::try_save(prefix, {kValues})), "too long"));
    CHECK(has(refusal(Checkpoint::open(prefix)), "nnn"));
    CHECK(test::fs::is_empty(box.root()));
  }
}

TEST_CASE("any text stands in one line, and comes back") {
  for (const std::string text : {"", "a", "\n", "\\", "\\n", "\\\\n\n", "a\nb\\c", "\\"}) {
    const std::string line = format::one_line(text);
    CHECK(line.find('\n') == std::string::npos);
    CHECK(format::from_one_line(line) == text);
  }
  format::JournalFacts facts;
  facts.catalog = "che\nck\\point";
  facts.adding = {"a\n\tb", {{"a\n\tb.index", {1, 2, 3}, 4}}, 5};
  facts.removing = {{"\\n", {}}};
  facts.leaving = {{"\t", {{"\n", {5, 6, 7}, 8}}}};
  const auto decoded = format::decode_journal(format::encode_journal(facts));
  REQUIRE(decoded);
  CHECK(*decoded == facts);
}

}  // namespace
}  // namespace cairn
