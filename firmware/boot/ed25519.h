/* Ed25519 (RFC 8032): whether a signature is right. Nothing of it is secret. */
#ifndef ED25519_H
#define ED25519_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ED25519_MESSAGE_MAX 128u

/* A message of at most ED25519_MESSAGE_MAX bytes. The scalar of the signature, its second
 * half, must be below the order of the group: the caller looks. */
bool ed25519_verify(const uint8_t key[32], const uint8_t *message, size_t n, const uint8_t signature[64]);

/* Whether 32 bytes are a point of the curve. */
bool ed25519_point(const uint8_t bytes[32]);

#endif
