// What the recurrence is called with.
#pragma once

#include <array>

#include "ops/dims.h"
#include "ops/recurrence/cells.h"

namespace embedrnn::ops {

// Sequences of rows side by side: what row r holds at step t begins at
// data + (row r starts) * row_stride + (step t starts) * step_stride. Strides in elements.
//
// - Padded, (B, T, width) of any strides: nothing but the strides is needed.
// - Ragged, (N, width), one sequence behind the other: row_starts are the offsets.
// - Packed as PyTorch packs, (N, width), one step behind the other: step_starts are the sums of the
//   batch sizes, and the rows are sorted by length.
// - Padded with holes: of those steps of a row that are valid, the one numbered t is at times[t of
//   this row], behind those of the rows before.
struct Starts {
  const std::int64_t* rows = nullptr;      // (B); null: r
  const std::int64_t* steps = nullptr;     // (T); null: t
  const std::int64_t* times = nullptr;     // (N), rising in each row; null: t
  const std::int64_t* times_of = nullptr;  // (B): where those of each row begin

  bool has_padding() const { return rows == nullptr && steps == nullptr; }
  // The time of a valid step by its number.
  std::ptrdiff_t time(std::ptrdiff_t row, std::ptrdiff_t step) const {
    return times != nullptr ? times[times_of[row] + step] : step;
  }
};

template <class T>
struct Sequences {
  T* data = nullptr;
  std::ptrdiff_t col_stride = 0, row_stride = 0, step_stride = 0;
  Starts starts = {};

  T* at_time(std::ptrdiff_t row, std::ptrdiff_t time) const {
    const std::ptrdiff_t r = starts.rows != nullptr ? starts.rows[row] : row;
    const std::ptrdiff_t t = starts.steps != nullptr ? starts.steps[time] : time;
    return data + r * row_stride + t * step_stride;
  }
  // Of a valid step by its number.
  T* at(std::ptrdiff_t row, std::ptrdiff_t step) const {
    return at_time(row, starts.time(row, step));
  }
};

// Rows of a table in the place of x: step t of row r has the one that is listed under
// numbers[starts[r] + t]. Each row is listed once.
enum class Path : std::uint8_t {
  kSteps,     // the rows are inputs, multiplied for each step
  kDistinct,  // they are inputs, and each is multiplied once
  kFrozen,    // they are input products, biases and all: (G*H), gate after gate
};
struct Tokens {
  const char* table = nullptr;
  std::ptrdiff_t row_stride = 0, row_bytes = 0;
  const std::int64_t* rows = nullptr;  // (distinct): where in the table they are
  std::ptrdiff_t distinct = 0;
  const std::int64_t* numbers = nullptr;  // (N)
  const std::int64_t* starts = nullptr;   // (B)
  Path path = Path::kSteps;
  // Puts rows where they are wanted as numbers of the cell's dtype; null: they are read in place.
  void (*read)(const kernels::GatherBlock&) noexcept = nullptr;

  std::int64_t number(std::ptrdiff_t row, std::ptrdiff_t step) const {
    return numbers[starts[row] + step];
  }
  const char* row(std::int64_t number) const { return table + rows[number] * row_stride; }
};

// One vector of each row: of its outputs at valid steps the mean, summed as they are walked, or the
// greatest in each unit, NaN if there is one. 0 where there is no step.
template <class T>
struct Pool {
  T* data = nullptr;  // (B, H); null: not wanted
  std::ptrdiff_t row_stride = 0;
  bool is_max = false;
};

// The states of a batch, (B, H) each, in the order of the cell. No data: zeros.
template <class T>
using States = std::array<MatrixView<T>, kMostStates>;

// The rows of a call, and how each is walked.
struct Batch {
  std::ptrdiff_t rows = 0, time = 0;      // B, T
  const std::int64_t* lengths = nullptr;  // (B), each in [0, T]; null: T for every row
  bool reverse = false;  // from each row's last valid step to its first; outputs stay in time order
  // Not 0 where the state before a step of the walk is the initial one again. No data: nowhere.
  Sequences<const std::uint8_t> resets;
};

template <class T>
struct RunArgs {
  Batch batch;
  Sequences<const T> x;  // of width I; no data where there are tokens
  Tokens tokens;
  States<const T> initial;
  // Of width H, apart from every input; zero at padded steps. No data: only the states are wanted,
  // which may overlap what is read, but not each other.
  Sequences<T> output;
  States<T> last;  // at each row's last step; the initial ones where the length is 0
  Pool<T> pool = {};
  T* tape = nullptr;  // what backward needs, as tape.h lays it out; null: nothing is kept
};

// Tokens on the way back: the rows that they stand for, as they were multiplied, and theirs.
template <class T>
struct TokenGrads {
  const std::int64_t* numbers = nullptr;  // as of Tokens; null: x was there
  const std::int64_t* starts = nullptr;
  std::ptrdiff_t distinct = 0;
  const T* inputs = nullptr;  // (distinct, I)
  T* grad = nullptr;          // (distinct, I), added to
};

// Gradients, of a batch that was walked with a tape. Those of the outputs come in.
template <class T>
struct BackArgs {
  Batch batch;
  const T* tape = nullptr;
  Sequences<const T> grad_output;  // of width H; no data: zeros
  States<const T> grad_last;
  // Of width I, added to at valid steps. No data: not wanted, or there were tokens.
  Sequences<T> grad_x;
  TokenGrads<T> tokens;
  States<T> grad_initial;                              // filled; no data in any: not wanted
  T *grad_weight_ih, *grad_weight_hh;                  // (G*H, I) and (G*H, H), added to
  T *grad_bias_ih = nullptr, *grad_bias_hh = nullptr;  // (G*H), added to; or null
  T* grad_diagonal = nullptr;                          // (D*H), likewise

  bool wants_inputs() const { return grad_x.data != nullptr || tokens.numbers != nullptr; }
  bool wants_initial() const { return grad_initial[0].data != nullptr; }
};

// The weights of a cell of G gates and D diagonals, as the caller has them.
template <class T>
struct CellWeights {
  MatrixView<const T> weight_ih;         // (G*H, I)
  MatrixView<const T> weight_hh;         // (G*H, H)
  VectorView<const T> bias_ih, bias_hh;  // (G*H); no data: zeros
  VectorView<const T> diagonal;          // (D*H)
};

}  // namespace embedrnn::ops
