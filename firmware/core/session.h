/* The session: keys of both directions, counters, challenges (PROTOCOL.md
 * section 6). Knows nothing of locks. */
#ifndef SESSION_H
#define SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"

#define NONCE_SIZE 16u
#define TAG_SIZE 16u
#define CHALLENGE_SIZE 16u
#define SERIAL_SIZE 8u

/* What stands around a body. */
#define SEALED_HEAD 5u /* type, counter */
#define SEALED_OVERHEAD (SEALED_HEAD + TAG_SIZE)

struct session {
	uint8_t pairing[32];
	uint8_t serial[SERIAL_SIZE];
	uint32_t starts;     /* the start counter */
	uint32_t sessions;   /* since the start */
	uint32_t challenges; /* since the start */

	bool open;
	uint8_t from_host[32]; /* keys */
	uint8_t to_host[32];
	uint32_t taken; /* the last counter taken */
	uint32_t sent;  /* the last counter sent */
};

/* Begin a session with a host's nonce; out gets the board's. */
void session_begin(struct session *s, const uint8_t host[NONCE_SIZE], uint8_t out[NONCE_SIZE]);

/* Forget the session's keys. */
void session_end(struct session *s);

/* Check a sealed frame: tag, then counter. 0, or the refusal of PROTOCOL.md 6.4.
 * Only 0 moves the counter. */
uint8_t session_take(struct session *s, const uint8_t *raw, size_t n);

/* Seal n bytes of a frame that stand in raw from SEALED_HEAD on, for TAG_SIZE
 * bytes more; returns the frame's size, 0 when the counter is used up. */
size_t session_seal(struct session *s, uint8_t *raw, uint8_t type, size_t n);

/* A challenge that never came before. */
void session_challenge(struct session *s, uint8_t out[CHALLENGE_SIZE]);

/* The proof that a board has taken a pairing key. */
void session_proof(const struct session *s, uint8_t out[16]);

#endif
