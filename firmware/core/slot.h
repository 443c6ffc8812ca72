/* Slots, image headers and trailers (PROTOCOL.md sections 2 and 3), as both the
 * loader and the application read them. Only the loader checks signatures. */
#ifndef SLOT_H
#define SLOT_H

#include <stdbool.h>
#include <stdint.h>

#define HEADER_SIZE 256u
#define HEADER_SIGNED 96u    /* the part that the signature covers */
#define HEADER_SIGNATURE 96u /* where it stands */

#define KEY_DEVELOPMENT 0u
#define KEY_PRODUCTION 1u

enum slot { SLOT_A = 0, SLOT_B = 1 };

struct image {
	uint16_t key; /* KEY_ */
	uint32_t board;
	uint32_t size; /* of the body */
	uint32_t link;
	uint32_t version;
	uint32_t rollback;
	const uint8_t *digest; /* in the header that was read */
};

struct trailer {
	uint32_t sequence; /* 0: none */
	bool tried;
	bool confirmed;
	bool failed; /* it crashed, and was not confirmed */
};

/* Why something is not an image for this board; PROTOCOL.md section 5 has the names. */
enum fail {
	FAIL_NONE = 0,
	FAIL_MAGIC,
	FAIL_HEADER,
	FAIL_BOARD,
	FAIL_SLOT,
	FAIL_KEY,
	FAIL_SIGNATURE,
	FAIL_OLDER,
	FAIL_SIZE,
	FAIL_DIGEST,
	FAIL_TORN,
	FAIL_TRANSFER,
	FAIL_CANCELLED,
	FAIL_FLASH,
	FAIL_COMMAND,
	FAIL_NOTHING,
};

/* Where a slot begins, and its trailer. */
uint32_t slot_address(enum slot s);
uint32_t slot_trailer(enum slot s);

/* Read a header; FAIL_MAGIC, FAIL_HEADER or FAIL_SIZE when it is malformed.
 * Board, slot, key and signature are not looked at. */
enum fail image_parse(const uint8_t header[HEADER_SIZE], struct image *out);

/* Whether the body behind a header in flash has its digest. */
bool image_digest_ok(const struct image *image);

struct trailer trailer_read(enum slot s);
bool trailer_install(enum slot s, uint32_t sequence);
bool trailer_try(enum slot s);
bool trailer_confirm(enum slot s);
bool trailer_fail(enum slot s);

/* The block that the loader has at BOARD_LOADER_INFO: how the application
 * knows which loader started it. */
struct loader_info {
	uint32_t magic; /* LOADER_MAGIC */
	uint32_t version;
	uint32_t production;
	uint32_t zero;
};
#define LOADER_MAGIC 0x444C5046u /* FPLD */

#endif
