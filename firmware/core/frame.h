/* Frames on the wire: COBS between zero bytes (PROTOCOL.md section 6). */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX 250u             /* raw bytes of a frame */
#define BLOCK_MAX (FRAME_MAX + 1u) /* of its COBS block, which adds one */

/* What has come since the last zero byte. Start from zero. */
struct frame_reader {
	uint8_t block[BLOCK_MAX];
	size_t n;
	bool overrun;
};

enum frame_result {
	FRAME_NONE,    /* not at the end of a frame yet, or an empty one */
	FRAME_WHOLE,   /* raw bytes are in block, n of them in *size */
	FRAME_GARBLED, /* no encoder made it; thrown away */
};

/* Take one byte. After FRAME_WHOLE the raw bytes stay in block until the next call. */
enum frame_result frame_take(struct frame_reader *r, uint8_t byte, size_t *size);

/* Encode at most FRAME_MAX bytes with their zero bytes into out, which has room
 * for n + 3; returns how many. */
size_t frame_encode(uint8_t *out, const uint8_t *raw, size_t n);

#endif
