#pragma once

// The model that is served, and how it is replaced.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "cairn/live.h"
#include "engine.h"

// What the server makes of a checkpoint before it is published.
struct Model {
  Engine engine;
  std::string prefix;
  std::string digest;  // hexadecimal; empty: the checkpoint has none
};

// The current model, held for one request: it stays as it is until this object goes.
struct Held {
  const Model* model = nullptr;  // nullptr: there is none yet
  const cairn::Checkpoint* checkpoint = nullptr;
  std::uint64_t generation = 0;
  cairn::Snapshot snapshot = {};            // what holds it: this,
  std::shared_ptr<const void> copied = {};  // or this
};

class Models {
 public:
  virtual Held current() const = 0;
  virtual cairn::Result<cairn::LiveStatus> status() const = 0;
  virtual cairn::Result<void> rollback() = 0;
  virtual void run(std::stop_token stop) = 0;
  virtual ~Models() = default;
};

struct ModelOptions {
  std::filesystem::path path;
  std::string tensor = "embeddings";
  std::uint64_t bytes_per_second_max = 100'000'000;
  std::function<void()> before_swap = [] {};  // called when a checkpoint is about to be published
};

// By cairn::Live: mapped, checked and brought in before it is published.
cairn::Result<std::unique_ptr<Models>> map_models(const ModelOptions& options);

// As servers without a mapping do it, to compare: each checkpoint is read into memory of this
// process by one thread, then published, and the old copy is freed. `path` is a directory.
cairn::Result<std::unique_ptr<Models>> copy_models(const ModelOptions& options);
