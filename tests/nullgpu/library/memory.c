/* Memory: addresses without content on the device, real memory on the host.
 *
 * One range of addresses that can be neither read nor written stands for the device, so that a
 * host that reads device memory crashes, as it would. What is copied from the device is zeros.
 */
#define _GNU_SOURCE
#include "null.h"

#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static const size_t CAPACITY = 80ul << 30;
/* Addresses are used once: far more than a process will ever ask for. */
static const size_t DEVICE = 1ul << 43, PINNED = 1ul << 38, PAGE = 2ul << 20;

enum { BLOCKS = 1 << 16 };
static struct {
    char *start;
    size_t size;
} blocks[BLOCKS];
static char *device, *pinned, *next_device, *next_pinned;
static size_t used;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static char *reserve(size_t size, int access) {
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *start = mmap(NULL, size, access, flags, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

static char *take(char **first, char **next, size_t range, size_t size, int access) {
    if (!*first) *first = *next = reserve(range, access);
    if (!*first || size > (size_t)(*first + range - *next)) return NULL;
    char *start = *next;
    *next += (size + PAGE - 1) / PAGE * PAGE;
    return start;
}

static bool within(const void *p, const char *first, size_t range) {
    return first && (const char *)p >= first && (const char *)p < first + range;
}

static bool on_device(const void *p) { return within(p, device, DEVICE); }

static bool pageable(const void *p) { return !on_device(p) && !within(p, pinned, PINNED); }

cudaError_t cudaMalloc(void **made, size_t size) {
    pthread_mutex_lock(&lock);
    size_t i = 0;
    while (i < BLOCKS && blocks[i].start) i++;
    char *start = NULL;
    if (i < BLOCKS && used + size <= CAPACITY)
        start = take(&device, &next_device, DEVICE, size, PROT_NONE);
    if (start) {
        blocks[i].start = start;
        blocks[i].size = size;
        used += size;
    }
    pthread_mutex_unlock(&lock);
    *made = start;
    return start ? cudaSuccess : cudaErrorMemoryAllocation;
}

/* Freeing waits for whatever still uses the memory. */
cudaError_t cudaFree(void *start) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < BLOCKS && start; i++)
        if (blocks[i].start == start) {
            used -= blocks[i].size;
            blocks[i].start = NULL;
        }
    pthread_mutex_unlock(&lock);
    return start ? wait_for_device("cudaFree") : cudaSuccess;
}

cudaError_t cudaHostAlloc(void **made, size_t size, unsigned flags) {
    pthread_mutex_lock(&lock);
    *made = take(&pinned, &next_pinned, PINNED, size, PROT_READ | PROT_WRITE);
    pthread_mutex_unlock(&lock);
    return *made ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total) {
    *total = CAPACITY;
    *available = CAPACITY - used;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *p) {
    memset(attributes, 0, sizeof *attributes);
    attributes->type = on_device(p)  ? cudaMemoryTypeDevice
                       : pageable(p) ? cudaMemoryTypeUnregistered
                                     : cudaMemoryTypeHost;
    return cudaSuccess;
}

/* --- Copies ------------------------------------------------------------------------------- */

static void copy(void *to, const void *from, size_t size) {
    count(COPY, on_device(to) ? on_device(from) ? "within the device" : "to the device"
                              : "from the device");
    if (on_device(to)) return;
    if (on_device(from))
        memset(to, 0, size);
    else
        memcpy(to, from, size);
}

/* A copy between the device and pageable memory waits, even where it is asked not to. */
static cudaError_t copy_in_order(void *to, const void *from, size_t size, cudaStream_t stream) {
    copy(to, from, size);
    bool waits = pageable(to) || pageable(from);
    return waits ? wait_for_stream("copy of pageable memory", stream) : cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t size, enum cudaMemcpyKind kind) {
    copy(to, from, size);
    return wait_for_device("cudaMemcpy");
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t size, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return copy_in_order(to, from, size, stream);
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream) {
    for (size_t row = 1; row < height; row++)
        copy((char *)to + row * to_pitch, (const char *)from + row * from_pitch, width);
    return copy_in_order(to, from, width, stream);
}

cudaError_t cudaMemset(void *to, int value, size_t size) {
    count(COPY, "fill");
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t size, cudaStream_t stream) {
    return cudaMemset(to, value, size);
}

cudaError_t cudaGetSymbolAddress(void **address, const void *symbol) {
    return cudaMalloc(address, PAGE);
}
