#include "session.h"

#include <string.h>

#include "bytes.h"
#include "guard.h"
#include "hash.h"
#include "tinyssh/crypto_verify_16.h"

/* The longest text is 32 bytes, the context 40. */
#define MESSAGE_MAX 80u

/* H(pairing key, text | more). */
static void derive(const struct session *s, uint8_t out[HASH_SIZE], const char *text, const uint8_t *more, size_t n)
{
	uint8_t message[MESSAGE_MAX];
	const size_t length = strlen(text);

	memcpy(message, text, length);
	memcpy(message + length, more, n);
	hmac(out, s->pairing, message, length + n);
}

void session_begin(struct session *s, const uint8_t host[NONCE_SIZE], uint8_t out[NONCE_SIZE])
{
	uint8_t context[2u * NONCE_SIZE + SERIAL_SIZE];
	uint8_t nonce[HASH_SIZE];
	uint8_t count[8];

	s->sessions++;
	put32(count, s->starts);
	put32(count + 4, s->sessions);
	derive(s, nonce, "faceprint guard v1 nonce", count, sizeof count);
	memcpy(out, nonce, NONCE_SIZE);

	memcpy(context, host, NONCE_SIZE);
	memcpy(context + NONCE_SIZE, nonce, NONCE_SIZE);
	memcpy(context + 2u * NONCE_SIZE, s->serial, SERIAL_SIZE);
	derive(s, s->from_host, "faceprint guard v1 host to board", context, sizeof context);
	derive(s, s->to_host, "faceprint guard v1 board to host", context, sizeof context);
	s->taken = 0;
	s->sent = 0;
	s->open = true;
}

void session_end(struct session *s)
{
	s->open = false;
	forget(s->from_host, sizeof s->from_host);
	forget(s->to_host, sizeof s->to_host);
}

uint8_t session_take(struct session *s, const uint8_t *raw, size_t n)
{
	uint8_t tag[HASH_SIZE];

	if (!s->open) {
		return REFUSED_SESSION;
	}
	hmac(tag, s->from_host, raw, n - TAG_SIZE);
	if (crypto_verify_16(tag, raw + n - TAG_SIZE) != 0) {
		return REFUSED_TAG;
	}
	if (get32(raw + 1) <= s->taken) {
		return REFUSED_REPLAY;
	}
	s->taken = get32(raw + 1);
	return 0;
}

size_t session_seal(struct session *s, uint8_t *raw, uint8_t type, size_t n)
{
	uint8_t tag[HASH_SIZE];

	if (s->sent == UINT32_MAX) {
		return 0;
	}
	s->sent++;
	raw[0] = type;
	put32(raw + 1, s->sent);
	hmac(tag, s->to_host, raw, SEALED_HEAD + n);
	memcpy(raw + SEALED_HEAD + n, tag, TAG_SIZE);
	return SEALED_OVERHEAD + n;
}

void session_challenge(struct session *s, uint8_t out[CHALLENGE_SIZE])
{
	uint8_t full[HASH_SIZE];
	uint8_t count[12];

	s->challenges++;
	put32(count, s->starts);
	put32(count + 4, s->sessions);
	put32(count + 8, s->challenges);
	derive(s, full, "faceprint guard v1 challenge", count, sizeof count);
	memcpy(out, full, CHALLENGE_SIZE);
}

void session_proof(const struct session *s, uint8_t out[16])
{
	uint8_t full[HASH_SIZE];

	derive(s, full, "faceprint pair v1", s->serial, SERIAL_SIZE);
	memcpy(out, full, 16);
}
