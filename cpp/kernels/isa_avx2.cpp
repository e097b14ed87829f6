// x86-64-v3: AVX2 and FMA.
#define EMBEDRNN_ISA_NAME "avx2"
#define EMBEDRNN_ISA_REGISTRY avx2_kernels
#define EMBEDRNN_VECTOR_BYTES 32
#define EMBEDRNN_VECTOR_REGISTERS 16
#include "registry-inl.h"
