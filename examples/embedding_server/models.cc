// Two ways to replace a model: by cairn::Live, and by a copy.

#include "models.h"

#include <chrono>
#include <cstdio>
#include <mutex>
#include <optional>
#include <utility>

#include "cairn/watcher.h"

namespace {

std::string hex(const cairn::Digest128& digest) {
  std::string out;
  for (const std::byte byte : digest.bytes) {
    out += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> 4];
    out += "0123456789abcdef"[std::to_integer<unsigned>(byte) & 15];
  }
  return out;
}

cairn::Result<Model> model_of(const cairn::Checkpoint& checkpoint, const std::string& tensor) {
  auto engine = Engine::open(checkpoint, tensor);
  if (!engine) return engine.error();
  const auto digest = checkpoint.digest();
  return Model{*engine, checkpoint.prefix().string(), digest ? hex(*digest) : std::string()};
}

class Mapped final : public Models {
 public:
  explicit Mapped(cairn::Live live) : live_(std::move(live)) {}

  Held current() const override {
    Held held;
    held.snapshot = live_.current();
    if (!held.snapshot) return held;
    held.model = held.snapshot.model<Model>();
    held.checkpoint = &held.snapshot.checkpoint();
    held.generation = held.snapshot.generation();
    return held;
  }
  cairn::Result<cairn::LiveStatus> status() const override { return live_.status(); }
  cairn::Result<void> rollback() override { return live_.rollback(); }
  void run(std::stop_token stop) override { live_.run(stop); }

 private:
  cairn::Live live_;
};

class Copied final : public Models {
 public:
  Copied(cairn::Watcher watcher, const ModelOptions& options)
      : watcher_(std::move(watcher)), options_(options) {}

  Held current() const override {
    Held held;
    const std::lock_guard lock(mutex_);
    if (!current_) return held;
    held.model = &current_->model;
    held.checkpoint = &current_->checkpoint;
    held.generation = current_->generation;
    held.copied = current_;
    return held;
  }
  cairn::Result<cairn::LiveStatus> status() const override {
    const std::lock_guard lock(mutex_);
    return status_;
  }
  cairn::Result<void> rollback() override {
    return cairn::Error{cairn::Code::NotFound, 0,
                        "with --swap copy there is nothing to go back to"};
  }
  void run(std::stop_token stop) override {
    while (!stop.stop_requested()) {
      auto next = watcher_.next(std::chrono::seconds(1), stop);
      if (next && next->prefix) load(*next->prefix);
    }
  }

 private:
  struct Loaded {
    cairn::Checkpoint checkpoint;
    Model model;
    std::uint64_t generation;
  };

  void load(const std::filesystem::path& path) {
    const auto begin = std::chrono::steady_clock::now();
    auto opened =
        cairn::Checkpoint::open(path, {.access = cairn::Access::Copy, .exec = {.threads_max = 1}});
    const auto refuse = [](const cairn::Error& error) {
      std::fprintf(stderr, "server: %s\n", error.what.c_str());
    };
    if (!opened) return refuse(opened.error());
    auto model = model_of(*opened, options_.tensor);
    if (!model) return refuse(model.error());
    auto loaded = std::make_shared<Loaded>(Loaded{*opened, *model, status_.swap_count + 1});
    opened = cairn::Error{};  // so that the last request frees it, or this thread

    options_.before_swap();
    std::shared_ptr<const Loaded> old;
    const std::lock_guard lock(mutex_);
    old = std::exchange(current_, loaded);
    status_.generation = loaded->generation;
    status_.swap_count = loaded->generation;
    status_.prefix = path;
    status_.digest = loaded->checkpoint.digest();
    status_.last_swap = {.open = std::chrono::steady_clock::now() - begin};
    status_.last_swap_at = std::chrono::system_clock::now();
  }

  cairn::Watcher watcher_;
  const ModelOptions options_;
  mutable std::mutex mutex_;
  std::shared_ptr<const Loaded> current_;
  cairn::LiveStatus status_;
};

}  // namespace

cairn::Result<std::unique_ptr<Models>> map_models(const ModelOptions& options) {
  cairn::LiveOptions following;
  following.bytes_per_second_max = options.bytes_per_second_max;
  following.prepare =
      [options](const cairn::Checkpoint& c) -> cairn::Result<std::shared_ptr<void>> {
    options.before_swap();
    auto model = model_of(c, options.tensor);
    if (!model) return model.error();
    return std::shared_ptr<void>(std::make_shared<Model>(*std::move(model)));
  };
  auto live = cairn::Live::open(options.path, following);
  if (!live) return live.error();
  return std::unique_ptr<Models>(std::make_unique<Mapped>(*std::move(live)));
}

cairn::Result<std::unique_ptr<Models>> copy_models(const ModelOptions& options) {
  auto watcher = cairn::Watcher::open(options.path, {.only_latest = true});
  if (!watcher) return watcher.error();
  return std::unique_ptr<Models>(std::make_unique<Copied>(*std::move(watcher), options));
}
