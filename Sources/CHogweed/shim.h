/* The same view of libc as CLinux has: two modules that see its types differently do not go together. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <gmp.h>
#include <nettle/asn1.h>
#include <nettle/curve25519.h>
#include <nettle/ecc-curve.h>
#include <nettle/ecc.h>
#include <nettle/ecdsa.h>
#include <nettle/eddsa.h>
#include <nettle/rsa.h>
