#include "recording.h"

#include <cstdio>
#include <cstdlib>

#include "format/le.h"
#include "lib/os/file.h"
#include "lib/read/names.h"
#include "lib/try.h"

namespace cairn::crash {

void Recorder::begin() {
  (void)machine_.take_log();
  recording_ = {};
  recording_.start = machine_.image();
  recording_.before = world_;
  if (fault_) machine_.fail(fault_->operation_number, fault_->error);
}

Result<void> Recorder::step(std::string name, const std::function<Result<void>()>& call,
                            const std::function<void(World&)>& promise) {
  const auto done = call();
  Step step{std::move(name), machine_.log().size(), world_, static_cast<bool>(done)};
  promise(step.after);
  if (done) world_ = step.after;
  recording_.steps.push_back(std::move(step));
  return done;
}

void Recorder::write_foreign(const std::string& prefix, const std::vector<ForeignFile>& files) {
  const auto write_all = [&]() -> Result<void> {
    const auto parts = internal::Prefix::of(prefix);
    CAIRN_TRY(directory, os::Directory::open(parts.directory));
    for (const ForeignFile& foreign : files) {
      const std::string name = parts.base + foreign.suffix;
      CAIRN_TRY(file, directory.create_file("part-of-" + name));
      CAIRN_CHECK(file.write_at(0, format::as_bytes(foreign.bytes)));
      CAIRN_CHECK(directory.rename("part-of-" + name, name));
    }
    return {};
  };
  (void)step("a save of somebody else's", write_all, [&](World& world) {
    Held& held = world.checkpoints[prefix];
    held = {};
    held.claim = Held::Claim::Anything;
    for (const ForeignFile& foreign : files) world.foreign_shards.insert(prefix + foreign.suffix);
    for (const char* index : {".index", ".cairn"})
      held.foreign_indexes.push_back(machine_.find(prefix + index));
  });
}

Recording Recorder::finish() {
  recording_.operations = machine_.take_log();
  return std::move(recording_);
}

Recording record(const Workload& workload) {
  Recorder recorder;
  if (const auto done = workload.perform(recorder); !done) {
    std::fprintf(stderr, "crash_model: %s: %s\n", workload.name.c_str(), done.error().what.c_str());
    std::abort();
  }
  return recorder.finish();
}

}  // namespace cairn::crash
