#include "CTestSupport.h"

#include <signal.h>
#include <stddef.h>

static void nothing(int number) { (void)number; }

__attribute__((constructor)) static void catch_broken_pipes(void) {
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    (void)sigaction(SIGPIPE, &action, NULL);
}
