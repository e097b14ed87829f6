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
template <class T>
struct Sequences {
  T* data = nullptr;
  std::ptrdiff_t col_stride = 0, row_stride = 0, step_stride = 0;
  const std::int64_t* row_starts = nullptr;   // (B); null: r
  const std::int64_t* step_starts = nullptr;  // (T); null: t

  T* at(std::ptrdiff_t row, std::ptrdiff_t step) const {
    const std::ptrdiff_t r = row_starts != nullptr ? row_starts[row] : row;
    const std::ptrdiff_t t = step_starts != nullptr ? step_starts[step] : step;
    return data + r * row_stride + t * step_stride;
  }
  bool has_padding() const { return row_starts == nullptr && step_starts == nullptr; }
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
  Sequences<const T> x;  // of width I
  States<const T> initial;
  // Of width H, apart from every input; zero at padded steps. No data: only the states are wanted,
  // which may overlap what is read, but not each other.
  Sequences<T> output;
  States<T> last;     // at each row's last step; the initial ones where the length is 0
  T* tape = nullptr;  // what backward needs, as tape.h lays it out; null: nothing is kept
};

// Gradients, of a batch that was walked with a tape. Those of the outputs come in.
template <class T>
struct BackArgs {
  Batch batch;
  const T* tape = nullptr;
  Sequences<const T> grad_output;  // of width H; no data: zeros
  States<const T> grad_last;
  Sequences<T> grad_x;                                 // of width I, added to at valid steps
  States<T> grad_initial;                              // filled
  T *grad_weight_ih, *grad_weight_hh;                  // (G*H, I) and (G*H, H), added to
  T *grad_bias_ih = nullptr, *grad_bias_hh = nullptr;  // (G*H), added to; or null
};

// The weights of a cell of G gates, as the caller has them.
template <class T>
struct CellWeights {
  MatrixView<const T> weight_ih;         // (G*H, I)
  MatrixView<const T> weight_hh;         // (G*H, H)
  VectorView<const T> bias_ih, bias_hh;  // (G*H); no data: zeros
};

}  // namespace embedrnn::ops
