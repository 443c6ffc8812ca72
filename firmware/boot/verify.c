#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "ed25519.h"
#include "hal.h"

#define SIGNATURE 64u

/* The order of the group: a scalar that is not below it is another spelling of a
 * signature that was made, which RFC 8032 refuses. */
static bool scalar_ok(const uint8_t scalar[32])
{
	static const uint8_t order[32] = {
		0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14,
		0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10,
	};

	for (unsigned i = 32; i-- > 0u;) {
		if (scalar[i] != order[i]) {
			return scalar[i] < order[i];
		}
	}
	return false;
}

bool signature_ok(const uint8_t key[32], const uint8_t *message, size_t n, const uint8_t signature[SIGNATURE])
{
	return key_ok(key) && scalar_ok(signature + 32) && ed25519_verify(key, message, n, signature);
}

enum fail header_check(const uint8_t header[HEADER_SIZE], enum slot s, uint32_t floor, struct image *out)
{
	static const char domain[] = "faceprint image v1";
	uint8_t message[sizeof domain - 1u + HEADER_SIGNED];
	const enum fail parsed = image_parse(header, out);

	if (parsed != FAIL_NONE) {
		return parsed;
	}
	if (out->board != BOARD_ID) {
		return FAIL_BOARD;
	}
	if (out->link != slot_address(s)) {
		return FAIL_SLOT;
	}

	const uint8_t *key = boot_key(out->key);

	if (key == NULL) {
		return FAIL_KEY;
	}
	memcpy(message, domain, sizeof domain - 1u);
	memcpy(message + sizeof domain - 1u, header, HEADER_SIGNED);
	if (!signature_ok(key, message, sizeof message, header + HEADER_SIGNATURE)) {
		return FAIL_SIGNATURE;
	}
	return out->rollback < floor ? FAIL_OLDER : FAIL_NONE;
}

enum fail body_check(const struct image *image)
{
	const uint32_t body = image->link + HEADER_SIZE;
	const uint32_t reset = get32(hal_flash(body + 4u));

	if (reset < body || reset >= body + image->size) {
		return FAIL_HEADER;
	}
	return image_digest_ok(image) ? FAIL_NONE : FAIL_DIGEST;
}

enum fail image_check(enum slot s, uint32_t floor, struct image *out)
{
	const uint8_t *header = hal_flash(slot_address(s));

	/* A signature takes most of the watchdog's time, and so may a digest. */
	hal_watchdog();

	const enum fail checked = header_check(header, s, floor, out);

	hal_watchdog();
	if (checked != FAIL_NONE) {
		return checked;
	}

	const enum fail body = body_check(out);

	hal_watchdog();
	return body;
}
