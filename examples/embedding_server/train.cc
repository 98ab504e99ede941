// Stands for a training process: saves a table of embeddings into a directory, step after step.
//
// usage: train DIRECTORY [ROWS [WIDTH [FIRST_STEP [COUNT [SECONDS]]]]]
//
// The number in row r and column c at a step is step + ((31 r + 17 c) mod 1024) / 1024, so that
// whoever reads an answer can tell which checkpoint it was computed from (load.cc does).

#include <cairn/cairn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <thread>
#include <vector>

namespace {

struct Table {
  std::int64_t rows = 10'000;
  std::int64_t width = 64;
};

cairn::Result<void> write(cairn::Writer& writer, const Table& table, std::int64_t step) {
  constexpr std::int64_t kRowsAtOnce = 4096;
  std::vector<float> block;
  for (std::int64_t row = 0; row < table.rows; ++row) {
    for (std::int64_t column = 0; column < table.width; ++column)
      block.push_back(static_cast<float>(step) +
                      static_cast<float>((31 * row + 17 * column) % 1024) / 1024);
    if (row + 1 != table.rows && (row + 1) % kRowsAtOnce != 0) continue;
    if (auto done = writer.append("embeddings", std::as_bytes(std::span(block))); !done)
      return done;
    block.clear();
  }
  return writer.write("step", std::vector<std::int64_t>{step});
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, double otherwise) {
    return i < argc ? std::atof(argv[i]) : otherwise;
  };
  if (argc < 2) {
    std::fprintf(stderr, "usage: train DIRECTORY [ROWS [WIDTH [FIRST_STEP [COUNT [SECONDS]]]]]\n");
    return 2;
  }
  const Table table{static_cast<std::int64_t>(number(2, 10'000)),
                    static_cast<std::int64_t>(number(3, 64))};
  const auto first = static_cast<std::int64_t>(number(4, 1));
  const auto count = static_cast<std::int64_t>(number(5, 1e9));
  auto saver = cairn::Saver::open(argv[1], {.keep_any_of = {cairn::Retention::newest(3)}});
  if (!saver) {
    std::fprintf(stderr, "train: %s\n", saver.error().what.c_str());
    return 1;
  }
  for (std::int64_t step = first; step < first + count; ++step) {
    if (step != first) std::this_thread::sleep_for(std::chrono::duration<double>(number(6, 10)));
    const auto saved = saver->save(
        "model",
        {{.name = "embeddings", .dtype = cairn::DType::Float32, .shape = {table.rows, table.width}},
         {.name = "step", .dtype = cairn::DType::Int64, .shape = {1}}},
        [&](cairn::Writer& writer) { return write(writer, table, step); }, {.step = step});
    if (!saved) {
      std::fprintf(stderr, "train: %s\n", saved.error().what.c_str());
      return 1;
    }
    std::printf("saved %s\n", saved->prefix.c_str());
    std::fflush(stdout);
  }
}
