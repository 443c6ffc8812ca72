#include "frame.h"

/* Decode a block in place: the raw bytes are fewer than the block's. */
static bool decode(uint8_t *block, size_t n, size_t *size)
{
	size_t in = 0;
	size_t out = 0;

	while (in < n) {
		const size_t code = block[in];

		/* A block has no zero byte and is too short for a code of 0xFF. */
		if (in + code > n) {
			return false;
		}
		in++;
		for (size_t i = 1; i < code; i++) {
			block[out++] = block[in++];
		}
		if (in < n) {
			block[out++] = 0;
		}
	}
	*size = out;
	return true;
}

enum frame_result frame_take(struct frame_reader *r, uint8_t byte, size_t *size)
{
	if (byte != 0u) {
		if (r->n == BLOCK_MAX) {
			r->overrun = true;
		} else {
			r->block[r->n++] = byte;
		}
		return FRAME_NONE;
	}

	const size_t n = r->n;
	const bool overrun = r->overrun;

	r->n = 0;
	r->overrun = false;
	if (overrun) {
		return FRAME_GARBLED;
	}
	if (n == 0u) {
		return FRAME_NONE;
	}
	return decode(r->block, n, size) ? FRAME_WHOLE : FRAME_GARBLED;
}

size_t frame_encode(uint8_t *out, const uint8_t *raw, size_t n)
{
	size_t code = 1; /* where the code of this run goes */
	size_t at = 2;

	out[0] = 0;
	for (size_t i = 0; i < n; i++) {
		if (raw[i] == 0u) {
			out[code] = (uint8_t)(at - code);
			code = at;
		} else {
			out[at] = raw[i];
		}
		at++;
	}
	out[code] = (uint8_t)(at - code);
	out[at++] = 0;
	return at;
}
