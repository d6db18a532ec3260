/* A null GPU: CUDA as PyTorch calls it, on a device that computes nothing.
 *
 * The library is put before the CUDA runtime, cuBLAS and cuDNN by LD_PRELOAD, and is the driver
 * (libcuda.so.1) of those who look for one. Whatever has a state that PyTorch reads back is
 * written here by hand: memory, streams, captures, descriptors. Every other symbol that the
 * installed PyTorch needs is a generated stub that succeeds and does nothing.
 */
#ifndef NULL_H
#define NULL_H

#include "count.h"

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>

/* Count work on a stream: launched or captured. */
void launch(const char *name, cudaStream_t stream);

/* Count a wait for all streams and tell Python; refused during a capture, as by CUDA. */
cudaError_t wait_for_device(const char *name);

/* The same for one stream, refused where that one is captured. */
cudaError_t wait_for_stream(const char *name, cudaStream_t stream);

/* A handle that nothing is ever read from but the stream that it was given last. */
struct handle {
    cudaStream_t stream;
};

/* Make a handle where ``made`` points to; the status is success in every library. */
int make_handle(void **made);

#endif
