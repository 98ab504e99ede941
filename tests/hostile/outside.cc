// usage: outside setup DIR        a checkpoint in DIR/in, another one and a secret in DIR/out
//        outside use DIR          opens DIR/in under every hostile name, touches nothing else
//
// The names that a file can put where a reader may follow: what P.cairn calls a shard, and what the
// catalog calls a checkpoint. test_outside.py watches the second call's system calls.

#define DOCTEST_CONFIG_IMPLEMENT  // of sandbox.h; no case is run here
#include <doctest/doctest.h>

#include <cstdio>

#include "forge.h"
#include "sandbox.h"

namespace cairn::test {
namespace {

const Values kInside{{"v", int_scalar(1)}};
const Values kOutside{{"v", int_scalar(2)}};
const std::string kShard = "m.data-00000-of-00001";

// What leads elsewhere, is no name, or means something to a shell, a terminal or a kernel.
constexpr const char* kNames[] = {"",
                                  ".",
                                  "..",
                                  "/",
                                  "//",
                                  "...",
                                  "./m",
                                  "../out/m",
                                  "../out/m-????"
                                  "?-of-00003",
                                  "../secret",
                                  "..//out/m",
                                  "../in/../out/m",
                                  "./../out/m",
                                  ".//..//out//m",
                                  "in/../../out/m",
                                  "nowhere/../../out/m",
                                  "link/m",
                                  "link/../out/m",
                                  "../../../../../../../../etc/passwd",
                                  "/etc/passwd",
                                  "/etc/shadow",
                                  "/dev/zero",
                                  "/dev/tty",
                                  "/dev/stdin",
                                  "/dev/fd/0",
                                  "/proc/self/environ",
                                  "/proc/self/fd/0",
                                  "/proc/self/cwd/m",
                                  "/proc/self/root/etc/passwd",
                                  "/proc/1/environ",
                                  "/sys/kernel/notes",
                                  "/tmp",
                                  "~/m",
                                  "~root/m",
                                  "$HOME/m",
                                  "`id`",
                                  "$(id)",
                                  "m;id",
                                  "m|id",
                                  "m\nn",
                                  "m\r\nn",
                                  "\r",
                                  "\n",
                                  "\t",
                                  "m\x1b[2J",
                                  "\x1b]0;title\x07",
                                  "m\x7f",
                                  "m\x08\x08",
                                  "..\\out\\m",
                                  "C:\\out\\m",
                                  "C:m",
                                  "\\\\host\\share\\m",
                                  "file:///etc/passwd",
                                  "http:/out/m",
                                  "s3://bucket/m",
                                  "%2e%2e/out/m",
                                  "..%2fout%2fm",
                                  "\xc0\xae\xc0\xae/out/m",
                                  "\xe2\x80\xae"
                                  "m",
                                  "\xef\xbc\x8e\xef\xbc\x8e/out/m",
                                  "\xff\xfe",
                                  "CON",
                                  "m ",
                                  " m",
                                  "-m",
                                  "*",
                                  "m?",
                                  "checkpoint",
                                  "m.cairn",
                                  "linked",
                                  "fifo"};

std::vector<std::string> hostile_names(const fs::path& dir) {
  std::vector<std::string> names(std::begin(kNames), std::end(kNames));
  const std::string out = (dir / "out").string();
  for (const std::string& name : {out, out + "/m", out + "/" + kShard, out + "/../out/m"})
    names.push_back(name);
  names.push_back((dir / "secret").string());
  names.emplace_back("m\0n", 3);
  names.emplace_back("\0", 1);
  names.emplace_back("../out/m\0", 9);
  names.push_back(std::string(255, 'n'));
  names.push_back(std::string(256, 'n'));
  names.push_back(std::string(4'096, 'n'));
  names.push_back(std::string(70'000, '/'));
  std::string deep;
  for (int i = 0; i < 2'000; ++i) deep += "../";
  names.push_back(deep + "etc/passwd");
  return names;
}

void setup(const fs::path& dir) {
  save(dir / "in/m", {kInside, {}, {}, {.tensorflow_index = false}});
  save(dir / "out/m", {kOutside});
  write_file(dir / "secret", "nobody may read this");
  fs::create_symlink(dir / "out", dir / "in/link");
  fs::create_symlink(dir / "out" / kShard, dir / "in/linked");
  if (::mkfifo((dir / "in/fifo").c_str(), 0600) != 0) throw std::runtime_error("no FIFO");
}

// A text in protobuf's text format, every byte escaped.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char byte : text) {
    char escaped[5];
    std::snprintf(escaped, sizeof escaped, "\\%03o", static_cast<unsigned char>(byte));
    out += escaped;
  }
  return out + "\"";
}

// Whether it was refused, or gave the values of the directory's own checkpoint.
bool holds(const Result<Values>& values) { return !values || *values == kInside; }

// Everything that follows a name out of the file.
bool holds_everywhere(const fs::path& in) {
  bool good = holds(values_at("m")) && holds(values_at(in));
  (void)latest_checkpoint(in);
  (void)latest_whole(in);
  (void)get_checkpoint_state(in);
  if (auto checkpoint = Checkpoint::open(in)) good = good && checkpoint->verify();
  (void)import_index("m");
  return good;
}

int use(const fs::path& dir) {
  // From inside: whoever is given a path of several parts may open what stands before the last.
  const WorkingDirectory here(dir / "in");
  const fs::path in = ".";
  const std::string index = read_file(in / "m.cairn");
  int broken = 0;
  std::size_t tried = 0;
  const auto judge = [&](const char* where, const std::string& name) {
    ++tried;
    if (holds_everywhere(in)) return;
    ++broken;
    std::printf("%s %s leads elsewhere\n", where, quoted(name).c_str());
  };
  for (const std::string& name : hostile_names(dir)) {
    write_file(in / "m.cairn", index);
    write_file(in / "m.cairn", index_naming(in / "m", name));
    judge("a shard called", name);
    write_file(in / "m.cairn", index);
    write_file(in / "checkpoint", "model_checkpoint_path: " + quoted(name) + "\n" +
                                      "all_model_checkpoint_paths: " + quoted(name) + "\n");
    judge("a checkpoint called", name);
    fs::remove(in / "checkpoint");
  }
  std::printf("%zu names in two places, %d lead elsewhere\n", tried / 2, broken);
  return broken == 0 ? 0 : 1;
}

}  // namespace
}  // namespace cairn::test

int main(int argc, char** argv) {
  const std::string word = argc == 3 ? argv[1] : "";
  if (word == "setup") {
    cairn::test::setup(argv[2]);
    return 0;
  }
  if (word == "use") return cairn::test::use(argv[2]);
  std::fprintf(stderr, "usage: outside setup|use DIR\n");
  return 2;
}
