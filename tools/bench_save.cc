// What a training run does: the tensors are in memory, and when the save returns, they are on the
// disk and the catalog names them. That they come into memory is not timed.

#include "bench_save.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <deque>
#include <filesystem>
#include <string_view>

#include "cairn/saver.h"
#include "interruption.h"
#include "workplace.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

// All tensors, in memory. Lifetime: as long as the checkpoint.
class Payload {
 public:
  Result<void> add(const Tensor& tensor) {
    auto spec = tensor.spec();
    if (!spec) return std::move(spec).error();
    NamedTensor named{*std::move(spec), {}, {}};
    if (tensor.dtype() == DType::String) {
      auto strings = tensor.strings();
      if (!strings) return std::move(strings).error();
      const Strings& kept = strings_.emplace_back(*std::move(strings));
      named.strings = values_.emplace_back(kept.begin(), kept.end());
    } else if (const auto mapped = tensor.bytes()) {
      named.bytes = *mapped;
    } else {
      // Partitioned, or big-endian: put together.
      const auto size = tensor.read_bytes();
      if (!size) return size.error();
      auto& whole = wholes_.emplace_back(*size);
      const auto done = tensor.read(whole);
      if (!done) return done;
      named.bytes = whole;
    }
    tensors_.push_back(std::move(named));
    return {};
  }

  const std::vector<NamedTensor>& tensors() const { return tensors_; }

 private:
  // Their elements stay where they are.
  std::deque<Strings> strings_;
  std::deque<std::vector<std::string_view>> values_;
  std::deque<std::vector<std::byte>> wholes_;
  std::vector<NamedTensor> tensors_;
};

}  // namespace

Result<void> measure_save(Bench& bench) {
  const BenchOptions& options = bench.options;
  SaverOptions saving;
  saving.exec = options.exec;
  saving.exec.stop = stopped_by_signals();
  RestoreOptions restoring;
  restoring.verify = Verify::None;
  restoring.follow_links = options.follow_links;
  restoring.exec = saving.exec;
  const auto source = restore(options.path, restoring);
  if (!source) return source.error();
  Payload payload;
  for (const Tensor& tensor : source->checkpoint) {
    const auto added = payload.add(tensor);
    if (!added) return added;
  }

  const Workplace work(options.save_dir, ".cairn-bench");
  if (work.path().empty())
    return Error{Code::Io, errno,
                 fmt::format("{}: cannot make a directory there: {}", options.save_dir,
                             std::strerror(errno))};
  const fs::path dir = work.path() / "saved";
  const auto save = [&]() -> Result<void> {
    auto saver = Saver::open(dir, saving);
    if (!saver) return std::move(saver).error();
    const auto saved = saver->save("model", payload.tensors());
    if (!saved) return saved.error();
    return {};
  };
  const auto clear = [&] {
    std::error_code ignored;
    fs::remove_all(dir, ignored);
  };
  const auto seconds =
      bench.watch.time(PageCache::AsIs, {[] { return Result<void>(); }, save, clear});
  if (!seconds) return seconds.error();
  bench.report.figures.push_back({"save", "durable", Group::Cairn, bench.report.bytes, *seconds});
  return {};
}

}  // namespace cairn::tools
