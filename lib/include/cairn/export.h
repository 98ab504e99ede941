#pragma once

// All code is compiled with hidden visibility. CAIRN_API marks what the shared library exports.
#define CAIRN_API __attribute__((visibility("default")))

// Marks the private parts of an exported class, which are not exported.
#define CAIRN_LOCAL __attribute__((visibility("hidden")))
