/* The device: one H100 (compute capability 9.0, 132 multiprocessors, 80 GB). */
#include "null.h"

#include <stdio.h>
#include <string.h>

static const struct {
    enum cudaDeviceAttr attribute;
    int value;
} attributes[] = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxBlockDimX, 1024},
    {cudaDevAttrMaxBlockDimY, 1024},
    {cudaDevAttrMaxBlockDimZ, 64},
    {cudaDevAttrMaxGridDimX, 2147483647},
    {cudaDevAttrMaxGridDimY, 65535},
    {cudaDevAttrMaxGridDimZ, 65535},
    {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrMaxRegistersPerBlock, 65536},
    {cudaDevAttrMultiProcessorCount, 132},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
    {cudaDevAttrComputeCapabilityMajor, 9},
    {cudaDevAttrComputeCapabilityMinor, 0},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 228 << 10},
    {cudaDevAttrMaxRegistersPerMultiprocessor, 65536},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, 227 << 10},
    {cudaDevAttrMaxBlocksPerMultiprocessor, 32},
};

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    *value = 0;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (attributes[i].attribute == attribute) *value = attributes[i].value;
    return cudaSuccess;
}

static int known(enum cudaDeviceAttr attribute) {
    int value;
    cudaDeviceGetAttribute(&value, attribute, 0);
    return value;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int device) {
    size_t available;
    memset(p, 0, sizeof *p);
    strcpy(p->name, "Null H100");
    cudaMemGetInfo(&available, &p->totalGlobalMem);
    p->major = known(cudaDevAttrComputeCapabilityMajor);
    p->minor = known(cudaDevAttrComputeCapabilityMinor);
    p->multiProcessorCount = known(cudaDevAttrMultiProcessorCount);
    p->maxBlocksPerMultiProcessor = known(cudaDevAttrMaxBlocksPerMultiprocessor);
    p->maxThreadsPerMultiProcessor = known(cudaDevAttrMaxThreadsPerMultiProcessor);
    p->maxThreadsPerBlock = known(cudaDevAttrMaxThreadsPerBlock);
    for (int i = 0; i < 3; i++) {
        p->maxThreadsDim[i] = known(cudaDevAttrMaxBlockDimX + i);
        p->maxGridSize[i] = known(cudaDevAttrMaxGridDimX + i);
    }
    p->warpSize = known(cudaDevAttrWarpSize);
    p->regsPerBlock = known(cudaDevAttrMaxRegistersPerBlock);
    p->regsPerMultiprocessor = known(cudaDevAttrMaxRegistersPerMultiprocessor);
    p->sharedMemPerBlock = known(cudaDevAttrMaxSharedMemoryPerBlock);
    p->sharedMemPerBlockOptin = known(cudaDevAttrMaxSharedMemoryPerBlockOptin);
    p->sharedMemPerMultiprocessor = known(cudaDevAttrMaxSharedMemoryPerMultiprocessor);
    p->l2CacheSize = 50 << 20;
    p->textureAlignment = 512;
    p->totalConstMem = 64 << 10;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int *number) {
    *number = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int *can, int device, int peer) {
    *can = 0;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *id, int size, int device) {
    snprintf(id, size, "0000:01:00.0");
    return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    return cudaSuccess;
}

/* Exactly the version whose headers this is compiled with. */
cudaError_t cudaDriverGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int *version) { return cudaDriverGetVersion(version); }

const char *cudaGetErrorName(cudaError_t error) {
    return error == cudaErrorStreamCaptureUnsupported ? "cudaErrorStreamCaptureUnsupported"
           : error == cudaErrorMemoryAllocation       ? "cudaErrorMemoryAllocation"
                                                      : "an error of the null GPU";
}

const char *cudaGetErrorString(cudaError_t error) {
    return error == cudaErrorStreamCaptureUnsupported
               ? "operation not permitted when stream is capturing"
           : error == cudaErrorMemoryAllocation ? "out of memory"
                                                : "an error of the null GPU";
}
