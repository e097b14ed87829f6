// AArch64, where NEON and FMA are always there.
#define EMBEDRNN_ISA_NAME "neon"
#define EMBEDRNN_ISA_REGISTRY neon_kernels
#define EMBEDRNN_VECTOR_BYTES 16
#define EMBEDRNN_VECTOR_REGISTERS 32
#include "registry-inl.h"
