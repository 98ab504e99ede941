#pragma once

// A Saver in a directory, and what its catalog and files come to.

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <vector>

#include "tests/unit/sandbox.h"

namespace cairn::test {

// A Saver, its clock, and one tensor `v`.
class Trainer {
 public:
  explicit Trainer(fs::path dir, SaverOptions options = {})
      : dir_(std::move(dir)), options_(options) {
    options_.clock = [this] { return now_s; };
    restart();
  }

  // As a process that is started anew.
  void restart() {
    saver_.reset();
    auto opened = Saver::open(dir_, options_);
    REQUIRE_MESSAGE(opened, refusal(opened));
    saver_.emplace(std::move(*opened));
  }

  Result<Saved> try_save(std::int64_t step, SaveOptions what = {}) {
    value_ = static_cast<std::int32_t>(step);
    what.step = step;
    return saver_->save("m", std::span(&tensor_, 1), what);
  }

  Saved save(std::int64_t step, SaveOptions what = {}) {
    auto saved = try_save(step, std::move(what));
    REQUIRE_MESSAGE(saved, refusal(saved));
    CHECK(saved->warnings.empty());
    return *std::move(saved);
  }

  Saver& operator*() { return *saver_; }
  Saver* operator->() { return &*saver_; }

  double now_s = 1000;

 private:
  fs::path dir_;
  SaverOptions options_;
  std::optional<Saver> saver_;
  std::int32_t value_ = 0;
  NamedTensor tensor_{{"v", DType::Int32, {}}, std::as_bytes(std::span(&value_, 1)), {}};
};

inline SaverOptions keeping(std::vector<Retention> rules) {
  SaverOptions options;
  options.keep_any_of = std::move(rules);
  return options;
}

// The steps of the checkpoints m-N that open and hold their step, in order.
inline std::vector<int> steps_in(const fs::path& dir) {
  std::vector<int> steps;
  for (int step = 0; step < 100; ++step) {
    const auto values = values_at(dir / ("m-" + std::to_string(step)));
    if (values && values->at("v") == int_scalar(step)) steps.push_back(step);
  }
  return steps;
}

// Everything that is no part of a checkpoint m-N, the catalog or the lock's file.
inline std::vector<std::string> strays_in(const fs::path& dir) {
  std::vector<std::string> strays;
  for (const auto& [name, bytes] : read_files(dir)) {
    if (name != "checkpoint" && name != ".cairn-lock" && !name.starts_with("m-"))
      strays.push_back(name);
    if (has(name, "cairn-tmp")) strays.push_back(name);
  }
  return strays;
}

inline std::string catalog_of(std::vector<std::string> names) {
  std::string text = "model_checkpoint_path: \"" + names.back() + "\"\n";
  for (const auto& name : names) text += "all_model_checkpoint_paths: \"" + name + "\"\n";
  return text;
}

inline std::string catalog_in(const fs::path& dir) { return read_file(dir / "checkpoint"); }

inline void remove_files(const fs::path& prefix) {
  for (const char* suffix : {".index", ".cairn", ".data-00000-of-00001"})
    fs::remove(prefix.string() + suffix);
}

}  // namespace cairn::test
