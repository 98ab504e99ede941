// Serves embeddings of texts by the newest checkpoint of a directory, while a trainer saves there.
//
// usage: server MODEL [--host ADDRESS] [--port N] [--threads N] [--token-file FILE]
//               [--tensor NAME] [--bandwidth MB/S] [--swap map|copy]
//
// MODEL is what cairn::Live follows: a directory with a catalog, a prefix, a file. README.md says
// what each option does.

#include <httplib.h>
#include <sys/stat.h>

#include <charconv>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "cairn/sigbus_guard.h"
#include "routes.h"

namespace {

struct Options {
  ModelOptions model;
  std::string host = "127.0.0.1";
  int port = 8080;
  unsigned threads = 8;
  std::string token;
  bool copy = false;
};

template <class Number>
Number number(const std::string& text, Number largest) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > largest || value < 0)
    throw std::runtime_error(text + " is not a number up to " + std::to_string(largest));
  return value;
}

std::string token_of(const std::string& path) {
  struct stat info{};
  std::string token;
  std::ifstream file(path);
  if (!std::getline(file, token) || token.empty() || stat(path.c_str(), &info) != 0)
    throw std::runtime_error(path + " has no token in its first line");
  if (info.st_mode & 077) throw std::runtime_error(path + " can be read by others: run chmod 600");
  return token;
}

Options parse(int count, char** words) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (!word.starts_with("--") && options.model.path.empty()) {
      options.model.path = word;
      continue;
    }
    if (++i == count) throw std::runtime_error(word + ": what is this?");
    const std::string value = words[i];
    if (word == "--host") {
      options.host = value;
    } else if (word == "--port") {
      options.port = number(value, 65535);
    } else if (word == "--threads") {
      options.threads = number(value, 1024U);
    } else if (word == "--token-file") {
      options.token = token_of(value);
    } else if (word == "--tensor") {
      options.model.tensor = value;
    } else if (word == "--bandwidth") {
      options.model.bytes_per_second_max = number(value, std::uint64_t{1'000'000}) * 1'000'000;
    } else if (word == "--swap" && (value == "map" || value == "copy")) {
      options.copy = value == "copy";
    } else {
      throw std::runtime_error(word + " " + value + ": what is this?");
    }
  }
  if (options.threads == 0) throw std::runtime_error("--threads 0: nobody would answer");
  if (options.model.path.empty()) throw std::runtime_error("no MODEL was given");
  return options;
}

int serve(Options options) {
  // Handled by sigwait below; threads inherit the mask.
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGINT);
  sigaddset(&ends, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);

  // If a file is truncated under a mapping, the process lives on, and the checkpoint says so.
  const auto guard = cairn::SigbusGuard::install();
  if (!guard) throw std::runtime_error(guard.error().what);
  Metrics metrics;
  History history;
  std::unique_ptr<Models> models;
  options.model.before_swap = [&] { history.look(*models); };
  auto made = options.copy ? copy_models(options.model) : map_models(options.model);
  if (!made) throw std::runtime_error(made.error().what);
  models = *std::move(made);

  Serving serving{*models, history, metrics, options.token};
  httplib::Server server;
  add_routes(server, serving);
  server.set_mount_point("/", EMBEDDING_SERVER_PAGE);
  server.new_task_queue = [&] { return new httplib::ThreadPool(options.threads); };
  const int port = options.port == 0 ? server.bind_to_any_port(options.host)
                   : server.bind_to_port(options.host, options.port) ? options.port
                                                                     : -1;
  if (port < 0)
    throw std::runtime_error("cannot listen on " + options.host + ":" +
                             std::to_string(options.port));
  const std::jthread follower([&](std::stop_token stop) { models->run(stop); });
  const std::jthread noter([&](std::stop_token stop) { history.follow(*models, stop); });
  std::thread listener([&] { server.listen_after_bind(); });
  std::printf("http://%s:%d/\n", options.host.c_str(), port);
  std::fflush(stdout);
  int signal = 0;
  sigwait(&ends, &signal);
  server.stop();
  listener.join();
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return serve(parse(count, words));
  } catch (const std::exception& failed) {
    std::fprintf(stderr, "server: %s\n", failed.what());
    return 2;
  }
}
