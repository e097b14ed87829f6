// Any x86-64: SSE2, no FMA.
#define EMBEDRNN_ISA_NAME "baseline"
#define EMBEDRNN_ISA_REGISTRY baseline_kernels
#define EMBEDRNN_VECTOR_BYTES 16
#define EMBEDRNN_VECTOR_REGISTERS 16
#include "registry-inl.h"
