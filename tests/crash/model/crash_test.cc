// Every workload, cut off at every moment, on a disk that keeps no more than it must.

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <set>
#include <string>

#include "explore.h"

namespace cairn::crash {

extern Effort effort;  // from the command line

namespace {

std::string lines_of(const std::vector<std::string>& breaches) {
  std::string text;
  for (const std::string& breach : breaches) text += "\n  " + breach;
  return text;
}

const Workload& workload_named(const std::string& name) {
  return *std::ranges::find(workloads(), name, &Workload::name);
}

bool is_caught(const Mutant& mutant) {
  Effort quick = effort;
  quick.stop_at_first = true;
  quick.next_save_every = 0;
  quick.moments_max = 64;
  quick.first_moment = mutant.first_moment;
  return !cut_power(mutant.recording, quick).breaches.empty();
}

// What a workload does and promises when one of its operations fails; nothing: it has fewer.
std::optional<Recording> record_with(const Workload& workload, const Recorder::Fault& fault) {
  Recorder recorder(fault);
  (void)workload.perform(recorder);
  if (!recorder.has_failed()) return std::nullopt;
  return recorder.finish();
}

// A call that has seen a sync fail does not know what is durable, and may not say that it does.
bool succeeds_over_failed_sync(const Recording& recording) {
  std::size_t begin = 0;
  for (const Step& step : recording.steps) {
    for (std::size_t i = begin; step.acknowledged && i < step.end; ++i) {
      if (recording.operations[i].kind == Operation::Kind::FailedSync) return true;
    }
    begin = step.end;
  }
  return false;
}

}  // namespace

TEST_CASE("a power cut at any moment leaves every acknowledged checkpoint whole") {
  Findings all;
  for (const Workload& workload : workloads()) {
    CAPTURE(workload.name);
    const Findings findings = cut_power(record(workload), effort);
    INFO(lines_of(findings.breaches));
    CHECK(findings.breaches.empty());
    std::printf("%s: %zu moments, %zu of them sampled; %zu states, %zu different\n",
                workload.name.c_str(), findings.moments, findings.sampled_moments, findings.states,
                findings.opened);
    all.moments += findings.moments;
    all.states += findings.states;
    all.opened += findings.opened;
    all.next_saves += findings.next_saves;
  }
  std::printf(
      "power cut: %zu workloads, %zu moments, %zu states, %zu different ones opened, %zu "
      "saved over, seed %llu\n",
      workloads().size(), all.moments, all.states, all.opened, all.next_saves,
      static_cast<unsigned long long>(effort.seed));
}

TEST_CASE("a process killed at any moment leaves every acknowledged checkpoint whole") {
  std::size_t moments = 0;
  for (const Workload& workload : workloads()) {
    CAPTURE(workload.name);
    const Findings findings = kill(record(workload), effort);
    INFO(lines_of(findings.breaches));
    CHECK(findings.breaches.empty());
    moments += findings.moments;
  }
  std::printf("killed: %zu moments\n", moments);
}

TEST_CASE("an operation that fails costs no acknowledged checkpoint, and a failed sync is told") {
  std::size_t failures = 0;
  for (const Workload& workload : workloads()) {
    (void)record(workload);
    Recorder::Fault fault{0, EIO};
    while (const auto recording = record_with(workload, fault)) {
      CAPTURE(workload.name);
      CAPTURE(fault.operation_number);
      Effort here = effort;
      here.states_per_moment /= 8;
      here.first_moment = fault.operation_number;
      here.moments_max = 6;  // what comes later is as without the fault
      const Findings findings = cut_power(*recording, here);
      INFO(lines_of(findings.breaches));
      CHECK(findings.breaches.empty());
      const Findings alive = kill(*recording, here);
      INFO(lines_of(alive.breaches));
      CHECK(alive.breaches.empty());
      CHECK_FALSE(succeeds_over_failed_sync(*recording));
      ++failures;
      ++fault.operation_number;
    }
  }
  std::printf("failed: %zu operations\n", failures);
}

TEST_CASE("each sync, left out alone, is missed") {
  std::size_t caught = 0;
  std::size_t spare = 0;
  for (const Workload& workload : workloads()) {
    CAPTURE(workload.name);
    std::size_t spare_here = 0;
    std::set<std::string> seen;
    for (const Mutant& mutant : without_each_sync(record(workload))) {
      CAPTURE(mutant.what);
      const auto known = std::ranges::find_if(workload.spare, [&](const Workload::Spare& one) {
        return mutant.what.ends_with(one.sync) ||
               mutant.what.find(one.sync + " after ") != one.sync.npos;
      });
      const bool needed = known == workload.spare.end();
      CHECK(is_caught(mutant) == needed);
      if (!needed) seen.insert(known->sync);
      ++(needed ? caught : spare_here);
    }
    CHECK(seen.size() == workload.spare.size());
    spare += spare_here;
  }
  std::printf("syncs: %zu left out, each missed; %zu spare ones\n", caught, spare);
}

TEST_CASE("a writer that syncs nothing is caught") {
  for (const Workload& workload : workloads()) {
    CAPTURE(workload.name);
    CHECK(is_caught(without_syncs(record(workload))));
  }
}

TEST_CASE("names in the wrong order are caught") {
  struct Order {
    const char* workload;
    const char* late;
    const char* early;
  };
  constexpr std::array kOrders = {
      Order{"a first save, in new directories", "rename /new/runs/m.index",
            "rename /new/runs/m.data-00000"},
      Order{"a first save, in new directories", "rename /new/runs/m.cairn",
            "sync /new/runs/m.cairn"},
      Order{"saves over the same prefix", "remove /m.data-00000", "rename /m.index"},
      Order{"saves in steps, each listed in the catalog", "rename /saved/checkpoint",
            "rename /saved/m-1.index"},
      Order{"imports of what TensorFlow has just written", "rename /ckpt-6.cairn", "sync /ckpt-6"},
  };
  for (const Order& order : kOrders) {
    const Mutant mutant =
        exchanged(record(workload_named(order.workload)), order.late, order.early);
    CAPTURE(mutant.what);
    CHECK(is_caught(mutant));
  }
}

}  // namespace cairn::crash
