/* Streams, events, waits, and the capture of streams as graphs. */
#include "null.h"

#include <stdatomic.h>
#include <stdlib.h>

void null_tell(const char *name);

/* A capture, and the graph that it becomes. Never freed: streams and events point to it. */
struct CUgraph_st {
    unsigned long long id;
    atomic_bool active;
    cudaStream_t origin;
    atomic_size_t launches;
};

struct CUstream_st {
    int priority;
    struct CUgraph_st *capture;
};

struct CUevent_st {
    struct CUgraph_st *capture;
};

static struct CUstream_st ordinary; /* the default stream */
static atomic_int captures;         /* captures in progress */
/* PyTorch relaxes it for work that it does on purpose beside a capture. */
static _Thread_local enum cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

static struct CUstream_st *at(cudaStream_t stream) {
    return !stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread ? &ordinary
                                                                                 : stream;
}

/* Return the capture that a stream takes part in, or null. */
static struct CUgraph_st *capture_of(cudaStream_t stream) {
    struct CUgraph_st *capture = at(stream)->capture;
    return capture && capture->active ? capture : NULL;
}

void launch(const char *name, cudaStream_t stream) {
    struct CUgraph_st *capture = capture_of(stream);
    if (capture) capture->launches++;
    bool astray = captures && thread_mode != cudaStreamCaptureModeRelaxed;
    count(capture ? CAPTURED : astray ? ASTRAY : LAUNCH, name);
}

static cudaError_t wait(const char *name, bool refused) {
    count(WAIT, name);
    null_tell(name);
    return refused ? cudaErrorStreamCaptureUnsupported : cudaSuccess;
}

cudaError_t wait_for_device(const char *name) { return wait(name, captures > 0); }

cudaError_t wait_for_stream(const char *name, cudaStream_t stream) {
    return wait(name, capture_of(stream) != NULL);
}

/* --- Streams ------------------------------------------------------------------------------ */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *made, unsigned flags, int priority) {
    *made = calloc(1, sizeof **made);
    (*made)->priority = priority;
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *made) {
    return cudaStreamCreateWithPriority(made, 0, 0);
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int *priority) {
    *priority = at(stream)->priority;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return wait_for_stream("cudaStreamSynchronize", stream);
}

cudaError_t cudaDeviceSynchronize(void) { return wait_for_device("cudaDeviceSynchronize"); }

/* --- Events ------------------------------------------------------------------------------- */

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *made, unsigned flags) {
    *made = calloc(1, sizeof **made);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *made) { return cudaEventCreateWithFlags(made, 0); }

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    event->capture = capture_of(stream);
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
    return cudaEventRecord(event, stream);
}

/* A stream that waits for a captured event joins the capture. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
    if (event->capture && event->capture->active) at(stream)->capture = event->capture;
    return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    bool captured = event->capture && event->capture->active;
    return captured ? cudaErrorCapturedEvent : cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return wait("cudaEventSynchronize", event->capture && event->capture->active);
}

/* No time passes on the device; one millisecond, so that nobody divides by zero. */
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    *milliseconds = 1;
    return cudaSuccess;
}

/* --- Captures and graphs ------------------------------------------------------------------ */

cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *mode) {
    enum cudaStreamCaptureMode before = thread_mode;
    thread_mode = *mode;
    *mode = before;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode) {
    static atomic_ullong last;
    if (at(stream) == &ordinary) return cudaErrorStreamCaptureUnsupported;
    if (capture_of(stream)) return cudaErrorIllegalState;
    struct CUgraph_st *capture = calloc(1, sizeof *capture);
    capture->id = ++last;
    capture->origin = stream;
    capture->active = true;
    captures++;
    stream->capture = capture;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
    *graph = capture_of(stream);
    if (!*graph) return cudaErrorIllegalState;
    if ((*graph)->origin != stream) return cudaErrorStreamCaptureUnmatched;
    (*graph)->active = false;
    captures--;
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status) {
    *status = capture_of(stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, enum cudaStreamCaptureStatus *status,
                                     unsigned long long *id, cudaGraph_t *graph,
                                     const cudaGraphNode_t **dependencies,
                                     const cudaGraphEdgeData **edges, size_t *number) {
    struct CUgraph_st *capture = capture_of(stream);
    if (capture && id) *id = capture->id;
    if (graph) *graph = capture;
    if (dependencies) *dependencies = NULL;
    if (edges) *edges = NULL;
    if (number) *number = 0;
    return cudaStreamIsCapturing(stream, status);
}

/* PyTorch warns of a graph without nodes. */
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *number) {
    if (nodes)
        for (size_t i = 0; i < *number; i++) nodes[i] = NULL;
    *number = graph->launches;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *made, cudaGraph_t graph,
                                          unsigned long long flags) {
    return make_handle((void **)made);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
    count(GRAPH, "cudaGraphLaunch");
    return cudaSuccess;
}
