// The walk over time that every recurrent cell shares: lengths, row order, threads, scratch and the
// input product. A cell is its packed weights and the kernel of one step.
#pragma once

#include "ops/dims.h"
#include "ops/packing.h"
#include "runtime/scratch.h"

namespace embedrnn::ops {

// About 80 us of arithmetic: less is not worth a second thread.
inline constexpr double kFlopsPerThread = 8e6;
// Rows that keep the arithmetic of a thread busy while it reads the weights of a step. With fewer
// the reading is what takes time, and threads that share it gain more than threads with rows apart.
inline constexpr std::ptrdiff_t kRowsPerThread = 3;

template <class T>
struct RecurrenceArgs {
  SequenceView<const T> x;                // (B, T, I)
  const std::int64_t* lengths = nullptr;  // (B), each in [0, T]; null: T for every row
  bool reverse = false;  // from each row's last valid step to its first; outputs stay in time order
  MatrixView<const T> h_0, c_0;  // (B, H); no data: zeros
  SequenceView<T> output;        // (B, T, H), apart from every input; zero at padded steps
  MatrixView<T> h_n, c_n;  // (B, H): the state at each row's last step, h_0 where the length is 0;
                           // c_n has no data but for the LSTM
};

// One time step of every row.
template <class T>
struct StepArgs {
  MatrixView<const T> x;     // (B, I)
  MatrixView<const T> h, c;  // (B, H): the state before; c has no data but for the LSTM
  MatrixView<T> h_out;       // (B, H): the state behind, which is the output
  MatrixView<T> c_out;       // (B, H), apart from h_out; both may overlap what is read
};

// The weights of a cell of G gates, as the caller has them.
template <class T>
struct CellWeights {
  MatrixView<const T> weight_ih;         // (G*H, I)
  MatrixView<const T> weight_hh;         // (G*H, H)
  VectorView<const T> bias_ih, bias_hh;  // (G*H); no data: zeros
};

// A cell with its packed weights, ready to walk.
template <class T>
struct Cell {
  Packing packing;  // of the input weights
  void (*affine)(const kernels::AffineBlock<T>&) noexcept = nullptr;
  kernels::StepKernel<T> step = nullptr;
  const T* weight_ih = nullptr;  // packed
  const T* weight_hh = nullptr;  // packed, as kernels::CellStep has it
  const T* bias = nullptr;       // packed: what is added to the input product
  const T* bias_hh = nullptr;    // packed: as kernels::CellStep has it
  bool needs_scratch = false;    // kernels::CellStep::scratch
};

// Runs the cell over all rows. Allocates once, before the first write.
template <class T>
void run_recurrence(const RecurrenceArgs<T>& args, const Cell<T>& cell);

// Runs the cell for one step, with the bits that the step has in a walk. `scratch` keeps its memory
// for the next.
template <class T>
void run_step(const StepArgs<T>& args, const Cell<T>& cell, runtime::KeptScratch& scratch);

}  // namespace embedrnn::ops
