#ifndef CSPAWN_INTERNAL_H
#define CSPAWN_INTERNAL_H

#include "CSpawn.h"

/* Reports a failure to the parent and ends the child. */
_Noreturn void cspawn_fail(const struct cspawn_plan *plan, int step, size_t index);

/* Mounts, devices, links, masks; then the new root becomes `/` (root.c). */
void cspawn_make_root(const struct cspawn_plan *plan);

/* Identity, limits, capabilities, descriptors and execve(2) (process.c). Does not return. */
_Noreturn void cspawn_become_process(const struct cspawn_plan *plan);

/* The namespaces' init: reaps until it is killed (hold.c). */
_Noreturn void cspawn_hold_namespaces(const struct cspawn_plan *plan);

/* Opens `path` inside `root`, following links only inside it; makes missing directories (and a last file). */
int cspawn_open_in_root(int root, const char *path);
int cspawn_make_in_root(int root, const char *path, int last_is_file);

#endif
