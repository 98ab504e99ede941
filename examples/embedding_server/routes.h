#pragma once

// What the server answers.

#include <httplib.h>

#include <string>

#include "history.h"
#include "metrics.h"
#include "models.h"

struct Serving {
  Models& models;
  History& history;
  Metrics& metrics;
  std::string token;  // of POST /models/rollback; empty: nobody may
};

// Limits, headers and routes. `serving` must live longer than `server`.
void add_routes(httplib::Server& server, Serving& serving);
