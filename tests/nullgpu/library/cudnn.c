/* cuDNN: one engine for every problem, without workspace; which real ones exist is not known. */
#include "null.h"

#include <cudnn.h>
#include <string.h>

static const cudnnStatus_t OK = CUDNN_STATUS_SUCCESS;

size_t cudnnGetVersion(void) { return CUDNN_VERSION; }

size_t cudnnGetCudartVersion(void) { return CUDART_VERSION; }

const char *cudnnGetErrorString(cudnnStatus_t status) { return "an error of the null GPU"; }

void cudnnGetLastErrorString(char *text, size_t size) {
    if (size) *text = 0;
}

cudnnStatus_t cudnnGetProperty(libraryPropertyType type, int *value) {
    *value = type == MAJOR_VERSION   ? CUDNN_MAJOR
             : type == MINOR_VERSION ? CUDNN_MINOR
                                     : CUDNN_PATCHLEVEL;
    return OK;
}

static cudnnStatus_t make(void *made) {
    make_handle(made);
    return OK;
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *made) { return make(made); }

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t *made) { return make(made); }

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    ((struct handle *)handle)->stream = stream;
    return OK;
}

cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t *stream) {
    *stream = ((struct handle *)handle)->stream;
    return OK;
}

static cudnnStatus_t work(const char *name, cudnnHandle_t handle) {
    launch(name, ((struct handle *)handle)->stream);
    return OK;
}

/* --- Graphs of operations, which convolutions are ----------------------------------------- */

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *made) {
    return make(made);
}

/* One engine is found, with the index 0 and no workspace; no other list has an element. */
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted,
                                       int64_t *found, void *elements) {
    bool index = name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX;
    bool one = index || name == CUDNN_ATTR_ENGINEHEUR_RESULTS || name == CUDNN_ATTR_ENGINECFG_ENGINE;
    if (found) *found = one;
    if (elements && wanted == 1 && (index || name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))
        memset(elements, 0, sizeof(int64_t));
    return OK;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pointers) {
    return work("cudnnBackendExecute", handle);
}
