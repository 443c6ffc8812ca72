/* SHA-256, HMAC-SHA256 and CRC-32. */
#ifndef HASH_H
#define HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_SIZE 32u
#define HMAC_MESSAGE_MAX 256u

void hash(uint8_t out[HASH_SIZE], const uint8_t *bytes, size_t n);

/* HMAC of at most HMAC_MESSAGE_MAX bytes under a key of 32. */
void hmac(uint8_t out[HASH_SIZE], const uint8_t key[32], const uint8_t *message, size_t n);

/* The IEEE polynomial, as zlib has it. */
uint32_t crc32(const uint8_t *bytes, size_t n);

/* Overwrite a secret, even where the compiler sees no later use. */
void forget(void *secret, size_t n);

#endif
