#pragma once

// Everything is built with hidden visibility; CAIRN_API marks what the shared library exports.
#define CAIRN_API __attribute__((visibility("default")))

// For what lies inside a class that is exported, and is none of its users' business.
#define CAIRN_LOCAL __attribute__((visibility("hidden")))
