#include "slot.h"

#include <string.h>

#include "bytes.h"
#include "hal.h"
#include "hash.h"
#include "tinyssh/crypto_verify_32.h"

#define BLANK 0xFFFFFFFFu
#define TRIED 0x44454952u
#define CONFIRMED 0x464E4F43u
#define FAILED 0x4C494146u

/* Offsets in the trailer. */
#define AT_SEQUENCE 0u
#define AT_TRIED 8u
#define AT_CONFIRMED 12u
#define AT_FAILED 16u
#define AT_CONFIRMED_AGAIN 20u /* where the first was torn */

uint32_t slot_address(enum slot s)
{
	return s == SLOT_A ? BOARD_SLOT_A : BOARD_SLOT_B;
}

uint32_t slot_trailer(enum slot s)
{
	return slot_address(s) + BOARD_SLOT_SIZE - BOARD_PAGE;
}

static bool zeros(const uint8_t *p, size_t n)
{
	uint8_t any = 0;

	for (size_t i = 0; i < n; i++) {
		any |= p[i];
	}
	return any == 0u;
}

enum fail image_parse(const uint8_t header[HEADER_SIZE], struct image *out)
{
	if (memcmp(header, "FPGUARD1", 8) != 0) {
		return FAIL_MAGIC;
	}
	out->key = get16(header + 10);
	out->board = get32(header + 12);
	out->size = get32(header + 16);
	out->link = get32(header + 20);
	out->version = get32(header + 24);
	out->rollback = get32(header + 28);
	out->digest = header + 32;
	if (get16(header + 8) != HEADER_SIZE || out->key > KEY_PRODUCTION || !zeros(header + 64, 32) ||
	    !zeros(header + 160, 96)) {
		return FAIL_HEADER;
	}
	if (out->size % 4u != 0u || out->size < 8u ||
	    (out->board == BOARD_ID && out->size > BOARD_SLOT_SIZE - HEADER_SIZE - BOARD_PAGE)) {
		return FAIL_SIZE;
	}
	return FAIL_NONE;
}

bool image_digest_ok(const struct image *image)
{
	uint8_t digest[HASH_SIZE];

	hash(digest, hal_flash(image->link + HEADER_SIZE), image->size);
	return crypto_verify_32(digest, image->digest) == 0;
}

struct trailer trailer_read(enum slot s)
{
	const uint8_t *p = hal_flash(slot_trailer(s));
	const uint32_t sequence = get32(p + AT_SEQUENCE);
	const struct trailer t = {
		.sequence = sequence == ~get32(p + AT_SEQUENCE + 4u) ? sequence : 0u,
		.tried = get32(p + AT_TRIED) != BLANK,
		.confirmed = get32(p + AT_CONFIRMED) == CONFIRMED || get32(p + AT_CONFIRMED_AGAIN) == CONFIRMED,
		.failed = get32(p + AT_FAILED) != BLANK,
	};

	return t;
}

bool trailer_install(enum slot s, uint32_t sequence)
{
	uint8_t words[8];

	put32(words, sequence);
	put32(words + 4, ~sequence);
	return hal_flash_write(slot_trailer(s) + AT_SEQUENCE, words, sizeof words);
}

static bool mark(enum slot s, uint32_t at, uint32_t value)
{
	uint8_t word[4];

	put32(word, value);
	return hal_flash_write(slot_trailer(s) + at, word, sizeof word);
}

bool trailer_try(enum slot s)
{
	return mark(s, AT_TRIED, TRIED);
}

bool trailer_confirm(enum slot s)
{
	const bool blank = get32(hal_flash(slot_trailer(s)) + AT_CONFIRMED) == BLANK;

	return mark(s, blank ? AT_CONFIRMED : AT_CONFIRMED_AGAIN, CONFIRMED);
}

bool trailer_fail(enum slot s)
{
	return mark(s, AT_FAILED, FAILED);
}
