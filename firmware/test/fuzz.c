/* libFuzzer against everything that takes bytes from a wire, by the first byte: the
 * application's frames, the loader's image stream, and its terminal, with blocks that
 * have a right CRC and all that may happen between them. The lock line may not rise, the
 * flash model may not be violated, what is garbled may not be answered by more than
 * refusals, and nothing that the fuzzer makes may start. `make fuzz`. */
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "guard.h"
#include "host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
void randombytes(unsigned char *p, unsigned long long n);

void randombytes(unsigned char *p, unsigned long long n)
{
	(void)p;
	(void)n;
	abort();
}

static const uint8_t *coming;
static size_t left;

static bool get(uint8_t *byte)
{
	if (left == 0u) {
		return false;
	}
	*byte = *coming++;
	left--;
	return true;
}

static void put(const uint8_t *bytes, size_t n)
{
	struct frame_reader r = { .n = 0 };
	size_t size;

	for (size_t i = 0; i < n; i++) {
		if (frame_take(&r, bytes[i], &size) == FRAME_GARBLED) {
			abort();
		}
	}
}

static void application(const uint8_t *data, size_t n)
{
	static struct guard board;
	static const uint8_t key[PAIRING_SIZE] = { 1, 2, 3 };
	static const uint8_t nonce[NONCE_SIZE];
	uint8_t out[NONCE_SIZE];

	host.get = get;
	host.put = put;
	if (!pairing_write(key) || !counter_raise(COUNTER_STARTS, 1)) {
		abort();
	}
	guard_start(&board, SLOT_A);
	guard_on(&board, ON_HELLO, 0);
	session_begin(&board.session, nonce, out);
	coming = data;
	left = n;
	if (setjmp(host.leave) == 0) {
		while (left > 0u) {
			guard_turn(&board);
		}
	}
	if ((host.ever_high & HAL_OUT_LOCK) != 0u) {
		abort();
	}
}

static void loader(const uint8_t *data, size_t n)
{
	static struct install in;

	memset(&in, 0, sizeof in);
	in.target = SLOT_A;
	for (size_t at = 0; at + 128u <= n; at += 128u) {
		if (install_take(&in, data + at, 128) != FAIL_NONE) {
			break;
		}
	}
	/* The corpus has signed headers, but no fuzzer makes the body to one. */
	if (install_end(&in) == FAIL_NONE) {
		abort();
	}
}

/* --- the terminal ---------------------------------------------------------------- */

/* What the other end does is read from the input: a step, and what it takes. */
enum step { STEP_BLOCK, STEP_SMALL, STEP_GARBLED, STEP_BEHEADED, STEP_REPEAT, STEP_END, STEP_CANCEL, STEP_SILENCE, STEP_TYPE, STEP_LOAD, STEPS };

static struct {
	uint8_t bytes[1029];
	size_t n, at;
	uint8_t number;
	uint32_t silent; /* until then */
} far;

static void far_block(size_t size)
{
	uint16_t crc = 0;

	memset(far.bytes, 0x1A, sizeof far.bytes);
	far.bytes[0] = size == 128u ? 1u : 2u;
	far.bytes[1] = far.number;
	far.bytes[2] = (uint8_t)~far.number;
	for (size_t i = 0; i < size && left > 0u; i++, left--) {
		far.bytes[3u + i] = *coming++;
	}
	for (size_t i = 0; i < size; i++) {
		crc ^= (uint16_t)(far.bytes[3u + i] << 8);
		for (unsigned bit = 0; bit < 8u; bit++) {
			crc = (uint16_t)((crc & 0x8000u) != 0u ? crc << 1 ^ 0x1021 : crc << 1);
		}
	}
	far.bytes[3u + size] = (uint8_t)(crc >> 8);
	far.bytes[4u + size] = (uint8_t)crc;
	far.n = size + 5u;
}

static void far_says(const char *text)
{
	far.n = strlen(text);
	memcpy(far.bytes, text, far.n);
}

static void far_step(enum step s)
{
	far.at = 0;
	switch (s) {
	case STEP_BLOCK:
	case STEP_SMALL:
	case STEP_GARBLED:
	case STEP_BEHEADED:
		far_block(s == STEP_SMALL ? 128u : 1024u);
		far.number++;
		far.bytes[40] ^= s == STEP_GARBLED ? 4u : 0u;
		far.at = s == STEP_BEHEADED ? 1u : 0u;
		break;
	case STEP_REPEAT:
		far.number--; /* the next block has the number of the last */
		far.n = 0;
		break;
	case STEP_END:
		far_says("\x04");
		break;
	case STEP_CANCEL:
		far_says("\x18\x18");
		break;
	case STEP_SILENCE:
		far.n = 0;
		far.silent = host.now + 1500u;
		break;
	case STEP_LOAD:
		far_says("\rload\r");
		far.number = 1;
		break;
	case STEP_TYPE:
	default:
		far.bytes[0] = left > 0u ? *coming++ : 0u;
		left -= left > 0u ? 1u : 0u;
		far.n = 1;
		break;
	}
}

static bool far_get(uint8_t *byte)
{
	if (host.now < far.silent) {
		return false;
	}
	if (far.at < far.n) {
		*byte = far.bytes[far.at++];
		return true;
	}
	if (left == 0u) {
		longjmp(host.leave, HOST_STOPS);
	}
	left--;
	far_step((enum step)(*coming++ % (uint8_t)STEPS));
	return false;
}

/* The loader says nothing that a terminal could not show, or XMODEM does not know. */
static void far_put(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if ((bytes[i] < 0x20u || bytes[i] > 0x7Eu) && memchr("\r\n\b\x06\x15\x18", bytes[i], 6) == NULL) {
			abort();
		}
	}
}

static void terminal(const uint8_t *data, size_t n)
{
	memset(&far, 0, sizeof far);
	host.get = far_get;
	host.put = far_put;
	host.clock_runs = true;
	host.inputs = HAL_IN_SERVICE;
	host_serial_kept = (n & 1u) == 0u ? 6u : 2048u;
	coming = data;
	left = n;

	const int why = setjmp(host.leave);

	if (why == 0) {
		boot();
	}
	if (why == HOST_RUNS || host.ever_high != 0u) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0u) {
		return 0;
	}
	host_reset();
	switch (data[0] % 3u) {
	case 0:
		application(data + 1, n - 1u);
		break;
	case 1:
		loader(data + 1, n - 1u);
		break;
	default:
		terminal(data + 1, n - 1u);
		break;
	}
	return host.violations == 0u ? 0 : (abort(), 0);
}
