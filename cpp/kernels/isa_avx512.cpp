// x86-64-v4: AVX-512 F, BW, CD, DQ, VL.
#define EMBEDRNN_ISA_NAME "avx512"
#define EMBEDRNN_ISA_REGISTRY avx512_kernels
#define EMBEDRNN_VECTOR_BYTES 64
#define EMBEDRNN_VECTOR_REGISTERS 32
#include "registry-inl.h"
