// How many threads a call may use.
#pragma once

namespace embedrnn::runtime {

// More would be a mistake, and sizes that depend on the number of threads stay small.
inline constexpr int kMostThreads = 1024;

// EMBEDRNN_NUM_THREADS, else OMP_NUM_THREADS, else the CPUs this process may use, the quota of a
// container counted; read at first use. Throws std::invalid_argument if EMBEDRNN_NUM_THREADS is not
// a whole number from 1 to kMostThreads.
int num_threads();
void set_num_threads(int n);

}  // namespace embedrnn::runtime
