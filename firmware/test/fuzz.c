/* libFuzzer against everything that takes bytes from a wire: the application's
 * frames (first byte even) and the loader's image stream (first byte odd). The
 * lock line may not rise, the flash model may not be violated, and what is
 * garbled may not be answered by more than refusals. `make fuzz`. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0u) {
		return 0;
	}
	host_reset();
	if ((data[0] & 1u) == 0u) {
		application(data + 1, n - 1u);
	} else {
		loader(data + 1, n - 1u);
	}
	return host.violations == 0u ? 0 : (abort(), 0);
}
