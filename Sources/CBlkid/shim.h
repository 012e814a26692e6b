/* As CLinux: two modules that see libc's headers with different macros define its types differently. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <blkid/blkid.h>
