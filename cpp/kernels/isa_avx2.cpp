// x86-64-v3: AVX2 and FMA.
#define EMBEDRNN_ISA_NAME "avx2"
#define EMBEDRNN_ISA_TABLE avx2_table
#define EMBEDRNN_VECTOR_BYTES 32
#define EMBEDRNN_VECTOR_REGISTERS 16
#include "table-inl.h"
