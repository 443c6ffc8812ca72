#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "hal.h"
#include "state.h"

/* Images of a bundle begin at multiples of this (PROTOCOL.md section 2). */
#define BUNDLE_ALIGN 1024u

/* Images came, but none for this board and slot. */
static enum fail nothing_for_us(const struct install *in)
{
	return in->seen_board ? FAIL_SLOT : FAIL_BOARD;
}

/* The header is whole: refuse it, skip its image, or make room for it. */
static enum fail header_taken(struct install *in)
{
	const enum fail parsed = image_parse(in->header, &in->image);

	if (parsed == FAIL_MAGIC && in->seen_any) {
		return nothing_for_us(in); /* the transfer's padding behind the last image */
	}
	if (parsed != FAIL_NONE) {
		return parsed;
	}
	in->seen_any = true;
	if (in->image.board == BOARD_ID) {
		in->seen_board = true;
	}
	if (in->image.board != BOARD_ID || in->image.link != slot_address(in->target)) {
		in->phase = INSTALL_SKIP;
		in->end = (HEADER_SIZE + in->image.size + BUNDLE_ALIGN - 1u) & ~(BUNDLE_ALIGN - 1u);
		/* A size near 2^32 wraps to an end that was passed already. */
		return in->end > in->image.size ? FAIL_NONE : FAIL_SIZE;
	}

	hal_watchdog();

	const enum fail checked = header_check(in->header, in->target, counter_read(COUNTER_FLOOR), &in->image);

	hal_watchdog();
	if (checked != FAIL_NONE) {
		return checked;
	}
	in->phase = INSTALL_BODY;
	in->end = HEADER_SIZE + in->image.size;
	/* The old image is over with its header; its trailer may not vouch for the new one. */
	return hal_flash_erase(slot_address(in->target)) && hal_flash_erase(slot_trailer(in->target)) ? FAIL_NONE
	                                                                                               : FAIL_FLASH;
}

/* Write a piece of the body, erasing each page that it enters. */
static enum fail body_taken(struct install *in, const uint8_t *bytes, size_t n)
{
	while (n > 0u) {
		const uint32_t address = slot_address(in->target) + in->at;
		const uint32_t room = BOARD_PAGE - address % BOARD_PAGE;
		const size_t piece = n < room ? n : room;

		if (address % BOARD_PAGE == 0u && !hal_flash_erase(address)) {
			return FAIL_FLASH;
		}
		if (!hal_flash_write(address, bytes, piece)) {
			return FAIL_FLASH;
		}
		in->at += (uint32_t)piece;
		bytes += piece;
		n -= piece;
	}
	return FAIL_NONE;
}

/* The body is in flash: make it an image, with the header as the last write. */
static enum fail finish(struct install *in)
{
	const struct trailer a = trailer_read(SLOT_A);
	const struct trailer b = trailer_read(SLOT_B);
	const uint32_t highest = a.sequence > b.sequence ? a.sequence : b.sequence;

	hal_watchdog();

	const enum fail body = body_check(&in->image);

	hal_watchdog();
	if (body != FAIL_NONE) {
		return body;
	}
	if (!trailer_install(in->target, highest + 1u) ||
	    !hal_flash_write(slot_address(in->target), in->header, HEADER_SIZE)) {
		return FAIL_FLASH;
	}
	in->phase = INSTALL_DONE;
	return FAIL_NONE;
}

enum fail install_take(struct install *in, const uint8_t *bytes, size_t n)
{
	enum fail f = FAIL_NONE;

	while (n > 0u && f == FAIL_NONE && in->phase != INSTALL_DONE) {
		const uint32_t end = in->phase == INSTALL_HEADER ? HEADER_SIZE : in->end;
		const uint32_t left = end - in->at;
		const size_t piece = n < left ? n : left;

		switch (in->phase) {
		case INSTALL_HEADER:
			memcpy(in->header + in->at, bytes, piece);
			in->at += (uint32_t)piece;
			if (in->at == HEADER_SIZE) {
				f = header_taken(in);
			}
			break;
		case INSTALL_BODY:
			f = body_taken(in, bytes, piece);
			if (f == FAIL_NONE && in->at == in->end) {
				f = finish(in);
			}
			break;
		case INSTALL_SKIP:
			in->at += (uint32_t)piece;
			if (in->at == in->end) {
				in->phase = INSTALL_HEADER;
				in->at = 0;
			}
			break;
		case INSTALL_DONE:
		default:
			break;
		}
		bytes += piece;
		n -= piece;
	}
	return f;
}

enum fail install_end(const struct install *in)
{
	switch (in->phase) {
	case INSTALL_DONE:
		return FAIL_NONE;
	case INSTALL_HEADER:
		if (in->seen_any) {
			return nothing_for_us(in);
		}
		return in->at != 0u && memcmp(in->header, "FPGUARD1", 8) == 0 ? FAIL_TORN : FAIL_MAGIC;
	case INSTALL_BODY:
	case INSTALL_SKIP:
	default:
		return FAIL_TORN;
	}
}
