/* What is counted; without CUDA's headers, for the generated stubs. */
#ifndef COUNT_H
#define COUNT_H

/* In the order of device.py's Kind. */
enum kind {
    LAUNCH,   /* work handed to the device by the host: a kernel, a product, a convolution */
    CAPTURED, /* the same while a stream is captured: done by a graph, later */
    ASTRAY,   /* a launch beside a capture in progress, on a stream that is not captured */
    GRAPH,    /* a graph, launched as a whole */
    COPY,     /* a copy or a fill */
    WAIT,     /* the host waits for the device */
    IDLE,     /* a call of a function that does nothing here */
};

void count(enum kind kind, const char *name);

#endif
