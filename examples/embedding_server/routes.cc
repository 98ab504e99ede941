// Every answer that holds text of a file or of a client is JSON; the page puts it in as text.

#include "routes.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "json.h"

namespace {

constexpr std::size_t kBodyBytesMax = 1 << 20;  // a client cannot make the server keep more
constexpr std::size_t kTextsMax = 64;           // nor let it compute for long
constexpr std::size_t kTensorsShownMax = 1000;  // a page of a million rows is of no use
constexpr int kSecondsMax = 5;                  // to read or write a piece of a request or answer

void send(httplib::Response& response, std::string json) {
  response.set_content(std::move(json), "application/json");
}

void refuse(httplib::Response& response, int status, std::string_view why) {
  response.status = status;
  send(response, "{\"error\":" + json_string(why) + "}");
}

// The body, unless it is too large. (payload_max_length of this httplib does not count a body that
// comes in chunks or is compressed, and without a length it waits for more until the time is over.)
std::optional<std::string> body_of(const httplib::Request& request,
                                   const httplib::ContentReader& reader,
                                   httplib::Response& response) {
  std::string body;
  if (!request.has_header("Content-Length") && !request.has_header("Transfer-Encoding"))
    return body;
  bool fits = true;
  const bool whole = reader([&](const char* data, std::size_t size) {
    fits = size <= kBodyBytesMax - body.size();
    if (fits) body.append(data, size);
    return fits;
  });
  if (whole) return body;
  response.set_header("Connection", "close");  // the rest of the body is still to come
  if (response.status == 413 || !fits)
    refuse(response, 413, "the body is longer than 1 MiB");
  else
    refuse(response, 400, "the body could not be read");
  return std::nullopt;
}

std::string name_of(const Held& held) {
  return "{\"generation\":" + std::to_string(held.generation) +
         ",\"digest\":" + json_string(held.model->digest) +
         ",\"prefix\":" + json_string(held.model->prefix) + "}";
}

void embed(const Serving& serving, const std::string& body, httplib::Response& response) {
  const auto begin = std::chrono::steady_clock::now();
  auto texts = parse_texts(body, kTextsMax);
  if (!texts) return refuse(response, 400, texts.error().what);
  const Held held = serving.models.current();
  if (held.model == nullptr) return refuse(response, 503, "there is no checkpoint yet");
  std::string vectors = json_array(*texts, [&](const std::string& text) {
    return json_array(held.model->engine.embed(text),
                      [](float value) { return json_number(value); });
  });
  // A page that cannot be read becomes zeros, and the checkpoint says so (SigbusGuard).
  if (held.checkpoint->faulted()) return refuse(response, 503, "a file of the model is broken");
  send(response, "{\"model\":" + name_of(held) + ",\"embeddings\":" + std::move(vectors) + "}");
  serving.metrics.observe(std::chrono::steady_clock::now() - begin);
}

// Compares all bytes, so that the time does not tell how many of them are right.
bool equal(std::string_view given, std::string_view secret) {
  std::size_t different = given.size() ^ secret.size();
  for (std::size_t i = 0; i < given.size(); ++i)
    different |= static_cast<unsigned char>(given[i] ^ secret[i % secret.size()]);
  return different == 0;
}

void roll_back(const Serving& serving, const httplib::Request& request,
               httplib::Response& response) {
  if (serving.token.empty()) return refuse(response, 403, "the server has no --token-file");
  if (!equal(request.get_header_value("Authorization"), "Bearer " + serving.token)) {
    response.set_header("WWW-Authenticate", "Bearer");
    return refuse(response, 401, "this needs the token of the server");
  }
  serving.history.look(serving.models);  // what is current now is noted before it goes
  if (auto done = serving.models.rollback(); !done) return refuse(response, 409, done.error().what);
  const Held held = serving.models.current();
  send(response, "{\"model\":" + name_of(held) + "}");
}

std::string models_json(const Serving& serving, const cairn::LiveStatus& status) {
  const auto text = [](std::string_view name, const std::string& value) {
    return "\"" + std::string(name) + "\":" + json_string(value) + ",";
  };
  const Held held = serving.models.current();
  return "{\"current\":" + (held.model ? name_of(held) : "null") + "," +
         text("rollback", status.rollback.string()) +
         text("state", std::string(cairn::name(status.state))) +
         text("candidate", status.candidate.string()) + text("last_error", status.last_error) +
         "\"done_bytes\":" + std::to_string(status.done_bytes) +
         ",\"total_bytes\":" + std::to_string(status.total_bytes) +
         ",\"warnings\":" + json_array(status.warnings, json_string) + ",\"quarantine\":" +
         json_array(status.quarantine,
                    [&](const cairn::QuarantinedCheckpoint& bad) {
                      const std::chrono::duration<double> since = bad.since.time_since_epoch();
                      return "{" + text("prefix", bad.prefix.string()) +
                             text("code", cairn::name(bad.code)) + text("why", bad.why) +
                             "\"since\":" + json_number(since.count()) + "}";
                    }) +
         ",\"history\":" + serving.history.json() +
         ",\"latency\":" + serving.metrics.histogram_json() + "}";
}

// How many bytes of the mapping are in memory, in whole pages.
std::uint64_t resident_bytes(std::span<const std::byte> bytes) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  std::uintptr_t at = reinterpret_cast<std::uintptr_t>(bytes.data()) / page * page;
  const auto end = reinterpret_cast<std::uintptr_t>(bytes.data() + bytes.size());
  std::vector<unsigned char> pages(4096);  // few pages at a time: mincore holds a lock
  std::uint64_t resident = 0;
  for (; at < end; at += pages.size() * page) {
    const std::uintptr_t size = std::min<std::uintptr_t>(end - at, pages.size() * page);
    if (mincore(reinterpret_cast<void*>(at), size, pages.data()) != 0) return 0;
    const auto stop = pages.begin() + static_cast<std::ptrdiff_t>((size + page - 1) / page);
    resident += page * static_cast<std::uint64_t>(std::count_if(
                           pages.begin(), stop, [](unsigned char flags) { return flags & 1; }));
  }
  return std::min<std::uint64_t>(resident, bytes.size());
}

std::string tensor_json(const cairn::Tensor& tensor) {
  const auto bytes = tensor.bytes();
  return "{\"name\":" + json_string(tensor.name()) +
         ",\"dtype\":" + json_string(tensor.dtype_name()) + ",\"shape\":" +
         json_array(tensor.shape(), [](std::int64_t count) { return std::to_string(count); }) +
         ",\"size_bytes\":" + std::to_string(tensor.size_bytes()) +
         ",\"resident_bytes\":" + (bytes ? std::to_string(resident_bytes(*bytes)) : "null") + "}";
}

void list_tensors(const Serving& serving, httplib::Response& response) {
  const Held held = serving.models.current();
  if (held.model == nullptr) return refuse(response, 503, "there is no checkpoint yet");
  std::vector<cairn::Tensor> shown;
  for (const cairn::Tensor& tensor : *held.checkpoint)
    if (shown.size() < kTensorsShownMax) shown.push_back(tensor);
  send(response, "{\"model\":" + name_of(held) +
                     ",\"tensor_count\":" + std::to_string(held.checkpoint->tensor_count()) +
                     ",\"tensors\":" + json_array(shown, tensor_json) + "}");
}

void send_metrics(const Serving& serving, httplib::Response& response) {
  const auto status = serving.models.status();
  const auto live = status ? cairn::prometheus_text(*status) : status.error();
  if (!live) return refuse(response, 500, live.error().what);
  response.set_content(*live + serving.metrics.prometheus_text(),
                       "text/plain; version=0.0.4; charset=utf-8");
}

void set_limits(httplib::Server& server) {
  server.set_payload_max_length(kBodyBytesMax);
  server.set_read_timeout(kSecondsMax);
  server.set_write_timeout(kSecondsMax);
  server.set_keep_alive_timeout(kSecondsMax);
  server.set_keep_alive_max_count(1'000'000);
  server.set_tcp_nodelay(true);
  // Not SO_REUSEPORT, which httplib sets: a second server would take half of the connections.
  server.set_socket_options([](socket_t socket) {
    const int on = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  });
  server.set_default_headers({
      {"Content-Security-Policy",
       "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
       "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
      {"X-Content-Type-Options", "nosniff"},
      {"Referrer-Policy", "no-referrer"},
      {"Cache-Control", "no-store"},
  });
}

}  // namespace

void add_routes(httplib::Server& server, Serving& serving) {
  set_limits(server);
  server.Post("/embed", [&](const httplib::Request& request, httplib::Response& response,
                            const httplib::ContentReader& reader) {
    if (const auto body = body_of(request, reader, response)) embed(serving, *body, response);
  });
  server.Post("/models/rollback", [&](const httplib::Request& request, httplib::Response& response,
                                      const httplib::ContentReader& reader) {
    if (body_of(request, reader, response)) roll_back(serving, request, response);
  });
  server.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
    send(response, "{\"ok\":true}");
  });
  server.Get("/readyz", [&](const httplib::Request&, httplib::Response& response) {
    const Held held = serving.models.current();
    if (held.model == nullptr) return refuse(response, 503, "there is no checkpoint yet");
    send(response, "{\"model\":" + name_of(held) + "}");
  });
  server.Get("/metrics", [&](const httplib::Request&, httplib::Response& response) {
    send_metrics(serving, response);
  });
  server.Get("/models", [&](const httplib::Request&, httplib::Response& response) {
    const auto status = serving.models.status();
    if (!status) return refuse(response, 500, status.error().what);
    send(response, models_json(serving, *status));
  });
  server.Get("/tensors", [&](const httplib::Request&, httplib::Response& response) {
    list_tensors(serving, response);
  });
  server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.body.empty()) refuse(response, response.status, "no answer to this request");
  });
  server.set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, std::exception_ptr) {
        refuse(response, 500, "the server has not enough memory for this request");
      });
  server.set_logger([&](const httplib::Request& request, const httplib::Response& response) {
    serving.metrics.count(request.path, response.status);
  });
}
