// libcairn and libcairn-c in one process: they share no state, take the same locks, and each guards
// its own mappings.

#include <cairn/c.h>
#include <cairn/cairn.h>
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

namespace {

namespace fs = std::filesystem;

struct Box {
  Box() {
    std::string name = (fs::temp_directory_path() / "cairn-both-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root = name;
  }
  ~Box() { fs::remove_all(root); }
  fs::path root;
};

const std::int32_t kValue = 7;

cairn_code save_in_c(cairn_saver* saver, std::int64_t step, cairn_error** error) {
  cairn_tensor_spec spec = cairn_tensor_spec_init();
  spec.name = cairn_str("w");
  spec.dtype = CAIRN_INT32;
  cairn_named_tensor tensor = cairn_named_tensor_init();
  tensor.spec = &spec;
  tensor.bytes = &kValue;
  tensor.size_bytes = sizeof kValue;
  cairn_save_options options = cairn_save_options_init();
  options.step = step;
  options.has_step = 1;
  return cairn_saver_save(saver, "m", &tensor, 1, &options, nullptr, error);
}

cairn::Result<cairn::Saved> save_in_cpp(cairn::Saver& saver, std::int64_t step) {
  const cairn::NamedTensor tensors[] = {
      {{"w", cairn::DType::Int32, {}}, std::as_bytes(std::span(&kValue, 1)), {}}};
  return saver.save("m", tensors, {.step = step});
}

TEST_CASE("both save into one directory in turns, and read what the other wrote") {
  const Box box;
  cairn_saver* in_c = nullptr;
  REQUIRE(cairn_saver_open(box.root.c_str(), nullptr, &in_c, nullptr) == CAIRN_OK);
  auto in_cpp = cairn::Saver::open(box.root);
  REQUIRE(in_cpp);
  for (std::int64_t step = 0; step < 6; step += 2) {
    CHECK(save_in_c(in_c, step, nullptr) == CAIRN_OK);
    CHECK(save_in_cpp(*in_cpp, step + 1));
  }
  CHECK(in_cpp->last_checkpoints()->size() == 5);
  cairn_saver_free(in_c);
  CHECK(cairn::Checkpoint::open(box.root / "m-4"));
  cairn_checkpoint* checkpoint = nullptr;
  CHECK(cairn_checkpoint_open((box.root / "m-5").c_str(), nullptr, &checkpoint, nullptr) ==
        CAIRN_OK);
  cairn_checkpoint_free(checkpoint);
}

TEST_CASE("one waits for the lock that the other holds") {
  const Box box;
  auto in_cpp = cairn::Saver::open(box.root);
  REQUIRE(in_cpp);
  cairn_saver_options options = cairn_saver_options_init();
  options.lock_wait_ms = CAIRN_NO_WAIT;
  cairn_saver* in_c = nullptr;
  REQUIRE(cairn_saver_open(box.root.c_str(), &options, &in_c, nullptr) == CAIRN_OK);
  cairn_error* error = nullptr;
  cairn_code code = CAIRN_OK;
  const auto held = [&](cairn::Writer& writer) {
    code = save_in_c(in_c, 1, &error);
    return writer.write("w", std::as_bytes(std::span(&kValue, 1)));
  };
  CHECK(in_cpp->save("m", {{"w", cairn::DType::Int32, {}}}, held));
  CHECK(code == CAIRN_BUSY);
  REQUIRE(error != nullptr);
  CHECK(std::string(cairn_error_message(error)).find("lock") != std::string::npos);
  cairn_error_free(error);
  CHECK(save_in_c(in_c, 1, nullptr) == CAIRN_OK);
  cairn_saver_free(in_c);
}

// The first byte of the first tensor, after its file was truncated.
template <class View>
int byte_after_truncation(const fs::path& prefix, const View& view) {
  const auto* const bytes = static_cast<const volatile unsigned char*>(view());
  fs::resize_file(prefix.string() + ".data-00000-of-00001", 0);
  return *bytes;
}

TEST_CASE("each guard handles the faults of its own library") {
  for (const bool c_first : {true, false}) {
    const Box box;
    const fs::path saved = fs::path(CAIRN_GOLDEN_DIR) / "tensorflow/saver_walk/saved";
    for (const char* name : {"c", "cpp"}) fs::copy(saved, box.root / name);
    for (const auto& entry : fs::recursive_directory_iterator(box.root))
      fs::permissions(entry, fs::perms::owner_write, fs::perm_options::add);
    cairn_sigbus_guard* in_c = nullptr;
    std::optional<cairn::Result<cairn::SigbusGuard>> in_cpp;
    if (c_first) REQUIRE(cairn_sigbus_guard_install(nullptr, &in_c, nullptr) == CAIRN_OK);
    in_cpp.emplace(cairn::SigbusGuard::install());
    REQUIRE(*in_cpp);
    if (!c_first) REQUIRE(cairn_sigbus_guard_install(nullptr, &in_c, nullptr) == CAIRN_OK);
    cairn_checkpoint* of_c = nullptr;
    const fs::path c_prefix = box.root / "c/train2-9";
    const fs::path cpp_prefix = box.root / "cpp/train2-9";
    REQUIRE(cairn_checkpoint_open(c_prefix.c_str(), nullptr, &of_c, nullptr) == CAIRN_OK);
    const auto of_cpp = cairn::Checkpoint::open(cpp_prefix);
    REQUIRE(of_cpp);
    CHECK(byte_after_truncation(c_prefix, [&] {
            const void* bytes = nullptr;
            cairn_tensor_bytes(cairn_checkpoint_tensor_at(of_c, 0), &bytes, nullptr, nullptr);
            return bytes;
          }) == 0);
    CHECK(cairn_checkpoint_faulted(of_c));
    CHECK_FALSE(of_cpp->faulted());
    CHECK(byte_after_truncation(cpp_prefix, [&]() -> const void* {
            return of_cpp->tensor_at(0).bytes()->data();
          }) == 0);
    CHECK(of_cpp->faulted());
    cairn_checkpoint_free(of_c);
    // The one that was installed last ends first, so that the next round may install both again.
    if (c_first) in_cpp.reset();
    cairn_sigbus_guard_free(in_c);
    in_cpp.reset();
  }
}

bool is_mapped(const std::string& file) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(file) != std::string::npos) return true;
  }
  return false;
}

// A copy under another name, so that it is not the library that this program was linked with.
TEST_CASE("a module that loads the library can unload it") {
  const Box box;
  const fs::path copy = box.root / "libmodule.so";
  fs::copy_file(CAIRN_C_LIBRARY, copy);
  void* const handle = ::dlopen(copy.c_str(), RTLD_NOW | RTLD_LOCAL);
  REQUIRE_MESSAGE(handle != nullptr, std::string(::dlerror()));
  const auto open =
      reinterpret_cast<decltype(&cairn_checkpoint_open)>(::dlsym(handle, "cairn_checkpoint_open"));
  const bool another_copy = open != nullptr && open != &cairn_checkpoint_open;
  REQUIRE(another_copy);
  cairn_checkpoint* checkpoint = nullptr;
  CHECK(open("/nonexistent/m", nullptr, &checkpoint, nullptr) == CAIRN_NOT_FOUND);
  CHECK(is_mapped("libmodule.so"));
  ::dlclose(handle);
  CHECK_FALSE(is_mapped("libmodule.so"));
}

}  // namespace
