// What every TensorFlow user knows, with Cairn alone and over the files that TensorFlow left: save,
// save with steps, keep five, the latest, restore, go on.

#include <cairn/cairn.h>
#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

// A copy of the directory that TensorFlow wrote: train1, and train2-5 … train2-9 of ten saves.
class SavedByTensorFlow {
 public:
  SavedByTensorFlow() {
    char name[] = "/tmp/cairn-walk-XXXXXX";
    dir_ = ::mkdtemp(name);
    fs::copy(fs::path(CAIRN_GOLDEN_DIR) / "tensorflow/saver_walk/saved", dir_);
  }
  ~SavedByTensorFlow() { fs::remove_all(dir_); }
  SavedByTensorFlow(const SavedByTensorFlow&) = delete;
  SavedByTensorFlow& operator=(const SavedByTensorFlow&) = delete;

  fs::path operator/(const std::string& name) const { return dir_ / name; }
  const fs::path& dir() const { return dir_; }

 private:
  fs::path dir_;
};

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::int32_t scalar(const cairn::Checkpoint& checkpoint, std::string_view name) {
  const auto view =
      checkpoint.tensor(name).and_then([](cairn::Tensor t) { return t.as<std::int32_t>(); });
  REQUIRE_MESSAGE(view.has_value(), view.error().what);
  REQUIRE(view->size() == 1);
  return (*view)[0];
}

cairn::Checkpoint open(const fs::path& path, cairn::Access access = cairn::Access::Shared) {
  cairn::OpenOptions options;
  options.access = access;
  auto checkpoint = cairn::Checkpoint::open(path, options);
  REQUIRE_MESSAGE(checkpoint.has_value(), checkpoint.error().what);
  return *std::move(checkpoint);
}

TEST_CASE("the catalog that TensorFlow wrote names five checkpoints, the last as the latest") {
  const SavedByTensorFlow saved;
  const auto state = cairn::get_checkpoint_state(saved.dir());
  REQUIRE(state.has_value());
  REQUIRE(state->has_value());
  CHECK((*state)->model_checkpoint_path == saved / "train2-9");
  const std::vector<fs::path> five{saved / "train2-5", saved / "train2-6", saved / "train2-7",
                                   saved / "train2-8", saved / "train2-9"};
  CHECK((*state)->all_model_checkpoint_paths == five);
  CHECK(*cairn::latest_checkpoint(saved.dir()) == saved / "train2-9");
  CHECK(cairn::latest_whole(saved.dir())->prefix == saved / "train2-9");
}

TEST_CASE("an explicit path and the latest one restore the values that were saved") {
  const SavedByTensorFlow saved;
  const auto first = open(saved / "train1");
  CHECK(first.format() == cairn::Format::TensorFlow);
  CHECK(scalar(first, "v1") == 10);
  CHECK(scalar(first, "v2") == 11);
  const auto latest = open(saved.dir());
  CHECK(latest.prefix() == saved / "train2-9");
  CHECK(latest.step() == 9);
  CHECK(scalar(latest, "v1") == 20);
  CHECK(scalar(latest, "v2") == 11);
}

TEST_CASE("import adds an index and verify finds every byte whole; the shard stays as it is") {
  const SavedByTensorFlow saved;
  const fs::path shard = saved / "train2-9.data-00000-of-00001";
  const auto written = fs::last_write_time(shard);
  const std::string bytes = contents(shard);
  REQUIRE(cairn::import_index(saved / "train2-9").has_value());
  const auto imported = open(saved / "train2-9");
  CHECK(imported.format() == cairn::Format::Cairn);
  CHECK(imported.warnings().empty());
  const auto seen = imported.verify();
  REQUIRE(seen.has_value());
  CHECK(seen->bytes_checked == 8);
  CHECK(seen->damage.empty());
  CHECK(fs::last_write_time(shard) == written);
  CHECK(contents(shard) == bytes);
}

TEST_CASE("an index exported in place, after TensorFlow's is gone, is TensorFlow's byte for byte") {
  const SavedByTensorFlow saved;
  const std::string theirs = contents(saved / "train2-9.index");
  REQUIRE(cairn::import_index(saved / "train2-9").has_value());
  fs::remove(saved / "train2-9.index");
  CHECK(scalar(open(saved / "train2-9"), "v1") == 20);
  const auto exported = cairn::export_index(saved / "train2-9", cairn::Format::TensorFlow);
  REQUIRE_MESSAGE(exported.has_value(), exported.error().what);
  CHECK(exported->payload_bytes_copied == 0);
  CHECK(contents(saved / "train2-9.index") == theirs);
  CHECK(open(saved / "train2-9").format() == cairn::Format::Cairn);
}

TEST_CASE("an export elsewhere links the shard and opens there") {
  const SavedByTensorFlow saved;
  cairn::TransferOptions options;
  options.output = saved / "elsewhere/m";
  const auto exported = cairn::export_index(saved / "train2-9", cairn::Format::TensorFlow, options);
  REQUIRE_MESSAGE(exported.has_value(), exported.error().what);
  CHECK(exported->used == cairn::Link::Hard);
  CHECK(exported->payload_bytes_copied == 0);
  CHECK(fs::equivalent(saved / "elsewhere/m.data-00000-of-00001",
                       saved / "train2-9.data-00000-of-00001"));
  CHECK(contents(saved / "elsewhere/m.index") == contents(saved / "train2-9.index"));
}

TEST_CASE("training goes on: restored copy-on-write, changed in place, saved as the next step") {
  const SavedByTensorFlow saved;
  const auto latest = open(saved / "train2-9", cairn::Access::Private);
  auto v1 =
      latest.tensor("v1").and_then([](cairn::Tensor t) { return t.as_mutable<std::int32_t>(); });
  REQUIRE_MESSAGE(v1.has_value(), v1.error().what);
  (*v1)[0] += 1;

  auto writer = cairn::Writer::create(
      saved / "train2-10", {{"v1", cairn::DType::Int32, {}}, {"v2", cairn::DType::Int32, {}}});
  REQUIRE(writer.has_value());
  for (const char* name : {"v1", "v2"}) {
    const auto bytes = latest.tensor(name).and_then([](cairn::Tensor t) { return t.bytes(); });
    REQUIRE(bytes.has_value());
    REQUIRE(writer->write(name, *bytes).has_value());
  }
  REQUIRE(writer->commit().has_value());
  auto state = **cairn::get_checkpoint_state(saved.dir());
  state.model_checkpoint_path = saved / "train2-10";
  state.all_model_checkpoint_paths.push_back(state.model_checkpoint_path);
  REQUIRE(cairn::update_checkpoint_state(saved.dir(), state).has_value());

  const auto next = open(saved.dir());
  CHECK(next.step() == 10);
  CHECK(scalar(next, "v1") == 21);
  CHECK(scalar(next, "v2") == 11);
  CHECK(scalar(open(saved / "train2-9"), "v1") == 20);
  CHECK(fs::exists(saved / "train2-10.index"));
}

}  // namespace
