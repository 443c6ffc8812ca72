#include "support.h"

#include <string.h>

#include "ed25519.h"
#include "tinyssh/crypto_sign_ed25519.h"

/* The library's key generation is not used; its random source must not be either. */
void randombytes(unsigned char *p, unsigned long long n);
void randombytes(unsigned char *p, unsigned long long n)
{
	(void)p;
	(void)n;
	fail_msg("randombytes was called");
}

/* --- images ---------------------------------------------------------------------- */

/* The public key of a seed is not needed to sign but is part of what is hashed. */
static const uint8_t *public_of(uint8_t seed)
{
	static const uint8_t development[32] = {
		0xee, 0x93, 0xa4, 0xf6, 0x6f, 0x8d, 0x16, 0xb8, 0x19, 0xbb, 0x9b, 0xeb, 0x9f, 0xfc, 0xcd, 0xfc,
		0xdc, 0x14, 0x12, 0xe8, 0x7f, 0xee, 0x6a, 0x32, 0x4c, 0x2a, 0x99, 0xa1, 0xe0, 0xe6, 0x71, 0x48,
	};
	static const uint8_t production[32] = { PRODUCTION_KEY };

	return seed == SEED_DEVELOPMENT ? development : production;
}

void sign_header(uint8_t header[HEADER_SIZE], uint8_t seed)
{
	uint8_t message[18 + HEADER_SIGNED];
	uint8_t sealed[64 + sizeof message];
	uint8_t secret[64];
	unsigned long long n = 0;

	memset(secret, seed, 32);
	memcpy(secret + 32, public_of(seed), 32);
	memcpy(message, "faceprint image v1", 18);
	memcpy(message + 18, header, HEADER_SIGNED);
	assert_int_equal(crypto_sign_ed25519(sealed, &n, message, sizeof message, secret), 0);
	memcpy(header + HEADER_SIGNATURE, sealed, 64);
}

struct recipe good(enum slot s, uint32_t version, uint32_t rollback, uint32_t size)
{
	const struct recipe r = {
		.seed = SEED_DEVELOPMENT,
		.key = KEY_DEVELOPMENT,
		.board = BOARD_ID,
		.link = slot_address(s),
		.version = version,
		.rollback = rollback,
		.size = size,
	};

	return r;
}

void make_image(struct made *m, struct recipe r)
{
	uint8_t *h = m->bytes;
	uint8_t *body = m->bytes + HEADER_SIZE;

	assert_true(r.size <= sizeof m->bytes - HEADER_SIZE);
	memset(m->bytes, 0xFF, sizeof m->bytes);
	memset(h, 0, HEADER_SIZE);
	for (uint32_t i = 0; i < r.size; i++) {
		body[i] = (uint8_t)(i * 31u + 7u);
	}
	put32(body, 0x20004000u);
	put32(body + 4, r.link + 0x109u);
	memcpy(h, "FPGUARD1", 8);
	put16(h + 8, HEADER_SIZE);
	put16(h + 10, r.key);
	put32(h + 12, r.board);
	put32(h + 16, r.size);
	put32(h + 20, r.link);
	put32(h + 24, r.version);
	put32(h + 28, r.rollback);
	hash(h + 32, body, r.size);
	sign_header(h, r.seed);
	m->size = r.size;
	m->n = (HEADER_SIZE + r.size + 1023u) / 1024u * 1024u;
}

void place_image(const struct recipe r, uint32_t sequence, bool tried, bool confirmed)
{
	static struct made m;
	const enum slot s = r.link == BOARD_SLOT_A ? SLOT_A : SLOT_B;

	make_image(&m, r);
	for (uint32_t p = 0; p < BOARD_SLOT_SIZE; p += BOARD_PAGE) {
		assert_true(hal_flash_erase(r.link + p));
	}
	for (uint32_t at = 0; at < HEADER_SIZE + r.size; at += 4u) {
		assert_true(hal_flash_write(r.link + at, m.bytes + at, 4));
	}
	assert_true(trailer_install(s, sequence));
	if (tried) {
		assert_true(trailer_try(s));
	}
	if (confirmed) {
		assert_true(trailer_confirm(s));
	}
}

enum fail install_all(enum slot target, const uint8_t *bytes, size_t n, size_t block)
{
	static struct install in;

	memset(&in, 0, sizeof in);
	in.target = target;
	for (size_t at = 0; at < n; at += block) {
		const enum fail f = install_take(&in, bytes + at, n - at < block ? n - at : block);

		if (f != FAIL_NONE) {
			return f;
		}
	}
	return install_end(&in);
}

/* --- the host's end of the wire ---------------------------------------------------- */

struct guard board;
struct peer peer;

static const uint8_t *coming;
static size_t coming_left;
static struct frame_reader hears;
static struct answer heard;
static unsigned answers;

static bool wire_get(uint8_t *byte)
{
	if (coming_left == 0u) {
		return false;
	}
	*byte = *coming++;
	coming_left--;
	return true;
}

static void wire_put(const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		size_t size = 0;

		switch (frame_take(&hears, bytes[i], &size)) {
		case FRAME_WHOLE:
			assert_true(size <= FRAME_MAX);
			memcpy(heard.raw, hears.block, size);
			heard.n = size;
			answers++;
			break;
		case FRAME_GARBLED:
			fail_msg("the board sent a garbled frame");
			break;
		case FRAME_NONE:
		default:
			break;
		}
	}
}

void pass(uint32_t ms)
{
	for (uint32_t i = 0; i < ms; i++) {
		host.now++;
		guard_turn(&board);
	}
}

struct answer send_wire(const uint8_t *bytes, size_t n)
{
	coming = bytes;
	coming_left = n;
	heard.n = 0;
	answers = 0;
	while (coming_left > 0u) {
		guard_turn(&board);
	}
	return heard;
}

struct answer send_raw(const uint8_t *raw, size_t n)
{
	uint8_t wire[FRAME_MAX + 3u];

	const unsigned most = board.reader.n > 0u ? 2u : 1u; /* what lay there already is a frame of its own */
	const struct answer a = send_wire(wire, frame_encode(wire, raw, n));

	assert_true(answers <= most); /* one answer a question, nothing unasked */
	return a;
}

struct answer ask_plain(uint8_t type, const void *body, size_t n)
{
	uint8_t raw[FRAME_MAX];

	raw[0] = type;
	if (n > 0u) {
		memcpy(raw + 1, body, n);
	}
	put32(raw + 1 + n, crc32(raw, 1 + n));

	struct answer a = send_raw(raw, n + 5u);

	if (a.n > 0u) {
		assert_true(a.n >= 5u);
		assert_int_equal(get32(a.raw + a.n - 4), crc32(a.raw, a.n - 4));
		a.n -= 4u;
	}
	return a;
}

void start_guard(struct guard *g, enum slot running)
{
	const uint32_t now = host.now;

	host.clock_runs = true;
	guard_start(g, running);
	host.clock_runs = false;
	host.now = now;
}

void restart_board(enum hal_start why)
{
	host.outputs = 0; /* a reset lets go of all pins */
	host.started = why;
	memset(&hears, 0, sizeof hears);
	start_guard(&board, SLOT_A);
}

void start_board(void)
{
	host_reset();
	host.get = wire_get;
	host.put = wire_put;
	host.stack_used = 100;
	place_image(good(SLOT_A, 0x01000000u, 0, 1024), 1, true, true);
	restart_board(HAL_START_POWER);
	for (unsigned i = 0; i < 32u; i++) {
		peer.key[i] = (uint8_t)(0xA0u + i);
	}
}

static void press(uint8_t bit)
{
	host.inputs |= bit;
	pass(2 * DEBOUNCE_MS);
	host.inputs = (uint8_t)(host.inputs & ~bit);
	pass(2 * DEBOUNCE_MS);
}

void pair_board(void)
{
	press(HAL_IN_SERVICE);

	const struct answer a = ask_plain(0x03, peer.key, 32);

	assert_int_equal(a.raw[0], 0x83);
	assert_int_equal(board.link, LINK_IDLE);
}

void open_session(void)
{
	uint8_t body[17] = { 1 };
	uint8_t message[80];
	const char *const to_board = "faceprint guard v1 host to board";
	const char *const to_host = "faceprint guard v1 board to host";

	for (unsigned i = 0; i < 16u; i++) {
		body[1 + i] = (uint8_t)(0x10u + i);
	}

	const struct answer a = ask_plain(0x02, body, sizeof body);

	assert_int_equal(a.raw[0], 0x82);
	assert_int_equal(a.n, 26);
	memcpy(message + 32, body + 1, 16);
	memcpy(message + 48, a.raw + 2, 24);
	memcpy(message, to_board, 32);
	hmac(peer.to_board, peer.key, message, 72);
	memcpy(message, to_host, 32);
	hmac(peer.to_host, peer.key, message, 72);
	peer.sent = 0;
	peer.heard = 0;
}

struct answer ask_sealed(uint8_t type, uint32_t counter, const void *body, size_t n)
{
	uint8_t raw[FRAME_MAX];
	uint8_t tag[32];

	raw[0] = type;
	put32(raw + 1, counter);
	if (n > 0u) {
		memcpy(raw + 5, body, n);
	}
	hmac(tag, peer.to_board, raw, 5 + n);
	memcpy(raw + 5 + n, tag, 16);
	return send_raw(raw, n + 21u);
}

struct answer ask(uint8_t type, const void *body, size_t n)
{
	uint8_t tag[32];

	peer.sent++;

	struct answer a = ask_sealed(type, peer.sent, body, n);

	if (a.n == 0u || a.raw[0] == 0xBFu) {
		return a;
	}
	assert_true(a.n >= 25u);
	hmac(tag, peer.to_host, a.raw, a.n - 16u);
	assert_memory_equal(tag, a.raw + a.n - 16u, 16);
	assert_true(get32(a.raw + 1) > peer.heard);
	peer.heard = get32(a.raw + 1);
	assert_int_equal(get32(a.raw + 5), peer.sent);

	struct answer body_only = { .n = a.n - 25u };

	memcpy(body_only.raw, a.raw + 9, body_only.n);
	if (a.raw[0] == 0xFFu) {
		assert_int_equal(body_only.n, 2);
		memmove(body_only.raw + 1, body_only.raw, 2);
		body_only.raw[0] = 0xFF;
		body_only.n = 3;
		return body_only;
	}
	assert_int_equal(a.raw[0], type | 0x80u);
	return body_only;
}

void assert_refused(struct answer a, uint8_t type, uint8_t code)
{
	assert_true(a.n >= 3u);
	assert_true(a.raw[0] == 0xFFu || a.raw[0] == 0xBFu);
	assert_int_equal(a.raw[1], type);
	assert_int_equal(a.raw[2], code);
}

void unlock_for(uint16_t ms)
{
	uint8_t body[18];
	const struct answer c = ask(0x42, NULL, 0);

	assert_int_equal(c.n, 16);
	memcpy(body, c.raw, 16);
	put16(body + 16, ms);

	const struct answer a = ask(0x43, body, sizeof body);

	assert_int_equal(a.n, 16);
	assert_int_equal(a.raw[1], LOCK_GRANTED);
	assert_true(lock_line());
}

bool lock_line(void)
{
	return (host.outputs & HAL_OUT_LOCK) != 0u;
}

bool find_event(enum event_code code, uint8_t *argument)
{
	uint8_t records[16 * EVENT_SIZE];
	uint32_t after = 0;
	bool found = false;
	size_t n;

	while ((n = events_after(&board.events, after, records, 16)) > 0u) {
		for (size_t i = 0; i < n; i++) {
			const uint8_t *r = records + i * EVENT_SIZE;

			after = get32(r);
			if (r[6] == (uint8_t)code) {
				found = true;
				*argument = r[7];
			}
		}
	}
	return found;
}

/* --- the same signature again --------------------------------------------------------- */

/* Verifying takes most of a start, and the sweeps of power.c start the same image
 * thousands of times: what was verified once, with the same bytes and key, is
 * remembered. The linker puts this in front of the verification (--wrap). */
bool __real_ed25519_verify(const uint8_t key[32], const uint8_t *message, size_t n, const uint8_t signature[64]);
bool __wrap_ed25519_verify(const uint8_t key[32], const uint8_t *message, size_t n, const uint8_t signature[64]);
bool __wrap_ed25519_verify(const uint8_t key[32], const uint8_t *message, size_t n, const uint8_t signature[64])
{
	static struct {
		uint8_t of[32];
		bool known;
	} right[8];
	static unsigned next;
	uint8_t all[32 + 64 + ED25519_MESSAGE_MAX];
	uint8_t of[32];

	host_works(HOST_SIGNATURE_US);
	assert_true(n <= ED25519_MESSAGE_MAX);
	memcpy(all, key, 32);
	memcpy(all + 32, signature, 64);
	memcpy(all + 96, message, n);
	hash(of, all, 96u + n);
	for (unsigned i = 0; i < 8u; i++) {
		if (right[i].known && memcmp(right[i].of, of, 32) == 0) {
			return true;
		}
	}
	if (!__real_ed25519_verify(key, message, n, signature)) {
		return false;
	}
	memcpy(right[next].of, of, 32);
	right[next].known = true;
	next = (next + 1u) % 8u;
	return true;
}

/* What is hashed takes the reference board its time. */
void __real_hash(uint8_t out[HASH_SIZE], const uint8_t *bytes, size_t n);
void __wrap_hash(uint8_t out[HASH_SIZE], const uint8_t *bytes, size_t n);
void __wrap_hash(uint8_t out[HASH_SIZE], const uint8_t *bytes, size_t n)
{
	host_works((uint32_t)(n / 64u + 2u) * HOST_BLOCK_US);
	__real_hash(out, bytes, n);
}
