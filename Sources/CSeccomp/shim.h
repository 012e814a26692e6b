/* The same view of libc as CLinux has: two modules that see its types differently do not go together. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <seccomp.h>
#include <sys/mman.h> /* memfd_create(2): a filter can only be exported into a descriptor */
