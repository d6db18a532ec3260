/* Counters by kind and name, read from Python, and the hook that is called at every wait. */
#include "null.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

/* More than there are kernels in PyTorch. Names are constants: equal names, equal addresses. */
enum { SLOTS = 1 << 20 };

static struct {
    const char *name;
    enum kind kind;
    long number;
} slots[SLOTS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void (*hook)(const char *name);

void count(enum kind kind, const char *name) {
    pthread_mutex_lock(&lock);
    size_t i = ((uintptr_t)name * 2654435761u + kind) % SLOTS;
    while (slots[i].name && (slots[i].name != name || slots[i].kind != kind)) i = (i + 1) % SLOTS;
    slots[i].name = name;
    slots[i].kind = kind;
    slots[i].number++;
    pthread_mutex_unlock(&lock);
}

/* For Python: start again from zero. */
void null_reset(void) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < SLOTS; i++) slots[i].number = 0;
    pthread_mutex_unlock(&lock);
}

/* For Python: call ``each`` with every count that is not zero. */
void null_counts(void (*each)(int kind, const char *name, long number)) {
    for (size_t i = 0; i < SLOTS; i++)
        if (slots[i].number) each(slots[i].kind, slots[i].name, slots[i].number);
}

/* For Python: have ``wanted`` called at every wait, in the thread that waits; null ends it. */
void null_hook(void (*wanted)(const char *name)) { hook = wanted; }

void null_tell(const char *name) {
    if (hook) hook(name);
}

int make_handle(void **made) {
    *made = calloc(1, sizeof(struct handle));
    return 0;
}
