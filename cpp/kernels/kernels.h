// Every kernel's signature on one page. A kernel is what one core does to one block: it never
// throws, allocates, starts threads or checks its arguments. Each ISA file compiles the whole
// registry once; the rest of the library reaches the kernels only through these pointers.
//
// Legend: B batch, T padded time, V table rows (num_embeddings), I input width, H hidden width, G
// gates. Strides are in elements of the type they belong to, unless a name says bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace embedrnn {

// What an index outside [-V, V) means; numpy.take's modes.
enum class IndexMode : std::uint8_t { kRaise, kWrap, kClip };

// The integer dtypes an index array may have, in the order of RowKernels::resolve.
enum class IndexType : std::uint8_t {
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUInt8,
  kUInt16,
  kUInt32,
  kUInt64
};
inline constexpr int kIndexTypes = 8;

// Numbers by their bits: IEEE binary16, and the upper half of binary32.
struct Float16 {
  std::uint16_t bits;
};
struct BFloat16 {
  std::uint16_t bits;
};

// A row of an int8 table: scale and offset (float32), then the codes (int8), none of them aligned.
// A code means scale * code + offset.
struct Int8Row {};
inline constexpr std::ptrdiff_t kInt8RowHeader = 8;

// What rows of S are summed in.
template <class S>
struct SumOf {
  using type = float;
};
template <>
struct SumOf<double> {
  using type = double;
};
template <class S>
using Sum = typename SumOf<S>::type;

// The rules by which optimisers step a parameter. What each keeps of it, and what it is told of a
// step, stands with its equations in optim-inl.h.
enum class OptimRule : std::uint8_t { kSgd, kMomentum, kAdagrad, kRowWiseAdagrad, kAdam, kEnd };
inline constexpr int kOptimRules = static_cast<int>(OptimRule::kEnd);

namespace kernels {

// Turns n indices into row numbers in [0, n_rows). Returns the position of the first index that has
// none, or n; `rows` is then filled up to that position at least.
using ResolveIndices = std::ptrdiff_t (*)(const void* indices,
                                          std::ptrdiff_t n,
                                          std::int64_t n_rows,
                                          IndexMode mode,
                                          std::int64_t* rows) noexcept;

// Returns the position of the first of n indices outside [-n_rows, n_rows), or n.
using FindBadIndex = std::ptrdiff_t (*)(const void* indices,
                                        std::ptrdiff_t n,
                                        std::int64_t n_rows) noexcept;

// out[i] = table[rows[i]] for rows of `cols` elements, of `itemsize` bytes in `out`. All strides in
// bytes. `ahead`, here and below, says how many rows ahead to fetch, 0 if none.
struct GatherBlock {
  const char* table;
  std::ptrdiff_t table_row_stride, table_col_stride;
  std::ptrdiff_t ahead;
  const std::int64_t* rows;  // (n)
  std::ptrdiff_t n, cols, itemsize;
  char* out;  // may not overlap the table
  std::ptrdiff_t out_row_stride, out_col_stride;
  bool past_caches;  // whether the output is better not kept there
};

// target[rows[i]] += updates[positions[i]], i ascending. U is the type each sum is formed in:
// double for a float target gives what NumPy gives for float64 updates.
template <class T, class U>
struct ScatterAddBlock {
  T* target;
  std::ptrdiff_t target_row_stride, target_col_stride;
  std::ptrdiff_t ahead;
  const std::int64_t* rows;       // (n)
  const std::int64_t* positions;  // (n); null: positions[i] = i
  std::ptrdiff_t n, cols;
  const U* updates;  // may not overlap the target
  std::ptrdiff_t update_row_stride, update_col_stride;
};

// The rows of bags [first, last). Bag b holds the items from offsets[b] to offsets[b + 1].
struct BagRows {
  const char* table;
  std::ptrdiff_t table_row_stride;  // in bytes
  std::ptrdiff_t ahead;
  const std::int64_t* rows;     // (items): where in the table
  std::ptrdiff_t items;         // of all bags
  const std::int64_t* offsets;  // (bags + 1)
  std::ptrdiff_t first, last;
  std::ptrdiff_t cols;  // of a row, as many as are taken of it
};

// out[b] = sum of weights[i] * table[rows[i]] over the items of bag b, i rising from zero; divided
// by their number if `mean`. T is the type of the sums; halves are rounded once.
template <class T>
struct BagSumBlock {
  BagRows bags;
  const T* weights;  // (items), or null: ones
  bool mean;
  std::ptrdiff_t first_col, last_col;  // those to sum
  char* out;                           // apart from the table
  std::ptrdiff_t out_row_stride;       // in bytes
  const std::int64_t* out_rows;  // (bags): the sum starts from out[out_rows[b]]; null: out[b] = ...
  // Of a bag that comes in pieces, one call for each: its sums so far, and where to leave them for
  // the next piece: first_col to last_col, apart from each other. Null: the bag begins, or ends, in
  // this call.
  const T* before;
  T* after;
  std::ptrdiff_t items_before;  // of the same bag, in the pieces before
};

// out[b] = the greatest of the items of bag b in each column, NaN if there is one, 0 if it is
// empty.
struct BagMaxBlock {
  BagRows bags;
  char* out;
  std::ptrdiff_t out_row_stride;  // in bytes
  std::int64_t* winners;          // (bags, cols): the item it came from, -1 if none; or null
  bool goes_on;  // from what out and winners hold: of one bag, the pieces before have been seen
};

// out[i] = gradient[b] . table[rows[i]] for each item i of bag b.
template <class T>
struct BagDotBlock {
  BagRows bags;
  const char* gradient;                // (bags, cols) of T
  std::ptrdiff_t gradient_row_stride;  // in bytes
  T* out;                              // (items)
};

// What one rule needs: so many arrays of state, one number for a row or as many as it has columns,
// and so many coefficients of each step.
struct OptimNeeds {
  int states;
  bool row_wise;
  std::ptrdiff_t coefficients;
};
inline constexpr int kMostOptimStates = 2;

// Steps rows of a parameter, each of them once. Nothing here overlaps anything else.
template <class T>
struct OptimBlock {
  char* param;
  std::ptrdiff_t param_row_stride;  // in bytes
  T* states[kMostOptimStates];      // (V, cols), or (V) of a rule that goes by rows
  const std::int64_t* rows;         // (n), distinct; null: first_row + i
  std::int64_t first_row;
  std::ptrdiff_t n, cols, ahead;
  const char* grad;                // of those rows, or null: zero, and this step is a missed one
  std::ptrdiff_t grad_row_stride;  // in bytes
  bool half_grad;                  // whether it is stored as the parameter is, and that in halves
  const T* coefficients;           // (step - first_step + 1, coefficients of the rule)
  std::int64_t first_step, step;   // counted from 1
  // (V): the step that each row was last brought up to; those that it has missed since are made up
  // for, with zero gradients. Null: no step is missed.
  std::int64_t* last;
  bool rests;  // whether such steps change nothing of a row that was never stepped
  // Halves are rounded up or down by chance: by this seed, the step, and the element's number.
  bool by_chance;
  std::uint64_t seed, first_element;  // the number of the first element of row 0
};

// Packed weights: the (G*H, K) matrix as panels. A panel holds the weights of a few vectors of
// outputs for every k in turn: [k][vector][lane]. Vectors are counted unit-vector first, gate
// second, so that the gates of the same units lie side by side and meet in registers. The last
// lanes of a gate are zero where H is not a multiple of the vector width. ops/packing.h writes this
// layout. A panel holds whole units: all gates of one unit-vector, or of several where those are
// few. The kernels have register blocks for panels of three and four vectors.
inline constexpr std::ptrdiff_t kMostGates = 4;
constexpr std::ptrdiff_t panel_vectors(std::ptrdiff_t gates) { return gates == 3 ? 3 : 4; }

// to[c][r] = from[r][c]: the columns of a few rows side by side, as weights are packed.
template <class T>
struct TransposeBlock {
  const T* from;
  std::ptrdiff_t from_stride, rows, cols;
  T* to;  // apart from `from`
  std::ptrdiff_t to_stride;
};

// The unit-vectors that one thread makes, whole panels but at the end of the last.
struct UnitRange {
  std::ptrdiff_t first, end;
  bool descending;  // the panels from the last to the first; no bit depends on it
};

// out[m] = bias + inputs[m] W, for m rows and the vectors of some units.
template <class T>
struct AffineBlock {
  const T* const* inputs;  // m pointers to K elements each
  std::ptrdiff_t m, k, gates, vectors;
  UnitRange units;
  const T* weight;  // packed
  const T* bias;    // (vectors * lanes)
  T* out;           // (m, vectors * lanes)
};

// out[m] = inputs[m], which are such sums with all units of a gate behind those of the gate before.
template <class T>
struct ArrangeBlock {
  const T* const* inputs;  // m pointers to gates * hidden elements each
  std::ptrdiff_t m, gates, hidden;
  UnitRange units;
  T* out;  // (m, vectors * lanes)
};

// out[m] += the parts of inputs[m], one behind the other, times W: what reaches the inputs of a
// product from the gradients of its outputs.
template <class T>
struct AffineBackBlock {
  const T* const* inputs;  // m pointers, from which each part of K elements begins at its start
  std::ptrdiff_t m, k, parts;
  const std::ptrdiff_t* starts;  // (parts)
  UnitRange units;               // of the outputs
  const T* weight;               // packed as of one gate: (outputs, parts * K)
  std::ptrdiff_t outputs;
  T* const* out;  // m pointers to `outputs` elements each
};

// out[p * rows + j] += the sum over all pairs, in their order, of left[pair][starts[p] + j] times
// right[pair]: the gradient of a weight. Strides are from pair to pair.
template <class T>
struct OuterBlock {
  const T* left;
  std::ptrdiff_t left_stride, rows, parts;
  const std::ptrdiff_t* starts;  // (parts)
  const T* right;                // whole vectors
  std::ptrdiff_t right_stride, cols;
  std::ptrdiff_t pairs;
  std::ptrdiff_t first_vector, end_vector;  // the columns to make, whole panels but at the end
  T* out;                                   // (parts * rows, cols)
};
inline constexpr std::ptrdiff_t kOuterPanelVectors = 4;

// out[j] += the sum over all pairs, in their order, of left[pair][j], for n numbers.
template <class T>
struct SumBlock {
  const T* left;
  std::ptrdiff_t left_stride, pairs, n;
  T* out;
};

// One time step of a cell for `rows` rows. A state row is `hidden` rounded up to whole vectors.
template <class T>
struct CellStep {
  std::ptrdiff_t rows, hidden;
  UnitRange units;  // the reset-before GRU takes all of them only
  const T*
      weight_hh;  // packed; the reset-before GRU has two, of r and z and of n, one behind the other
  const T* bias_hh;           // one state row: the recurrent bias of n in the reset-after GRU
  const T* diagonal;          // weights that meet a state unit by unit: [unit-vector][which][lane]
  const T* const* projected;  // rows pointers to gates * state row: the input product and biases
  const T* h_prev;            // (rows, state row)
  T* h_next;                  // (rows, state row), apart from h_prev
  T* c;                       // (rows, state row): the cell state of the LSTM, in place
  T* workspace;               // (2 rows, state row), for the reset-before GRU
  T* const* output;           // rows pointers to `hidden` elements each
  T* const* kept;             // rows pointers to what backward needs, in state rows; or null
};
template <class T>
using StepKernel = void (*)(const CellStep<T>&) noexcept;

// to[row] = to[row] + from[row], or the greater of the two in each unit, NaN if one of them is.
template <class T>
struct PoolBlock {
  std::ptrdiff_t rows, hidden;
  UnitRange units;
  const T* from;  // (rows, state row)
  T* to;          // (rows, state row)
  bool is_max;
};

// The gradients of one time step, but for what passes through its recurrent products. A cell with
// two products has two of these steps; the product of the later one comes between them.
template <class T>
struct CellStepBack {
  std::ptrdiff_t rows, hidden;
  UnitRange units;
  const T* diagonal;     // as of the step
  const T* const* kept;  // as the step left it
  T* const*
      gates;  // rows pointers to the gradients of the pre-activations, in state rows: made here
  T* dh;      // (rows, state row): that of h behind the step; becomes that of h before it
  T* dc;      // (rows, state row): likewise of the cell state of the LSTM
  const T* d_product;  // (rows, state row): what came through the later product, of the second step
};
template <class T>
using StepBackKernel = void (*)(const CellStepBack<T>&) noexcept;

// The recurrent cells. The file of a cell gives its kernels, as KernelsOf (cell-inl.h).
enum class CellKind : std::uint8_t {
  kRnnTanh,
  kRnnRelu,
  kRnnTanhLeaky,
  kRnnReluLeaky,
  kGru,
  kGruResetBefore,
  kLstm,
  kLstmPeephole,
  kEnd
};
inline constexpr int kCellKinds = static_cast<int>(CellKind::kEnd);

template <class T>
struct CellKernels {
  StepKernel<T> step;
  StepBackKernel<T> step_back[2];  // the second null where there is one product
};

template <class T>
using Elementwise = void (*)(const T* x, std::ptrdiff_t n, T* out) noexcept;

struct RowKernels {
  FindBadIndex find_bad[kIndexTypes];
  ResolveIndices resolve[kIndexTypes];
  void (*gather)(const GatherBlock&) noexcept;
  // Halves as float.
  void (*gather_f16)(const GatherBlock&) noexcept;
  void (*gather_bf16)(const GatherBlock&) noexcept;
  // Rows of int8, as float and as halves, to which that is rounded.
  void (*gather_int8)(const GatherBlock&) noexcept;
  void (*gather_int8_f16)(const GatherBlock&) noexcept;
  void (*gather_int8_bf16)(const GatherBlock&) noexcept;
  void (*scatter_add_f32)(const ScatterAddBlock<float, float>&) noexcept;
  void (*scatter_add_f32_f64)(const ScatterAddBlock<float, double>&) noexcept;
  void (*scatter_add_f64)(const ScatterAddBlock<double, double>&) noexcept;
  // Integers, signed ones by their bits: sums wrap alike.
  void (*scatter_add_u8)(const ScatterAddBlock<std::uint8_t, std::uint8_t>&) noexcept;
  void (*scatter_add_u16)(const ScatterAddBlock<std::uint16_t, std::uint16_t>&) noexcept;
  void (*scatter_add_u32)(const ScatterAddBlock<std::uint32_t, std::uint32_t>&) noexcept;
  void (*scatter_add_u64)(const ScatterAddBlock<std::uint64_t, std::uint64_t>&) noexcept;
};

// For a table that stores S, whose sums are formed in T.
template <class T>
struct BagKernels {
  void (*sum)(const BagSumBlock<T>&) noexcept;
  void (*max)(const BagMaxBlock&) noexcept;
  void (*dot)(const BagDotBlock<T>&) noexcept;
};

struct AllBagKernels {
  BagKernels<float> f32;
  BagKernels<double> f64;
  BagKernels<float> f16, bf16, int8;
  // Sums of float added to rows of halves.
  void (*add_to_f16)(const BagSumBlock<float>&) noexcept;
  void (*add_to_bf16)(const BagSumBlock<float>&) noexcept;
};

template <class T>
using OptimKernel = void (*)(const OptimBlock<T>&) noexcept;

// By OptimRule, for a parameter that stores what the name says.
struct OptimKernels {
  OptimNeeds needs[kOptimRules];
  OptimKernel<float> f32[kOptimRules];
  OptimKernel<double> f64[kOptimRules];
  OptimKernel<float> f16[kOptimRules], bf16[kOptimRules];
};

template <class T>
struct RecurrentKernels {
  std::ptrdiff_t lanes;  // elements of a vector
  void (*transpose)(const TransposeBlock<T>&) noexcept;
  void (*affine)(const AffineBlock<T>&) noexcept;
  void (*arrange)(const ArrangeBlock<T>&) noexcept;
  void (*pool)(const PoolBlock<T>&) noexcept;
  void (*affine_back)(const AffineBackBlock<T>&) noexcept;
  void (*outer)(const OuterBlock<T>&) noexcept;
  void (*sum)(const SumBlock<T>&) noexcept;
  CellKernels<T> cells[kCellKinds];  // by CellKind
  Elementwise<T> exp, sigmoid, tanh;
};

struct Registry {
  const char* isa;
  RowKernels rows;
  AllBagKernels bags;
  OptimKernels optim;
  RecurrentKernels<float> f32;
  RecurrentKernels<double> f64;
};

extern const Registry baseline_kernels;
extern const Registry avx2_kernels;
extern const Registry avx512_kernels;
extern const Registry neon_kernels;

}  // namespace kernels
}  // namespace embedrnn
