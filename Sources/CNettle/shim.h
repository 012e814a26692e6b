/* The same view of libc as CLinux has: two modules that see its types differently do not go together. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <nettle/aes.h>
#include <nettle/base64.h>
#include <nettle/chacha.h>
#include <nettle/ctr.h>
#include <nettle/gcm.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/nettle-meta.h>
#include <nettle/poly1305.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>

/* nettle's tables of functions are global variables, which Swift does not let everyone read; they are constants. */
static inline const struct nettle_aead *cnettle_gcm_aes128(void) { return &nettle_gcm_aes128; }
static inline const struct nettle_aead *cnettle_gcm_aes256(void) { return &nettle_gcm_aes256; }
static inline const struct nettle_cipher *cnettle_aes128(void) { return &nettle_aes128; }
static inline const struct nettle_cipher *cnettle_aes256(void) { return &nettle_aes256; }
