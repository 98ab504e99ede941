#pragma once

// Ctrl-C and its like (SIGINT, SIGTERM, SIGHUP) while a verb writes: the first one stops its work,
// which takes away what it has begun, and then the command ends by that signal, so that a loop of a
// shell ends too. A second one ends it at once. What is committed by then is finished, and
// reported.

#include <stop_token>

namespace cairn::tools {

// From the first call on the signals stop this token instead of ending the process, unless whoever
// started the command ignores them.
std::stop_token stopped_by_signals();

// Ends the process by the signal that stopped the work; returns where none has.
void end_by_signal();

}  // namespace cairn::tools
