/* As CLinux: <zlib.h> brings in libc types (fd_set) whose members depend on this, and two modules must not disagree. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <zlib.h>
