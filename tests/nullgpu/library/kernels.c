/* Kernels: their names, registered when PyTorch's libraries are loaded, and their launches. */
#include "null.h"

#include <stdint.h>
#include <string.h>

/* PyTorch has some 200,000 kernels; a power of two well above. Loading is serial. */
enum { KERNELS = 1 << 20 };
static struct {
    const void *host;
    const char *name;
} kernels[KERNELS];

static size_t slot(const void *host) {
    size_t i = ((uintptr_t)host >> 4) * 2654435761u % KERNELS;
    while (kernels[i].host && kernels[i].host != host) i = (i + 1) % KERNELS;
    return i;
}

static const char *name_of(const void *host) {
    const char *name = kernels[slot(host)].name;
    return name ? name : "unknown kernel";
}

/* --- What compiled CUDA code calls for itself --------------------------------------------- */

void **__cudaRegisterFatBinary(void *binary) {
    static void *handle;
    return &handle;
}

void __cudaRegisterFunction(void **binary, const char *host, char *device, const char *name,
                            int limit, void *thread, void *block, dim3 *size, dim3 *grid,
                            int *warp) {
    size_t i = slot(host);
    kernels[i].host = host;
    kernels[i].name = name;
}

/* A kernel<<<grid, block, shared, stream>>> leaves its configuration here for its own stub. */
static _Thread_local struct {
    dim3 grid, block;
    size_t shared;
    cudaStream_t stream;
} pushed;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, cudaStream_t stream) {
    pushed.grid = grid;
    pushed.block = block;
    pushed.shared = shared;
    pushed.stream = stream;
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
    *grid = pushed.grid;
    *block = pushed.block;
    *shared = pushed.shared;
    *(cudaStream_t *)stream = pushed.stream;
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host) {
    *kernel = (cudaKernel_t)host;
    return cudaSuccess;
}

/* --- Launches ----------------------------------------------------------------------------- */

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments,
                               size_t shared, cudaStream_t stream) {
    launch(name_of(kernel), stream);
    return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void *host, dim3 grid, dim3 block, void **arguments,
                             size_t shared, cudaStream_t stream) {
    launch(name_of(host), stream);
    return cudaSuccess;
}

cudaError_t cudaLaunchCooperativeKernel(const void *host, dim3 grid, dim3 block, void **arguments,
                                        size_t shared, cudaStream_t stream) {
    launch(name_of(host), stream);
    return cudaSuccess;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *configuration, const void *host,
                                void **arguments) {
    launch(name_of(host), configuration->stream);
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *host) {
    memset(attributes, 0, sizeof *attributes);
    attributes->maxThreadsPerBlock = 1024;
    attributes->ptxVersion = attributes->binaryVersion = 90;
    attributes->numRegs = 32;
    attributes->maxDynamicSharedSizeBytes = 48 << 10;
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *host,
                                                                   int threads, size_t shared,
                                                                   unsigned flags) {
    *blocks = 2;
    return cudaSuccess;
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *host,
                                                          int threads, size_t shared) {
    *blocks = 2;
    return cudaSuccess;
}
