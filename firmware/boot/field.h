/* Numbers modulo p = 2^255 - 19, for the verification of signatures alone: nothing here
 * is secret, so nothing takes care to always take the same time. */
#ifndef FIELD_H
#define FIELD_H

#include <stdbool.h>
#include <stdint.h>

#define FIELD_WORDS 8u

/* Any number below 2^256 that leaves the right remainder, the lowest word first. */
typedef uint32_t field[FIELD_WORDS];

void field_set(field out, uint32_t small);
void field_copy(field out, const field a);
void field_add(field out, const field a, const field b);
void field_sub(field out, const field a, const field b);
void field_mul(field out, const field a, const field b);
void field_square(field out, const field a);

/* 1 / a, and a^((p - 5) / 8), which is most of a square root. */
void field_invert(field out, const field a);
void field_root(field out, const field a);

bool field_zero(const field a);
bool field_odd(const field a);

/* 32 bytes, little-endian. Bit 255 is not looked at, and comes out as 0; what comes
 * out is below p. */
void field_take(field out, const uint8_t bytes[32]);
void field_put(uint8_t bytes[32], const field a);

#endif
