// Asks an embedding server at fixed times, and compares each answer with the checkpoint it names.
//
// usage: load PORT RATE SECONDS ROWS [THREADS] >REQUESTS
//
// Request i is due at i / RATE, whether the ones before it are answered or not (an open loop), and
// its time counts from then: if the server stands still for 100 ms, all requests that are due in
// the meantime show it. Each thread has a connection of its own and takes every THREADSth request.
//
// One line for each request: due and taken time in microseconds (due: of the clock
// CLOCK_MONOTONIC), step of the checkpoint, and "ok", "failed", or "mixed": the numbers are not
// those that the trainer (train.cc) wrote at this step. The last line, on stderr: the share of one
// core that the generator took.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr int kTextsPerRequest = 4;
constexpr int kWordsPerText = 16;

struct Plan {
  int port = 0;
  double rate = 0;
  double seconds = 0;
  std::int64_t rows = 0;
  unsigned threads = 4;
  std::int64_t begin_ns = 0;
};

struct Record {
  std::int64_t due_ns;
  std::int64_t taken_ns;
  std::int64_t step;
  const char* result;
};

std::int64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

// A request, and what column 0 of each answer is less the step, by train.cc and engine.cc.
struct Request {
  std::string text;
  std::vector<double> expected;
};

Request make_request(const Plan& plan, std::uint64_t seed) {
  Request request;
  std::string body = "{\"texts\":[";
  for (int i = 0; i < kTextsPerRequest; ++i) {
    double sum = 0;
    body += i == 0 ? "\"" : ",\"";
    for (int k = 0; k < kWordsPerText; ++k) {
      seed = seed * 6364136223846793005 + 1442695040888963407;
      const std::string word = "w" + std::to_string(seed >> 40);
      std::uint64_t hash = 0xcbf29ce484222325;
      for (const char c : word) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
      sum += static_cast<double>(31 * (hash % static_cast<std::uint64_t>(plan.rows)) % 1024) / 1024;
      body += (k == 0 ? "" : " ") + word;
    }
    body += "\"";
    request.expected.push_back(sum / kWordsPerText);
  }
  body += "]}";
  request.text =
      "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
      "\r\n\r\n" + body;
  return request;
}

class Connection {
 public:
  explicit Connection(int port) : port_(port) {}
  ~Connection() { close(); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The body of the answer; empty: there is none, or its status is not 200.
  std::string_view ask(const std::string& request) {
    if (socket_ < 0 && !open()) return {};
    if (::send(socket_, request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size()))
      return fail();
    answer_.clear();
    std::size_t wanted = std::string::npos;
    std::size_t head = std::string::npos;
    while (answer_.size() < wanted) {
      char piece[16384];
      const ssize_t size = recv(socket_, piece, sizeof piece, 0);
      if (size <= 0) return fail();
      answer_.append(piece, static_cast<std::size_t>(size));
      if (head != std::string::npos || (head = answer_.find("\r\n\r\n")) == std::string::npos)
        continue;
      const auto at = answer_.find("Content-Length: ");
      if (at > head || !answer_.starts_with("HTTP/1.1 200")) return fail();
      wanted = head + 4 + std::strtoul(answer_.c_str() + at + 16, nullptr, 10);
    }
    return std::string_view(answer_).substr(head + 4);
  }

 private:
  bool open() {
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const int on = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return true;
    close();
    return false;
  }
  std::string_view fail() {
    close();
    return {};
  }
  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

  const int port_;
  int socket_ = -1;
  std::string answer_;
};

// {"model":{…"prefix":"saved/model-12"},"embeddings":[[…],[…]]}
const char* judge(std::string_view answer, const Request& request, std::int64_t& step) {
  const auto end_of_prefix = answer.find("\"},\"embeddings\":[");
  if (end_of_prefix == std::string_view::npos) return "failed";
  const std::string_view prefix = answer.substr(0, end_of_prefix);
  std::from_chars(prefix.data() + prefix.rfind('-') + 1, prefix.data() + prefix.size(), step);
  std::string_view rest = answer.substr(end_of_prefix + 17);
  for (const double expected : request.expected) {
    if (!rest.starts_with('[')) return "mixed";
    const auto end = rest.find(']');
    std::string_view numbers = rest.substr(1, end - 1);
    for (std::int64_t column = 0; !numbers.empty(); ++column) {
      double value = 0;
      const char* const after =
          std::from_chars(numbers.data(), numbers.data() + numbers.size(), value).ptr;
      numbers.remove_prefix(static_cast<std::size_t>(after - numbers.data()));
      if (numbers.starts_with(',')) numbers.remove_prefix(1);
      // Other columns wrap at 1024, each in its own row: they lie between step and step + 1.
      const double wanted = static_cast<double>(step) + (column == 0 ? expected : 0.5);
      if (std::abs(value - wanted) > (column == 0 ? 0.002 : 0.501)) return "mixed";
    }
    rest.remove_prefix(std::min(rest.size(), end + 2));
  }
  return "ok";
}

void wait_until(std::int64_t time_ns) {
  const timespec until{.tv_sec = time_ns / 1'000'000'000, .tv_nsec = time_ns % 1'000'000'000};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) {
  }
}

void work(const Plan& plan, unsigned number, std::vector<Record>& records) {
  prctl(PR_SET_TIMERSLACK, 1);
  std::vector<Request> requests;
  for (std::uint64_t i = 0; i < 64; ++i) requests.push_back(make_request(plan, number * 64 + i));
  Connection connection(plan.port);
  const auto count = static_cast<std::int64_t>(plan.rate * plan.seconds);
  for (std::int64_t i = number; i < count; i += plan.threads) {
    const std::int64_t due = plan.begin_ns + static_cast<std::int64_t>(double(i) / plan.rate * 1e9);
    wait_until(due);
    const Request& request = requests[static_cast<std::size_t>(i) % requests.size()];
    const std::string_view answer = connection.ask(request.text);
    Record record{due, now_ns() - due, 0, "failed"};
    record.result = judge(answer, request, record.step);
    records.push_back(record);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: load PORT RATE SECONDS ROWS [THREADS] >REQUESTS\n");
    return 2;
  }
  Plan plan{std::atoi(argv[1]), std::atof(argv[2]), std::atof(argv[3]), std::atoll(argv[4])};
  if (argc > 5) plan.threads = static_cast<unsigned>(std::atoi(argv[5]));
  plan.begin_ns = now_ns() + 50'000'000;
  std::vector<std::vector<Record>> records(plan.threads);
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < plan.threads; ++i)
      threads.emplace_back([&, i] { work(plan, i, records[i]); });
  }
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const double core = double(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                      double(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
  for (const auto& part : records)
    for (const Record& each : part)
      std::printf("%.1f %.1f %lld %s\n", double(each.due_ns) / 1e3, double(each.taken_ns) / 1e3,
                  static_cast<long long>(each.step), each.result);
  std::fprintf(stderr, "%.3f\n", core / (double(now_ns() - plan.begin_ns) / 1e9));
}
