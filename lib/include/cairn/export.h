#pragma once

// Everything is built with hidden visibility; CAIRN_API marks what the shared library exports.
#define CAIRN_API __attribute__((visibility("default")))
