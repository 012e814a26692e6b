/* Kernel modules and the kernel's log. */
#ifndef CLINUX_MODULES_H
#define CLINUX_MODULES_H

/* finit_module(2) has no libc wrapper.  `compressed` asks the kernel to unpack the file (MODULE_INIT_COMPRESSED_FILE). */
int clinux_finit_module(int fd, const char *parameters, int compressed);

/* The release of the running kernel, as uname(2) gives it, or an empty string: utsname's fields are arrays. */
const char *clinux_kernel_release(void);

#endif
