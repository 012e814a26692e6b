#include "CLinux.h"

static int argument_count;
static char **argument_values;
static int64_t start_nanoseconds;

/* glibc passes main's arguments to constructors. This runs before any Swift, so its clock reading is the program's start. */
__attribute__((constructor)) static void save(int count, char **values) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    start_nanoseconds = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    argument_count = count;
    argument_values = values;
}

const char *clinux_argument(int index) {
    return index >= 0 && index < argument_count ? argument_values[index] : NULL;
}

const char *clinux_environment(int index) {
    if (index < 0 || environ == NULL) return NULL;
    for (int at = 0; environ[at] != NULL; at++)
        if (at == index) return environ[at];
    return NULL;
}

int64_t clinux_start_nanoseconds(void) { return start_nanoseconds; }
