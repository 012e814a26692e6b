/* The same view of libc as CLinux has: two modules that see its types differently do not go together. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <nettle/base64.h>
#include <nettle/sha2.h>
