#ifndef CTESTSUPPORT_H
#define CTESTSUPPORT_H

/*
 * Before main, and so before any test: a write to whatever nobody reads any more fails with EPIPE and does not end the run, as
 * programs have it that ignore SIGPIPE.  It is caught and not ignored, because what a test starts would inherit that.
 */

/*
 * From now on malloc(3) gets small blocks, half a mebibyte of them, without a system call, and large ones, from a mebibyte on, by
 * mmap(2).  In a thread it would otherwise also call mprotect(2), which it never does in a program without threads.
 */
void ctestsupport_reserve_memory(void);

#endif
