// Input products as a table keeps them: one gate behind the other, without the lanes that fill up
// vectors.
#include "ops/recurrence/packed_cell.h"
#include "runtime/pool.h"

namespace embedrnn::ops {
namespace {

// From the order that the kernels have.
template <class T>
void unpack_products(const Packing& packing, const T* packed, T* out) {
  for (std::ptrdiff_t v = 0; v < packing.vectors(); ++v)
    std::copy_n(packed + v * packing.lanes(), packing.rows(v), out + packing.first_row(v));
}

}  // namespace

template <class T>
void PackedCell<T>::project(const MatrixView<const T>& x, T* out) const {
  const std::ptrdiff_t outputs = cell_->gates * hidden_, width = packing_.width();
  const std::ptrdiff_t chunks = (x.rows + kDistinctRows - 1) / kDistinctRows;
  const runtime::Scratch scratch(runtime::scratch_bytes<T>(chunks, kDistinctRows * width));
  runtime::parallel_for(chunks, [&](std::int64_t chunk) {
    const std::ptrdiff_t first = chunk * kDistinctRows;
    const std::ptrdiff_t n = std::min(kDistinctRows, x.rows - first);
    const T* rows[kDistinctRows];
    for (std::ptrdiff_t i = 0; i < n; ++i) rows[i] = x.data + (first + i) * x.row_stride;
    T* const products = reinterpret_cast<T*>(scratch.data()) + first * width;
    const std::ptrdiff_t calls = calls_of_product(n, inputs_, width);
    for (std::ptrdiff_t call = 0; call < calls; ++call) {
      if (call > 0) runtime::checkpoint();
      multiply(rows, n, packing_.units(call, calls), products);
    }
    for (std::ptrdiff_t i = 0; i < n; ++i)
      unpack_products(packing_, products + i * width, out + (first + i) * outputs);
    runtime::checkpoint();
  });
}

template void PackedCell<float>::project(const MatrixView<const float>&, float*) const;
template void PackedCell<double>::project(const MatrixView<const double>&, double*) const;

}  // namespace embedrnn::ops
