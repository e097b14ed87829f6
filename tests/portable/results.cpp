// Prints the bits of results of every operation for the ISA named on the command line. Processors
// with FMA print the same lines: each output is one chain of sums in one order, whatever the width
// of a vector.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "ops/gather.h"
#include "ops/recurrence/packed_cell.h"
#include "ops/scatter.h"
#include "runtime/isa.h"

namespace {

using namespace embedrnn;

// Numbers in [-1, 1) that are the same everywhere; any generator would do.
template <class T>
std::vector<T> numbers(std::ptrdiff_t n, std::uint32_t seed) {
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<T>(static_cast<double>(seed) / 2147483648.0 - 1.0);
  }
  return values;
}

// FNV-1a.
template <class T>
std::uint64_t hash(const std::vector<T>& values) {
  std::uint64_t h = 0xcbf29ce484222325U;
  std::vector<unsigned char> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  for (const unsigned char byte : bytes) h = (h ^ byte) * 0x100000001b3U;
  return h;
}

template <class T>
void print_cells(const char* dtype,
                 std::ptrdiff_t batch,
                 std::ptrdiff_t width,
                 std::ptrdiff_t hidden,
                 bool reverse) {
  constexpr std::ptrdiff_t kTime = 9;
  const std::ptrdiff_t rows_at_most = kernels::kMostGates * hidden;
  const auto x = numbers<T>(batch * kTime * width, 1), w_ih = numbers<T>(rows_at_most * width, 2);
  const auto w_hh = numbers<T>(rows_at_most * hidden, 3), bias = numbers<T>(rows_at_most, 4);
  std::vector<std::int64_t> lengths;
  for (std::ptrdiff_t b = 0; b < batch; ++b) lengths.push_back(b * 5 % (kTime + 1));
  for (const ops::Cell& cell : ops::cells()) {
    std::vector<T> output(static_cast<std::size_t>(batch * kTime * hidden));
    std::vector<T> h_n(static_cast<std::size_t>(batch * hidden)), c_n(h_n.size());
    ops::RunArgs<T> args{
        .batch = {.rows = batch,
                  .time = kTime,
                  .lengths = lengths.data(),
                  .reverse = reverse,
                  .resets = {}},
        .x = {.data = x.data(), .col_stride = 1, .row_stride = kTime * width, .step_stride = width},
        .tokens = {},
        .initial = {},
        .output = {.data = output.data(),
                   .col_stride = 1,
                   .row_stride = kTime * hidden,
                   .step_stride = hidden},
        .last = {}};
    args.last[0] = {h_n.data(), batch, hidden, hidden, 1};
    args.last[1] = {c_n.data(), batch, hidden, hidden, 1};
    const std::ptrdiff_t rows = cell.gates * hidden;
    const ops::CellWeights<T> weights{.weight_ih = {w_ih.data(), rows, width, width, 1},
                                      .weight_hh = {w_hh.data(), rows, hidden, hidden, 1},
                                      .bias_ih = {bias.data(), 1},
                                      .bias_hh = {bias.data(), 1},
                                      .diagonal = {bias.data(), 1}};
    ops::PackedCell<T>(cell, weights).forward(args);
    std::printf("%.*s %s B %td I %td H %td reverse %d: %016llx %016llx %016llx\n",
                static_cast<int>(cell.name.size()),
                cell.name.data(),
                dtype,
                batch,
                width,
                hidden,
                reverse,
                static_cast<unsigned long long>(hash(output)),
                static_cast<unsigned long long>(hash(h_n)),
                static_cast<unsigned long long>(hash(c_n)));
  }
}

template <class T>
void print_rows(const char* dtype, std::ptrdiff_t cols) {
  constexpr std::ptrdiff_t kRows = 50, kIndices = 1100;
  std::vector<std::int32_t> indices;
  for (const double number : numbers<double>(kIndices, 5))
    indices.push_back(static_cast<std::int32_t>(number * kRows));
  const ops::IndexView view{indices.data(), kIndices, IndexType::kInt32, 4};
  auto table = numbers<T>(kRows * cols, 6);
  std::vector<T> out(static_cast<std::size_t>(kIndices * cols));
  const std::ptrdiff_t item = sizeof(T);
  const std::ptrdiff_t bad = ops::gather({.table = reinterpret_cast<const char*>(table.data()),
                                          .n_rows = kRows,
                                          .cols = cols,
                                          .itemsize = item,
                                          .table_row_stride = cols * item,
                                          .table_col_stride = item,
                                          .indices = view,
                                          .mode = IndexMode::kRaise,
                                          .out = reinterpret_cast<char*>(out.data()),
                                          .out_row_stride = cols * item,
                                          .out_col_stride = item});
  const std::ptrdiff_t bad_sum =
      ops::scatter_add(ops::ScatterAddArgs<T, T>{.target = {table.data(), kRows, cols, cols, 1},
                                                 .indices = view,
                                                 .updates = {out.data(), kIndices, cols, cols, 1}});
  std::printf("rows %s D %td: %td %td %016llx %016llx\n",
              dtype,
              cols,
              bad,
              bad_sum,
              static_cast<unsigned long long>(hash(out)),
              static_cast<unsigned long long>(hash(table)));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) runtime::set_isa(argv[1]);
  for (const std::ptrdiff_t cols : {1, 3, 17, 64, 100}) {
    print_rows<float>("float32", cols);
    print_rows<double>("float64", cols);
  }
  for (const bool reverse : {false, true}) {
    for (const std::ptrdiff_t hidden : {1, 19, 64, 130}) {
      print_cells<float>("float32", 11, 23, hidden, reverse);
      print_cells<double>("float64", 11, 23, hidden, reverse);
    }
  }
}
