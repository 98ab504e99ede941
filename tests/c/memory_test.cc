// No memory: each allocation of a C++ object fails, once. The call answers OutOfMemory or succeeds;
// nothing is thrown into C, and nothing is set when a call fails.

#include <cairn/c.h>
#include <doctest/doctest.h>
#include <stdlib.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace {

// How many allocations still succeed; below zero: all do.
std::atomic<long> left = -1;
std::atomic<bool> failed = false;

}  // namespace

void* operator new(std::size_t size) {
  if (left.load() >= 0 && left.fetch_sub(1) == 0) {
    failed = true;
    throw std::bad_alloc();
  }
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }

namespace {

namespace fs = std::filesystem;

struct Box {
  Box() {
    std::string name = (fs::temp_directory_path() / "cairn-c-memory-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root = name;
  }
  ~Box() { fs::remove_all(root); }
  fs::path root;
};

// Runs the call with the first, the second, … allocation failing, until none of it does. How many
// times it said OutOfMemory. It succeeds once before: the first use of simdjson in a process
// chooses the code for its processor, allocates, and cannot say that there is no memory. After the
// first hundred allocations only each `step`-th one fails, where a call waits for the disk.
int refusals(const std::function<cairn_code(cairn_error** error)>& call, long step = 1) {
  REQUIRE(call(nullptr) == CAIRN_OK);
  int refused = 0;
  for (long which = 0;; which += which < 100 ? 1 : step) {
    REQUIRE(which < 5000);
    cairn_error* error = nullptr;
    failed = false;
    left = which;
    const cairn_code code = call(&error);
    left = -1;
    const bool consistent = (code == CAIRN_OK) == (error == nullptr);
    CHECK(consistent);
    if (code != CAIRN_OK && error != nullptr) {
      CHECK_MESSAGE(code == CAIRN_OUT_OF_MEMORY, cairn_code_name(code)
                                                     << ": " << cairn_error_message(error));
      ++refused;
    }
    cairn_error_free(error);
    if (!failed) return refused;
  }
}

constexpr const char* kSaved = CAIRN_GOLDEN_DIR "/tensorflow/saver_walk/saved";

TEST_CASE("without memory every kind of call says so") {
  cairn_checkpoint* checkpoint = nullptr;
  bool set_without_success = false;
  const auto free_checkpoint = [&](cairn_code code) {
    if (code != CAIRN_OK && checkpoint != nullptr) set_without_success = true;
    cairn_checkpoint_free(std::exchange(checkpoint, nullptr));
    return code;
  };
  CHECK(refusals([&](cairn_error** error) {
          return free_checkpoint(cairn_checkpoint_open(kSaved, nullptr, &checkpoint, error));
        }) > 10);
  CHECK(refusals([&](cairn_error** error) {
          cairn_restored* restored = nullptr;
          const cairn_code code = cairn_restore(kSaved, nullptr, &checkpoint, &restored, error);
          if (code == CAIRN_OK) cairn_restored_free(restored);
          return free_checkpoint(code);
        }) > 10);
  CHECK_FALSE(set_without_success);
  REQUIRE(cairn_checkpoint_open(kSaved, nullptr, &checkpoint, nullptr) == CAIRN_OK);
  CHECK(refusals([&](cairn_error** error) {
          cairn_verification* verification = nullptr;
          const cairn_code code =
              cairn_checkpoint_verify(checkpoint, nullptr, &verification, error);
          cairn_verification_free(verification);
          return code;
        }) > 0);
  CHECK(refusals([&](cairn_error** error) {
          std::int32_t value = 0;
          cairn_read read = cairn_read_init();
          read.name = cairn_str("v1");
          read.out = &value;
          read.size_bytes = sizeof value;
          return cairn_checkpoint_read(checkpoint, &read, 1, nullptr, error);
        }) > 0);
  cairn_checkpoint_free(checkpoint);
  CHECK(refusals([&](cairn_error** error) {
          cairn_listed_checkpoints* listed = nullptr;
          const cairn_code code = cairn_list_checkpoints(kSaved, nullptr, &listed, error);
          cairn_listed_checkpoints_free(listed);
          return code;
        }) > 5);
}

TEST_CASE("without memory a model is not replaced, and the calls say so") {
  cairn_live* live = nullptr;
  CHECK(refusals([&](cairn_error** error) {
          const cairn_code code = cairn_live_open(kSaved, nullptr, &live, error);
          if (code == CAIRN_OK) cairn_live_free(live);
          return code;
        }) > 0);
  REQUIRE(cairn_live_open(kSaved, nullptr, &live, nullptr) == CAIRN_OK);
  cairn_snapshot* snapshot = nullptr;
  for (int i = 0; i < 20'000 && snapshot == nullptr; ++i) {
    cairn_live_poll(live, 1);
    REQUIRE(cairn_live_current(live, &snapshot, nullptr) == CAIRN_OK);
  }
  REQUIRE(snapshot != nullptr);
  cairn_snapshot_free(snapshot);
  CHECK(refusals([&](cairn_error** error) {
          cairn_snapshot* current = nullptr;
          const cairn_code code = cairn_live_current(live, &current, error);
          cairn_snapshot_free(current);
          return code;
        }) > 0);
  CHECK(refusals([&](cairn_error** error) {
          cairn_live_status* status = nullptr;
          const cairn_code code = cairn_live_get_status(live, &status, error);
          cairn_live_status_free(status);
          return code;
        }) > 0);
  cairn_live_free(live);
}

TEST_CASE("without memory a conversion says so") {
  const Box box;
  const std::string output = (box.root / "converted").string();
  CHECK(refusals(
            [&](cairn_error** error) {
              cairn_transfer_options options = cairn_transfer_options_init();
              options.output = output.c_str();
              options.replace = 1;
              const cairn_name_change renamed[1] = {{cairn_str("v1"), cairn_str("another name")}};
              options.renamed = renamed;
              options.renamed_count = 1;
              cairn_transfer* transfer = nullptr;
              const cairn_code code =
                  cairn_convert(kSaved, CAIRN_FORMAT_CAIRN, &options, &transfer, error);
              cairn_transfer_free(transfer);
              return code;
            },
            23) > 20);
}

TEST_CASE("without memory a save says so, and the directory stays whole") {
  const Box box;
  cairn_saver* saver = nullptr;
  REQUIRE(cairn_saver_open(box.root.c_str(), nullptr, &saver, nullptr) == CAIRN_OK);
  const float values[4] = {1, 2, 3, 4};
  const std::int64_t shape[1] = {4};
  CHECK(refusals(
            [&](cairn_error** error) {
              cairn_tensor_spec spec = cairn_tensor_spec_init();
              spec.name = cairn_str("a name that is longer than any short string");
              spec.dtype = CAIRN_FLOAT32;
              spec.shape = shape;
              spec.rank = 1;
              cairn_named_tensor tensor = cairn_named_tensor_init();
              tensor.spec = &spec;
              tensor.bytes = values;
              tensor.size_bytes = sizeof values;
              cairn_saved* saved = nullptr;
              const cairn_code code =
                  cairn_saver_save(saver, "m", &tensor, 1, nullptr, &saved, error);
              cairn_saved_free(saved);
              return code;
            },
            23) > 20);
  cairn_checkpoint* checkpoint = nullptr;
  REQUIRE(cairn_checkpoint_open((box.root / "m").c_str(), nullptr, &checkpoint, nullptr) ==
          CAIRN_OK);
  cairn_verification* verification = nullptr;
  REQUIRE(cairn_checkpoint_verify(checkpoint, nullptr, &verification, nullptr) == CAIRN_OK);
  CHECK(verification->damage_count == 0);
  cairn_verification_free(verification);
  cairn_checkpoint_free(checkpoint);
  cairn_saver_free(saver);
}

}  // namespace
