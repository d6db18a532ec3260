/* cuBLAS and cuBLASLt. Their headers need C++ and a library that PyTorch does not bring. */
#include "null.h"

#include <string.h>

int cublasCreate_v2(void **handle) { return make_handle(handle); }

int cublasSetStream_v2(struct handle *handle, cudaStream_t stream) {
    handle->stream = stream;
    return 0;
}

int cublasGetMathMode(struct handle *handle, int *mode) { return *mode = 0; }

int cublasGetPointerMode_v2(struct handle *handle, int *mode) { return *mode = 0; }

/* Whatever the further arguments are, the handle comes first. */
#define PRODUCT(name)                   \
    int name(struct handle *handle) {   \
        launch(#name, handle->stream);  \
        return 0;                       \
    }
PRODUCT(cublasGemmEx)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemm_v2)
PRODUCT(cublasSgemmEx)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasSgemv_v2)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasSdot_v2)
PRODUCT(cublasDotEx)

/* --- cuBLASLt ----------------------------------------------------------------------------- */

size_t cublasLtGetVersion(void) { return 130000; }

int cublasLtMatmulDescCreate(void **made) { return make_handle(made); }

int cublasLtMatrixLayoutCreate(void **made) { return make_handle(made); }

int cublasLtMatmulPreferenceCreate(void **made) { return make_handle(made); }

/* The one algorithm that is found: all zeros, no workspace. */
enum { RESULT_BYTES = 96 };

int cublasLtMatmulAlgoGetHeuristic(void *handle, void *product, void *a, void *b, void *c, void *d,
                                   void *preference, int wanted, char *results, int *found) {
    memset(results, 0, RESULT_BYTES);
    *found = 1;
    return 0;
}

int cublasLtMatmul(void *handle, void *product, const void *alpha, const void *a, void *layout_a,
                   const void *b, void *layout_b, const void *beta, const void *c, void *layout_c,
                   void *d, void *layout_d, const void *algorithm, void *workspace, size_t size,
                   cudaStream_t stream) {
    launch("cublasLtMatmul", stream);
    return 0;
}
