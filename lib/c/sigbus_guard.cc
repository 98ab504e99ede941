// The guard against pages that cannot be read.
//
// A handler may still run on another thread when the guard is freed, so what it reads is not in the
// handle: it is here, for the one guard that a process can have.

#include <atomic>

#include "lib/c/boundary.h"

struct cairn_sigbus_guard {
  cairn::SigbusGuard value;
};

namespace cairn::c {

namespace {

using OnFault = void (*)(void* context, const cairn_mapping_fault* fault);

constinit std::atomic<OnFault> on_fault{nullptr};
constinit std::atomic<void*> fault_context{nullptr};

void tell(const MappingFault& fault, void*) noexcept {
  const OnFault told = on_fault.load(std::memory_order_acquire);
  if (told == nullptr) return;
  const cairn_mapping_fault of_c{fault.mapping.data(), fault.mapping.size(), fault.offset_bytes};
  told(fault_context.load(std::memory_order_relaxed), &of_c);
}

}  // namespace
}  // namespace cairn::c

using namespace cairn::c;
using cairn::Result;

cairn_code cairn_sigbus_guard_install(const cairn_sigbus_guard_options* options,
                                      cairn_sigbus_guard** guard, cairn_error** error) {
  return guarded(error, [&]() -> Result<void> {
    CAIRN_TRY(known, struct_of(options, "cairn_sigbus_guard_options"));
    CAIRN_TRY(installed, cairn::SigbusGuard::install({.on_fault = &tell, .context = nullptr}));
    auto handle = std::make_unique<cairn_sigbus_guard>(std::move(installed));
    fault_context.store(known.context, std::memory_order_relaxed);
    on_fault.store(known.on_fault, std::memory_order_release);
    *guard = handle.release();
    return {};
  });
}

void cairn_sigbus_guard_free(cairn_sigbus_guard* guard) { delete guard; }
