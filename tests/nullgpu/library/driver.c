/* The driver, as PyTorch's and Triton's compiled code and their run-time compilers call it. */
#define _GNU_SOURCE
#include "null.h"

#include <cuda.h>
#include <dlfcn.h>

CUresult cuDriverGetVersion(int *version) {
    *version = CUDA_VERSION;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    *device = 0;
    return CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int *number) {
    *number = 1;
    return CUDA_SUCCESS;
}

/* Attributes have the numbers that they have in the runtime. */
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
    cudaDeviceGetAttribute(value, (enum cudaDeviceAttr)attribute, device);
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned *flags, int *active) {
    *flags = 0;
    *active = 1;
    return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    static char only;
    *context = (CUcontext)&only;
    return CUDA_SUCCESS;
}

CUresult cuCtxGetCurrent(CUcontext *context) { return cuDevicePrimaryCtxRetain(context, 0); }

CUresult cuGetErrorString(CUresult error, const char **text) {
    *text = "an error of the null GPU";
    return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute attribute, CUdeviceptr p) {
    *(CUdeviceptr *)value = p;
    return CUDA_SUCCESS;
}

/* --- Compiled kernels --------------------------------------------------------------------- */

CUresult cuModuleLoadData(CUmodule *module, const void *image) {
    return make_handle((void **)module);
}

CUresult cuModuleLoad(CUmodule *module, const char *path) { return make_handle((void **)module); }

CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
    return make_handle((void **)function);
}

CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
    *value = attribute == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024
             : attribute == CU_FUNC_ATTRIBUTE_NUM_REGS            ? 32
                                                                  : 0;
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function, int threads,
                                                     size_t shared) {
    *blocks = 2;
    return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveClusters(int *clusters, CUfunction function,
                                      const CUlaunchConfig *configuration) {
    *clusters = 16;
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                        unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                        CUstream stream, void **arguments, void **extra) {
    launch("compiled kernel", stream);
    return CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *configuration, CUfunction function,
                          void **arguments, void **extra) {
    launch("compiled kernel", configuration->hStream);
    return CUDA_SUCCESS;
}

/* --- Entry points by name ----------------------------------------------------------------- */

/* PyTorch asks for many that it never calls: they are refused when they are called. */
static CUresult refuse(void) { return CUDA_ERROR_NOT_SUPPORTED; }

cudaError_t cudaGetDriverEntryPointByVersion(const char *symbol, void **function, unsigned version,
                                             unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *status) {
    *function = dlsym(RTLD_DEFAULT, symbol);
    if (!*function) *function = (void *)refuse;
    if (status) *status = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}
