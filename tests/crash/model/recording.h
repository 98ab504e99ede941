#pragma once

// A workload's operations on the disk, and what its user was told after which of them.

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "machine.h"
#include "world.h"

namespace cairn::crash {

struct Step {
  std::string name;
  std::size_t end = 0;  // the operations before this one were done when the call returned
  World after;          // what its success promises
  bool acknowledged = false;
};

struct Recording {
  Image start;   // durable
  World before;  // what was promised of it
  std::vector<Operation> operations;
  std::vector<Step> steps;
};

// Runs a workload step by step on a machine of its own.
class Recorder {
 public:
  // Lets one operation fail, counted from the beginning of the recording.
  struct Fault {
    std::size_t operation_number = 0;
    int error = 0;
  };
  explicit Recorder(std::optional<Fault> fault = std::nullopt)
      : machine_(Image{}), here_(machine_), fault_(fault) {}

  Machine& machine() noexcept { return machine_; }

  // Everything until now is durable and promised: the recording begins here.
  void begin();

  // A call of the library's, and how its success changes the world. The error of the call.
  Result<void> step(std::string name, const std::function<Result<void>()>& call,
                    const std::function<void(World&)>& promise);

  // Files under a prefix as somebody writes them who never syncs, and promises nothing: each under
  // another name first.
  struct ForeignFile {
    std::string suffix;
    std::string bytes;
  };
  void write_foreign(const std::string& prefix, const std::vector<ForeignFile>& files);

  bool has_failed() const noexcept { return machine_.has_failed(); }
  Recording finish();

 private:
  Machine machine_;
  Running here_;
  std::optional<Fault> fault_;
  World world_;
  Recording recording_;
};

struct Workload {
  // A sync that nothing depends on in this situation, though another call needs it.
  struct Spare {
    std::string sync;
    std::string why;
  };

  std::string name;
  Result<void> (*perform)(Recorder&);
  std::vector<Spare> spare;
};

// All of them; each saves, imports, exports or converts in another situation.
const std::vector<Workload>& workloads();

// Without a fault every step succeeds, else the program ends.
Recording record(const Workload& workload);

}  // namespace cairn::crash
