// What may stand where a checkpoint's file is expected, and what an index may call its shards.

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "forge.h"
#include "sandbox.h"

namespace cairn {
namespace {

using test::has;
using test::refusal;
using test::Sandbox;
using test::Values;
using test::fs::path;

const Values kValues{{"v", test::int_scalar(1)}};

const char* const kMembers[] = {".cairn", ".index", ".data-00000-of-00001"};

// Everything that may be asked of the path, none of which may block.
std::vector<std::string> ask(const path& prefix, const std::string& member) {
  TransferOptions elsewhere;
  elsewhere.output = prefix.parent_path() / "out" / "m";
  return {refusal(Checkpoint::open(prefix)),
          refusal(Checkpoint::open(prefix.string() + member)),
          refusal(import_index(prefix)),
          refusal(export_index(prefix, Format::TensorFlow)),
          refusal(export_index(prefix, Format::Safetensors)),
          refusal(convert(prefix, Format::Cairn, elsewhere))};
}

// A checkpoint, one of whose files is something else.
template <class Put>
void check_refused(const std::string& member, std::string_view what, Put put) {
  INFO(member, " is ", std::string(what));
  Sandbox box;
  test::save(box / "m", {kValues});
  if (member == ".index") test::fs::remove(box / "m.cairn");
  const path file = (box / "m").string() + member;
  test::fs::rename(file, box / "aside");
  put(file, box / "aside");
  for (const std::string& said : ask(box / "m", member)) {
    INFO(said);
    CHECK(said != "opened");
    CHECK_FALSE(said.starts_with("Invalid: "));
    CHECK(has(said, file.filename().string()));
  }
  CHECK_FALSE(test::fs::exists(box / "out/m.cairn"));
}

TEST_CASE("a directory, a FIFO, a socket or a device in a file's place is refused at once") {
  for (const std::string member : kMembers) {
    check_refused(member, "a directory",
                  [](const path& file, const path&) { test::fs::create_directory(file); });
    check_refused(member, "a FIFO", [](const path& file, const path&) {
      REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    });
    check_refused(member, "a socket", [](const path& file, const path&) {
      const test::WorkingDirectory here(file.parent_path());
      const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      file.filename().string().copy(address.sun_path, sizeof address.sun_path - 1);
      REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
      ::close(fd);
    });
    check_refused(member, "a link to a device", [](const path& file, const path&) {
      test::fs::create_symlink("/dev/zero", file);
    });
    if (member == ".cairn") continue;  // a link that leads nowhere is no P.cairn
    check_refused(member, "a link to itself",
                  [](const path& file, const path&) { test::fs::create_symlink(file, file); });
  }
}

TEST_CASE("an index or a shard may be a link out of its directory only where links are followed") {
  Sandbox box;
  test::save(box / "store/m", {kValues});
  test::fs::create_directory(box / "cache");
  for (const std::string member : kMembers)
    test::fs::create_symlink(box / ("store/m" + member), box / ("cache/m" + member));
  OpenOptions follow;
  follow.follow_links = true;
  CHECK(*test::values_at(box / "cache/m", follow) == kValues);
  for (const std::string member : {".cairn", ".index", ".data-00000-of-00001"}) {
    const std::string said = refusal(Checkpoint::open(box / "cache/m"));
    CHECK(said.starts_with("Unsafe: "));
    CHECK(has(said, "m" + member +
                        ": is a symbolic link that leads out of its directory; if you trust "
                        "it, use follow_links (--follow-links)"));
    test::fs::remove(box / ("cache/m" + member));
    test::fs::create_hard_link(box / ("store/m" + member), box / ("cache/m" + member));
  }
  CHECK(*test::values_at(box / "cache/m") == kValues);
  // A file in one piece is held to the same rule, also where it is named itself.
  REQUIRE(convert(box / "store/m", Format::Safetensors, {.output = box / "store/one"}));
  test::fs::create_symlink(box / "store/one.safetensors", box / "cache/one.safetensors");
  CHECK(has(refusal(Checkpoint::open(box / "cache/one.safetensors")),
            "one.safetensors: is a symbolic link"));
  CHECK(*test::values_at(box / "cache/one.safetensors", follow) == kValues);
  const path v1 = test::golden("tensorflow/v1/old.ckpt-3");
  test::fs::create_symlink(v1, box / "cache/v1");
  CHECK(has(refusal(Checkpoint::open(box / "cache/v1")), "v1: is a symbolic link"));
  CHECK(test::values_at(box / "cache/v1", follow));
}

TEST_CASE("an absolute link that stays in the directory needs no permission") {
  Sandbox box;
  constexpr const char* kFiles[] = {".index", ".data-00000-of-00001"};
  test::save(box / "d/sub/m-100", {kValues, {}, {}, {.cairn_index = false}});
  test::fs::create_directory_symlink(box / "d", box / "other");
  for (const std::string member : kFiles) {
    test::fs::create_symlink(box / ("d/sub/m-100" + member), box / ("d/m" + member));
    test::fs::create_symlink(box / ("other/sub/m-100" + member), box / ("d/n" + member));
  }
  test::fs::create_directory_symlink(box / "d/sub", box / "d/way");
  for (const std::string member : kFiles)
    test::fs::create_symlink("way/m-100" + member, box / ("d/o" + member));
  for (const char* given : {"d/m", "d/n", "d/o", "other/m", "other/n", "other/o"}) {
    CAPTURE(given);
    const auto values = test::values_at(box / given);
    REQUIRE_MESSAGE(values, refusal(values));
    CHECK(*values == kValues);
  }
  // Its neighbour of nearly the same name is outside.
  test::save(box / "d-2/m", {kValues, {}, {}, {.cairn_index = false}});
  for (const std::string member : kFiles)
    test::fs::create_symlink(box / ("d-2/m" + member), box / ("d/p" + member));
  CHECK(has(refusal(Checkpoint::open(box / "d/p")), "leads out of its directory"));
}

TEST_CASE("a link as P.cairn or P.index is replaced by import and export, not written through") {
  Sandbox box;
  test::save(box / "m", {kValues, {}, {}, {.cairn_index = false}});
  test::write_file(box / "victim", "precious");
  test::fs::create_symlink(box / "victim", box / "m.cairn");
  TransferOptions replace;
  replace.replace = true;
  CHECK(refusal(import_index(box / "m", replace)) == "opened");
  CHECK(test::read_file(box / "victim") == "precious");
  CHECK((*Checkpoint::open(box / "m")).format() == Format::Cairn);
  test::fs::remove(box / "m.index");
  test::fs::create_symlink(box / "nowhere", box / "m.index");
  CHECK(refusal(export_index(box / "m", Format::TensorFlow, replace)) == "opened");
  CHECK_FALSE(test::fs::exists(box / "nowhere"));
  CHECK(test::fs::is_regular_file(test::fs::symlink_status(box / "m.index")));
}

TEST_CASE("a device as the given path, and a catalog that is none, are refused without blocking") {
  Sandbox box;
  REQUIRE(::mkfifo((box / "fifo").c_str(), 0600) == 0);
  REQUIRE(::mkfifo((box / "fifo.safetensors").c_str(), 0600) == 0);
  for (const path& given : {path("/dev/zero"), path("/dev/null"), path("/dev/tty"), path("/"),
                            box / "fifo", box / "fifo.safetensors"})
    CHECK(refusal(Checkpoint::open(given)) != "opened");
  REQUIRE(::mkfifo((box / "checkpoint").c_str(), 0600) == 0);
  CHECK(has(refusal(Checkpoint::open(box.root())), "is not a regular file"));
  CHECK(has(refusal(get_checkpoint_state(box.root())), "is not a regular file"));
  CHECK(has(refusal(latest_checkpoint(box.root())), "is not a regular file"));
}

TEST_CASE("a file that claims gigabytes and has none is refused without taking memory for it") {
  for (const std::string name : {"m.cairn", "m.index", "checkpoint", "x.safetensors"}) {
    INFO(name);
    Sandbox box;
    test::save(box / "m", {kValues});
    test::write_file(box / "checkpoint", "model_checkpoint_path: \"m\"\n");
    test::write_file(box / "x.safetensors", std::string("\xff\xff\xff\xff\0\0\0\0{", 9));
    if (name == "m.index") test::fs::remove(box / "m.cairn");
    test::fs::resize_file(box / name, std::uint64_t{5} << 30);
    const std::string said =
        refusal(Checkpoint::open(name == "checkpoint" ? box.root() : box / name));
    INFO(said);
    CHECK(has(said, name));
    CHECK((said.starts_with("Corrupt: ") || said.starts_with("Unsupported: ")));
  }
}

// ---- What an index may call its shards

TEST_CASE("a forged index whose shard's name leads elsewhere is refused") {
  Sandbox box;
  test::save(box / "in/m", {kValues, {}, {}, {.tensorflow_index = false}});
  test::fs::copy_file(box / "in/m.data-00000-of-00001", box / "secret");
  const std::string whole = test::read_file(box / "in/m.cairn");
  const std::string bare = "m.data-00000-of-00001";
  test::write_file(box / "in/m.cairn", test::index_naming(box / "in/m", bare));
  CHECK(*test::values_at(box / "in/m") == kValues);  // the forgery itself is sound
  const std::string names[] = {"../secret",
                               (box / "secret").string(),
                               ".",
                               "..",
                               "/",
                               "./" + bare,
                               "sub/../" + bare,
                               bare + std::string("\0", 1),
                               std::string("\0", 1)};
  for (const std::string& name : names) {
    INFO(name);
    test::write_file(box / "in/m.cairn", whole);
    test::write_file(box / "in/m.cairn", test::index_naming(box / "in/m", name));
    OpenOptions follow;
    follow.follow_links = true;
    for (const auto& said : {refusal(Checkpoint::open(box / "in/m")),
                             refusal(Checkpoint::open(box / "in/m", follow))}) {
      CHECK(said.starts_with("Corrupt: " + (box / "in/m.cairn").string()));
      CHECK(has(said, "must not contain a directory"));
      CHECK_FALSE(has(said, "\x1b"));
    }
  }
  for (const std::string name : {"a\nb", "\x1b[2J", "m.data-\x1b[2J"}) {
    test::write_file(box / "in/m.cairn", whole);
    test::write_file(box / "in/m.cairn", test::index_naming(box / "in/m", name));
    const auto said = refusal(Checkpoint::open(box / "in/m"));
    CHECK(said.starts_with("Unsafe: " + (box / "in/m.cairn").string()));
    CHECK_FALSE(has(said, name));
  }
  test::write_file(box / "in/m.cairn", whole);
  test::write_file(box / "in/m.cairn", test::index_naming(box / "in/m", "checkpoint"));
  CHECK(has(refusal(Checkpoint::open(box / "in/m")), "NotFound: "));
}

}  // namespace
}  // namespace cairn
