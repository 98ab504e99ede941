#pragma once

// Cairn stores and opens machine-learning checkpoints. A checkpoint is bytes plus indexes, and the
// bytes never move. Start with cairn/checkpoint.h.

#include "cairn/cast.h"
#include "cairn/catalog.h"
#include "cairn/checkpoint.h"
#include "cairn/convert.h"
#include "cairn/copy.h"
#include "cairn/dequantize.h"
#include "cairn/dtype.h"
#include "cairn/edit.h"
#include "cairn/error.h"
#include "cairn/exec_options.h"
#include "cairn/format_options.h"
#include "cairn/object_graph.h"
#include "cairn/renaming.h"
#include "cairn/restore.h"
#include "cairn/salvage.h"
#include "cairn/saver.h"
#include "cairn/sigbus_guard.h"
#include "cairn/tensor.h"
#include "cairn/tensor_iterator.h"
#include "cairn/verification.h"
#include "cairn/version.h"
#include "cairn/watcher.h"
#include "cairn/writer.h"
