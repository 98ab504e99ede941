// usage: save DIR PAYLOAD [--benchmark_…]
//
// How long until a checkpoint is saved? The payload is read into memory, untimed, and written into
// a directory beside it, by Cairn and by a plain loop over the same bytes:
//
//     save/cairn             a new Writer, and all bytes given to it: written, summed, hashed
//     save/plain-write       a new file, its space reserved, and pwrite, 4 MiB at a time
//     save_sync/cairn        written, and committed: it survives a power cut
//     save_sync/plain-write  written, and fsync
//
// And by Saver::save_async, which copies, of a program that computes on all cores. A step writes
// every weight five times. Each save is the Saver's second: the first one pays for the memory.
//
//     async_blocked/cairn         until save_async has returned
//     async_blocked/plain-memcpy  a copy into memory that is there, on all cores
//     async_step/cairn            the next step, while the save runs
//     async_step/plain            a step without a save
//     async_durable/cairn         from the call until the save survives a power cut, and the caller
//                                 waits for it
//     async_durable/cairn-busy    the same, and the caller goes on with its steps
//
// What was written is removed before the next begins, untimed. A DIR in /dev/shm shows what is left
// where a sync costs nothing.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "cairn/cairn.h"
#include "measure.h"

namespace cairn::bench {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{4} << 20;

// Tensors one after the other in memory.
struct Model {
  std::vector<TensorSpec> specs;
  std::vector<std::span<const std::byte>> places;  // of each tensor, in the memory
  std::vector<std::byte> memory;
};

Result<Model> load(const std::string& path) {
  const auto checkpoint = Checkpoint::open(path);
  if (!checkpoint) return checkpoint.error();
  std::size_t total_bytes = 0;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i)
    total_bytes += checkpoint->tensor_at(i).size_bytes();
  Model model;
  model.memory.resize(total_bytes);
  std::span<std::byte> free = model.memory;
  for (std::size_t i = 0; i < checkpoint->tensor_count(); ++i) {
    const Tensor tensor = checkpoint->tensor_at(i);
    const auto place = free.first(tensor.size_bytes());
    const auto done = tensor.read(place);
    if (!done) return done.error();
    model.specs.push_back({std::string(tensor.name()),
                           tensor.dtype(),
                           {tensor.shape().begin(), tensor.shape().end()}});
    model.places.push_back(place);
    free = free.subspan(place.size());
  }
  return model;
}

enum class Until { Written, Synced };

// What is kept until it is closed, untimed.
struct Saved {
  std::unique_ptr<Writer> writer;
  int fd = -1;

  Saved() = default;
  Saved(Saved&& other) noexcept
      : writer(std::move(other.writer)), fd(std::exchange(other.fd, -1)) {}
  Saved& operator=(Saved&&) = delete;
  ~Saved() {
    if (fd >= 0) ::close(fd);
  }
};

Result<Saved> save_cairn(const Model& model, const std::string& directory, Until until) {
  auto writer = Writer::create(directory + "/model", model.specs);
  if (!writer) return writer.error();
  std::vector<NamedBytes> tensors;
  tensors.reserve(model.specs.size());
  for (std::size_t i = 0; i < model.specs.size(); ++i) {
    tensors.push_back({model.specs[i].name, model.places[i]});
  }
  auto done = writer->write_all(tensors);
  if (done && until == Until::Synced) done = writer->commit();
  if (!done) return done.error();
  Saved saved;
  saved.writer = std::make_unique<Writer>(*std::move(writer));
  return saved;
}

Error failed(const char* what) {
  return {Code::Io, errno, std::string(what) + ": " + std::strerror(errno)};
}

Result<Saved> save_plain(const Model& model, const std::string& directory, Until until) {
  Saved saved;
  saved.fd = ::open((directory + "/plain").c_str(), O_RDWR | O_CREAT | O_EXCL, 0644);
  if (saved.fd < 0) return failed("open");
  if (::fallocate(saved.fd, 0, 0, static_cast<off_t>(model.memory.size())) != 0)
    return failed("fallocate");
  for (std::size_t at = 0; at < model.memory.size(); at += kBlockBytes) {
    const std::size_t count = std::min(kBlockBytes, model.memory.size() - at);
    if (::pwrite(saved.fd, model.memory.data() + at, count, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(count))
      return failed("pwrite");
  }
  if (until == Until::Synced && ::fsync(saved.fd) != 0) return failed("fsync");
  return saved;
}

// ---- In the background --------------------------------------------------------------------------

std::vector<NamedTensor> named(const Model& model) {
  std::vector<NamedTensor> tensors;
  tensors.reserve(model.specs.size());
  for (std::size_t i = 0; i < model.specs.size(); ++i)
    tensors.push_back({model.specs[i], model.places[i], {}});
  return tensors;
}

// A Saver that has saved once, and what is measured of its second save.
class Background {
 public:
  explicit Background(const Model& model) : tensors_(named(model)) {}

  // Untimed.
  Result<void> prepare(const std::string& directory) {
    pending_.reset();
    saver_.reset();
    auto saver = Saver::open(directory);
    if (!saver) return saver.error();
    saver_ = std::make_unique<Saver>(*std::move(saver));
    auto begun = begin();
    if (begun) begun = wait();
    return begun;
  }

  Result<void> begin() {
    auto pending = saver_->save_async("model", tensors_, Saver::Memory::Copy);
    if (!pending) return pending.error();
    pending_ = *std::move(pending);
    return {};
  }

  bool done() const { return pending_->done(); }
  Result<void> wait() const {
    const auto saved = pending_->wait();
    if (!saved) return saved.error();
    return {};
  }

 private:
  std::vector<NamedTensor> tensors_;
  std::unique_ptr<Saver> saver_;
  std::optional<PendingSave> pending_;
};

// One step of the program: all cores write every weight, five times.
Result<void> step(Model& model) {
  constexpr int kPasses = 5;
  Result<void> done;
  for (int pass = 0; pass < kPasses && done; ++pass) {
    done = in_parallel(model.memory.size(), [&](std::size_t at, std::size_t size) {
      const std::span weights(reinterpret_cast<float*>(model.memory.data() + at),
                              size / sizeof(float));
      for (float& weight : weights) weight = weight * 0.999f + 0.001f;
      return Result<void>{};
    });
  }
  return done;
}

void add_background(const std::shared_ptr<Model>& model, const std::string& directory,
                    const std::function<Result<void>()>& load_model) {
  const auto background = std::make_shared<std::unique_ptr<Background>>();
  const auto ready = [=]() -> Result<void> {
    background->reset();  // before its directory
    if (const auto loaded = load_model(); !loaded) return loaded;
    *background = std::make_unique<Background>(*model);
    return (*background)->prepare(directory);
  };
  const auto running = [=]() -> Result<void> {
    const auto prepared = ready();
    return prepared ? (*background)->begin() : prepared;
  };
  add("async_blocked/cairn", [=] { return (*background)->begin(); }, ready);
  const auto copy = std::make_shared<std::vector<std::byte>>();
  add(
      "async_blocked/plain-memcpy",
      [=] {
        return in_parallel(model->memory.size(), [&](std::size_t at, std::size_t size) {
          std::memcpy(copy->data() + at, model->memory.data() + at, size);
          return Result<void>{};
        });
      },
      [=]() -> Result<void> {
        auto loaded = load_model();
        copy->assign(model->memory.begin(), model->memory.end());
        return loaded;
      });
  add("async_step/cairn", [=] { return step(*model); }, running);
  add("async_step/plain", [=] { return step(*model); }, load_model);
  const auto until_durable = [=](bool busy) -> Result<void> {
    auto begun = (*background)->begin();
    while (begun && busy && !(*background)->done()) begun = step(*model);
    return begun ? (*background)->wait() : begun;
  };
  add("async_durable/cairn", [=] { return until_durable(false); }, ready);
  add("async_durable/cairn-busy", [=] { return until_durable(true); }, ready);
}

void add_figures(const Subject& subject) {
  const auto model = std::make_shared<Model>();
  const std::string directory = subject.directory + "/save";
  const auto prepare = [=]() -> Result<void> {
    std::filesystem::remove_all(directory);
    std::filesystem::create_directories(directory);
    if (!model->specs.empty()) return {};
    auto loaded = load(subject.cairn());
    if (!loaded) return loaded.error();
    *model = *std::move(loaded);
    return {};
  };
  for (const auto& [ask, until] :
       {std::pair("save", Until::Written), {"save_sync", Until::Synced}}) {
    const std::string name(ask);
    const Until end = until;
    add(name + "/cairn", [=] { return save_cairn(*model, directory, end); }, prepare);
    add(name + "/plain-write", [=] { return save_plain(*model, directory, end); }, prepare);
  }
  add_background(model, directory, prepare);
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  return cairn::bench::run_program(argc, argv, cairn::bench::add_figures, 2);
}
