// Serves a model that is replaced while it is served.
//
// usage: serve DIR      a directory into which a training process saves
//
// Requests are lines of stdin: the name of a tensor. The answer is the sum of its elements, and the
// checkpoint that it comes from. A thread waits for newer checkpoints. A request that has begun
// ends with the model that it began with.

#include <cairn/cairn.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <thread>

namespace {

struct Model {
  cairn::Checkpoint weights;  // every span over its tensors lives as long as this
  std::string name;
};
using Served = std::shared_ptr<const Model>;

void complain(const cairn::Error& error) { std::fprintf(stderr, "%s\n", error.what.c_str()); }

// All bytes are read and checked here, so that no request waits for the disk.
Served load(const std::filesystem::path& path) {
  auto restored = cairn::restore(path);
  if (!restored) {
    complain(restored.error());
    return nullptr;
  }
  std::fprintf(stderr, "serving %s, %s\n", path.c_str(),
               std::string(cairn::name(restored->method)).c_str());
  return std::make_shared<const Model>(Model{std::move(restored->checkpoint), path.string()});
}

// The newest checkpoint that is whole. Waits for one; older ones that wait behind it are left out.
std::optional<std::filesystem::path> newest(cairn::Watcher& watcher, std::stop_token stop) {
  std::optional<std::filesystem::path> found;
  while (!stop.stop_requested()) {
    auto published = watcher.next(found ? std::chrono::hours(0) : std::chrono::hours(1), stop);
    if (!published) {
      if (published.error().code != cairn::Code::Cancelled) complain(published.error());
    } else if (published->prefix) {
      found = published->prefix;
    } else if (found) {
      return found;
    }
  }
  return std::nullopt;
}

template <class T>
double sum(std::span<const T> elements) {
  return std::accumulate(elements.begin(), elements.end(), 0.0);
}

cairn::Result<double> infer(const Model& model, const std::string& request) {
  auto tensor = model.weights.tensor(request);
  if (!tensor) return tensor.error();
  if (tensor->dtype() == cairn::DType::Int32)
    return tensor->as<std::int32_t>().transform(sum<std::int32_t>);
  return tensor->as<float>().transform(sum<float>);
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) {
    std::fprintf(stderr, "usage: serve DIR\n");
    return 2;
  }
  // If a file is truncated under a mapping, the process lives on, and the model says so.
  auto guard = cairn::SigbusGuard::install();
  auto watcher = cairn::Watcher::open(words[1]);
  if (!guard || !watcher) {
    complain(guard ? watcher.error() : guard.error());
    return 1;
  }
  std::atomic<Served> current;
  const std::jthread loader([&](std::stop_token stop) {
    while (const auto path = newest(*watcher, stop)) {
      if (Served next = load(*path)) current.store(std::move(next));  // else the old one goes on
    }
  });

  for (std::string request; std::getline(std::cin, request);) {
    const Served model = current.load();
    if (model == nullptr) {
      std::cout << "no model yet" << std::endl;
      continue;
    }
    const auto answer = infer(*model, request);
    if (model->weights.faulted()) {
      std::cout << model->name << ": a file is broken, ask again" << std::endl;
    } else if (answer) {
      std::cout << model->name << ": " << *answer << std::endl;
    } else {
      std::cout << answer.error().what << std::endl;
    }
  }
}
