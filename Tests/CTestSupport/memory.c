#include "CTestSupport.h"

#include <malloc.h>
#include <stdlib.h>

void ctestsupport_reserve_memory(void) {
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 64 << 20);
    void *volatile block = malloc(512 << 10);
    free(block);
}
