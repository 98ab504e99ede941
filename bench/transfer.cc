// usage: transfer DIR PAYLOAD [--benchmark_…]
//
// What does it cost to give a checkpoint another index, made anew each time?
//
//     import   P.cairn beside TensorFlow's P.index and shards: import_index
//     export   P.index beside P.cairn: export_index
//
// Both end with syncs, which cost what the disk costs. So each is asked twice: `cairn`, on the
// disk, and `cairn-memory`, in a directory that lies in memory, where a sync costs nothing and the
// figure is what the library itself takes. There the shard is a hole of the payload's size: no byte
// of it is read.

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "cairn/convert.h"
#include "measure.h"

namespace cairn::bench {
namespace {

namespace fs = std::filesystem;

// A copy of the indexes, in memory, beside a shard that is one hole. Gone when the program ends.
class HollowCopy {
 public:
  explicit HollowCopy(const Subject& subject)
      : directory_("/dev/shm/cairn-bench-" + std::to_string(getpid())) {
    const std::string shard = ".data-00000-of-00001";
    fs::create_directories(directory_);
    fs::copy_file(subject.tensorflow() + ".index", prefix() + ".index");
    std::ofstream(prefix() + shard).close();
    fs::resize_file(prefix() + shard, fs::file_size(subject.tensorflow() + shard));
  }
  HollowCopy(const HollowCopy&) = delete;
  HollowCopy& operator=(const HollowCopy&) = delete;
  ~HollowCopy() { fs::remove_all(directory_); }

  std::string prefix() const { return (directory_ / "copy").string(); }

 private:
  fs::path directory_;
};

void add_place(const std::string& contender, const std::string& prefix) {
  const auto remove = [prefix](const char* suffix) {
    return [made = prefix + suffix] {
      fs::remove(made);
      return Result<void>{};
    };
  };
  add("import/" + contender, [prefix] { return import_index(prefix); }, remove(".cairn"));
  // Export takes what import made, or makes it if a filter left import out.
  const auto prepare = [prefix, again = remove(".index")]() -> Result<void> {
    if (!fs::exists(prefix + ".cairn")) {
      if (const auto made = import_index(prefix); !made) return made.error();
    }
    return again();
  };
  add(
      "export/" + contender, [prefix] { return export_index(prefix, Format::TensorFlow); },
      prepare);
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  using namespace cairn::bench;
  static std::optional<HollowCopy> copy;
  const int status = run_program(argc, argv, [](const Subject& subject) {
    add_place("cairn", subject.tensorflow());
    add_place("cairn-memory", copy.emplace(subject).prefix());
  });
  copy.reset();
  return status;
}
