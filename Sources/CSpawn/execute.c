#include "internal.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Keeps errno: it is asked for after a failure. */
static int exists(const char *path) {
    int error = errno;
    struct stat status;
    int result = stat(path, &status) == 0;
    errno = error;
    return result;
}

/* execvp(3)'s search, in the container's own PATH, with the errors told apart: a file that exists but may not be
 * executed is EACCES (exit code 126) even if later directories lack it (127). */
size_t cspawn_execute(const struct cspawn_process *process) {
    char *const *argv = (char *const *)process->argv;
    char *const *envp = (char *const *)process->envp;
    if (process->path) {
        execve(process->path, argv, envp);
        return errno == ENOENT && exists(process->path);
    }
    const char *name = process->command ? process->command : process->argv[0];
    if (*name == 0) {
        errno = ENOENT;
        return 0;
    }
    if (strchr(name, '/')) {
        execve(name, argv, envp);
        return errno == ENOENT && exists(name);
    }
    size_t name_length = strlen(name);
    int worst = ENOENT;
    const char *directory = process->search_path;
    for (;;) {
        const char *end = strchrnul(directory, ':');
        size_t length = (size_t)(end - directory);
        char path[PATH_MAX];
        if (length + 1 + name_length < sizeof path) {
            /* An empty entry means the working directory. */
            memcpy(path, length ? directory : ".", length ? length : 1);
            size_t at = length ? length : 1;
            path[at] = '/';
            memcpy(path + at + 1, name, name_length + 1);
            struct stat status;
            int is_directory = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
            if (!is_directory) {
                execve(path, argv, envp);
                if (errno != ENOENT && errno != ENOTDIR) {
                    if (errno != EACCES) return 0;
                    worst = EACCES;
                } else if (errno == ENOENT && exists(path)) {
                    return 1;
                }
            }
        }
        if (*end == 0) break;
        directory = end + 1;
    }
    errno = worst;
    return 0;
}
