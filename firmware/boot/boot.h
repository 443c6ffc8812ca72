/* The boot loader: which image starts, how one is installed, serial recovery. */
#ifndef BOOT_H
#define BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "slot.h"

#define LOADER_VERSION 0x01000000u /* 1.0.0 */

#define SLOTS 2u
#define NO_SLOT SLOTS

/* key.c: the public keys this loader was built with; NULL: it has none of that kind. */
const uint8_t *boot_key(uint16_t kind);
extern const struct loader_info boot_info;

/* order.c: false for a public key of small order, for which anybody can sign. */
bool key_ok(const uint8_t key[32]);

/* verify.c: Ed25519 over a message of at most 128 bytes, as strict as RFC 8032, and
 * never for a key of small order. */
bool signature_ok(const uint8_t key[32], const uint8_t *message, size_t n, const uint8_t signature[64]);

/* Whether a header is of an image for this board and slot, signed with a
 * key this loader has, and not older than the floor. The body is not looked at. */
enum fail header_check(const uint8_t header[HEADER_SIZE], enum slot s, uint32_t floor, struct image *out);

/* Whether the body behind a checked header is in flash, and starts in itself. */
enum fail body_check(const struct image *image);

/* The same for a whole image in flash, with its body. */
enum fail image_check(enum slot s, uint32_t floor, struct image *out);

/* select.c: the image to start, or NO_SLOT. Marks it as tried when it is new. After a crash
 * of one that was not confirmed, by a fault or the watchdog, that one is marked as failed
 * and is not it. */
unsigned boot_select(bool crashed);

/* The slot that an installation may erase. */
enum slot boot_target(void);

/* The same, for who has looked at the images already. */
enum slot boot_target_of(bool a_whole, bool b_whole);

/* install.c: an image that arrives in pieces. Start from zero and a target. */
struct install {
	enum slot target;
	enum { INSTALL_HEADER, INSTALL_BODY, INSTALL_SKIP, INSTALL_DONE } phase;
	uint8_t header[HEADER_SIZE];
	struct image image; /* points into header */
	uint32_t at;        /* bytes of the current image taken, header and padding included */
	uint32_t end;       /* where it ends: BODY without, SKIP with padding */
	bool seen_any;      /* images */
	bool seen_board;    /* images for this board */
};

/* Take n bytes, a multiple of 128. Nothing is erased before the signature over
 * the header was found right. */
enum fail install_take(struct install *in, const uint8_t *bytes, size_t n);

/* The sender has no more: FAIL_NONE only when an image is whole in flash. */
enum fail install_end(const struct install *in);

/* recovery.c: serve a terminal until an image is to be started; returns its slot. */
enum slot recovery(void);

/* boot.c: everything from reset to the image. */
_Noreturn void boot(void);

#endif
