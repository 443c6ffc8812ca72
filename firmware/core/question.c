/* What the host may ask: one table, one function a question. */
#include <string.h>

#include "bytes.h"
#include "guard.h"
#include "hal.h"
#include "hash.h"
#include "limits.h"
#include "tinyssh/crypto_verify_16.h"

#define PROTOCOL 1u

#define TYPE_ANSWER 0x80u
#define TYPE_SEALED 0x40u
#define TYPE_REFUSED_PLAIN 0xBFu
#define TYPE_REFUSED_SEALED 0xFFu

#define PLAIN_OVERHEAD 5u /* type, CRC-32 */
#define EVENTS_MAX 16u    /* records of an answer */

/* A function reads a body of the length its row says, writes the answer's at
 * out, adds its length to *n, and returns 0 or a refusal. */
struct question {
	uint8_t type;
	uint8_t size; /* of the body */
	uint8_t (*answer)(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n);
};

/* --- plain ------------------------------------------------------------------ */

/* The opened enclosure has erased the key: tampered is not paired. */
static bool has_key(const struct guard *g)
{
	return g->link == LINK_IDLE || g->link == LINK_READY;
}

static uint8_t info(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	const uint8_t *p = hal_flash(BOARD_LOADER_INFO);
	const bool known = get32(p) == LOADER_MAGIC;
	(void)body;
	out[0] = PROTOCOL;
	out[1] = g->slot == SLOT_A ? (uint8_t)'A' : (uint8_t)'B';
	out[2] = (uint8_t)((has_key(g) ? 1u : 0u) | (trailer_read(g->slot).confirmed ? 2u : 0u) |
	                   (g->link == LINK_TAMPERED ? 4u : 0u) | (g->image.key == KEY_PRODUCTION ? 8u : 0u) |
	                   (known && get32(p + 8) != 0u ? 16u : 0u));
	out[3] = (uint8_t)g->link;
	put32(out + 4, BOARD_ID);
	memcpy(out + 8, g->session.serial, SERIAL_SIZE);
	put32(out + 16, g->image.version);
	put32(out + 20, g->image.rollback);
	put32(out + 24, counter_read(COUNTER_FLOOR));
	put32(out + 28, known ? get32(p + 4) : 0u);
	*n += 32u;
	return 0;
}

static uint8_t hello(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	if (body[0] != PROTOCOL) {
		return REFUSED_MALFORMED;
	}
	if (g->link == LINK_TAMPERED) {
		return REFUSED_TAMPER;
	}
	if (g->link == LINK_UNPAIRED) {
		return REFUSED_UNPAIRED;
	}
	guard_on(g, ON_HELLO, 0);
	out[0] = PROTOCOL;
	session_begin(&g->session, body + 1, out + 1);
	memcpy(out + 17, g->session.serial, SERIAL_SIZE);
	*n += 25u;
	return 0;
}

static bool all(const uint8_t *p, size_t n, uint8_t value)
{
	uint8_t differ = 0;

	for (size_t i = 0; i < n; i++) {
		differ |= (uint8_t)(p[i] ^ value);
	}
	return differ == 0u;
}

static uint8_t pair(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	if (all(body, PAIRING_SIZE, 0x00) || all(body, PAIRING_SIZE, 0xFF)) {
		return REFUSED_MALFORMED;
	}
	if (g->link == LINK_TAMPERED) {
		return REFUSED_TAMPER;
	}
	if (g->link != LINK_UNPAIRED) {
		return REFUSED_PAIRED;
	}
	if (g->left.presence == 0u) {
		return REFUSED_PRESENCE;
	}
	if (g->state_failed || !pairing_write(body)) {
		return REFUSED_FAULT;
	}
	memcpy(g->session.pairing, body, PAIRING_SIZE);
	guard_on(g, ON_PAIR, 0);
	session_proof(&g->session, out);
	*n += 16u;
	return 0;
}

static uint8_t confirm(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	(void)body;
	(void)out;
	(void)n;
	if (has_key(g)) {
		return REFUSED_PAIRED;
	}
	return guard_confirm(g) ? 0u : (uint8_t)REFUSED_FAULT;
}

static uint8_t enter_loader(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	(void)body;
	(void)out;
	(void)n;
	g->loader_after = true;
	return 0;
}

static uint8_t enter_loader_plain(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	if (has_key(g)) {
		return REFUSED_PAIRED;
	}
	return enter_loader(g, body, out, n);
}

/* --- sealed ----------------------------------------------------------------- */

static uint8_t status(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	(void)body;
	out[0] = (uint8_t)g->link;
	out[1] = (uint8_t)g->lock;
	out[2] = (uint8_t)g->door;
	out[3] = g->input.stable;
	put16(out + 4, (uint16_t)(g->left.hold > g->left.exit ? g->left.hold : g->left.exit));
	put16(out + 6, (uint16_t)((g->state_failed ? 1u : 0u) | (g->events.failed ? 2u : 0u) |
	                          (hal_stack_used() >= hal_stack_size() ? 4u : 0u)));
	put32(out + 8, g->now);
	put32(out + 12, g->events.newest);
	*n += 16u;
	return 0;
}

static uint8_t challenge(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	(void)body;
	session_challenge(&g->session, g->challenge);
	g->left.challenge = CHALLENGE_MS;
	memcpy(out, g->challenge, CHALLENGE_SIZE);
	*n += CHALLENGE_SIZE;
	return 0;
}

static uint8_t unlock(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	const uint16_t hold = get16(body + CHALLENGE_SIZE);
	const bool known = g->left.challenge != 0u && crypto_verify_16(body, g->challenge) == 0;

	/* Right or wrong, it was the only try. */
	g->left.challenge = 0;
	if (!known) {
		return REFUSED_CHALLENGE;
	}
	if (hold < HOLD_MIN_MS || hold > HOLD_MAX_MS) {
		return REFUSED_HOLD;
	}
	guard_on(g, ON_UNLOCK, hold);
	return status(g, body, out, n);
}

static uint8_t lock(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	guard_on(g, ON_LOCK, 0);
	return status(g, body, out, n);
}

static uint8_t events(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	put32(out, g->events.oldest);
	put32(out + 4, g->events.newest);
	out[8] = (uint8_t)events_after(&g->events, get32(body), out + 9, EVENTS_MAX);
	*n += 9u + (size_t)out[8] * EVENT_SIZE;
	return 0;
}

static uint8_t self_test(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	uint8_t key[PAIRING_SIZE];
	unsigned passed = 0;

	(void)body;
	if (g->lock != LOCK_SHUT) {
		return REFUSED_BUSY;
	}
	if (image_digest_ok(&g->image)) {
		passed |= 1u;
	}
	if (!g->state_failed && counter_read(COUNTER_STARTS) == g->session.starts) {
		passed |= 2u;
	}
	if (pairing_read(key) && memcmp(key, g->session.pairing, PAIRING_SIZE) == 0) {
		passed |= 4u;
	}
	forget(key, sizeof key);
	if (!g->events.failed && g->events.newest != 0u) {
		passed |= 8u;
	}
	if (hal_stack_used() < hal_stack_size()) {
		passed |= 16u;
	}
	if (get32(hal_flash(BOARD_LOADER_INFO)) == LOADER_MAGIC) {
		passed |= 32u;
	}
	put16(out, (uint16_t)passed);
	put16(out + 2, hal_stack_used());
	put16(out + 4, hal_stack_size());
	out[6] = (uint8_t)(hal_started() == HAL_START_LOADER ? HAL_START_RESTART : hal_started());
	out[7] = g->input.stable;
	put32(out + 8, g->session.starts);
	put32(out + 12, g->frames_taken);
	put32(out + 16, g->frames_garbled);
	put32(out + 20, g->frames_refused);
	*n += 24u;
	return 0;
}

static uint8_t signal_(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	if (body[0] > 3u || get16(body + 1) > BUZZER_MAX_MS) {
		return REFUSED_MALFORMED;
	}
	g->lamp = body[0];
	g->left.buzzer = get16(body + 1);
	return status(g, body, out, n);
}

static uint8_t wipe(struct guard *g, const uint8_t *body, uint8_t *out, size_t *n)
{
	(void)body;
	(void)out;
	(void)n;
	/* The key leaves the flash before the answer says so; the session's keys
	 * are still there to seal it. */
	if (!pairing_wipe()) {
		g->state_failed = true;
		return REFUSED_FAULT;
	}
	g->wipe_after = true;
	return 0;
}

static const struct question questions[] = {
	{ 0x01, 0, info },
	{ 0x02, 1 + NONCE_SIZE, hello },
	{ 0x03, PAIRING_SIZE, pair },
	{ 0x04, 0, confirm },
	{ 0x05, 0, enter_loader_plain },
	{ 0x41, 0, status },
	{ 0x42, 0, challenge },
	{ 0x43, CHALLENGE_SIZE + 2, unlock },
	{ 0x44, 0, lock },
	{ 0x45, 4, events },
	{ 0x46, 0, self_test },
	{ 0x47, 3, signal_ },
	{ 0x48, 0, wipe },
	{ 0x49, 0, enter_loader },
};

static uint8_t ask(struct guard *g, uint8_t type, const uint8_t *body, size_t size, uint8_t *out, size_t *n)
{
	for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
		if (questions[i].type == type) {
			return size == questions[i].size ? questions[i].answer(g, body, out, n) : (uint8_t)REFUSED_MALFORMED;
		}
	}
	return REFUSED_UNKNOWN;
}

/* --- frames ----------------------------------------------------------------- */

static void send(const uint8_t *raw, size_t n)
{
	uint8_t wire[FRAME_MAX + 3u];

	hal_serial_put(wire, frame_encode(wire, raw, n));
}

static void send_plain(uint8_t *raw, uint8_t type, size_t n)
{
	raw[0] = type;
	put32(raw + 1 + n, crc32(raw, 1 + n));
	send(raw, PLAIN_OVERHEAD + n);
}

static void refuse_plain(struct guard *g, uint8_t type, uint8_t code)
{
	uint8_t raw[PLAIN_OVERHEAD + 2u];

	g->frames_refused++;
	raw[1] = type;
	raw[2] = code;
	send_plain(raw, TYPE_REFUSED_PLAIN, 2);
}

static void answer_plain(struct guard *g, const uint8_t *raw, size_t n)
{
	uint8_t out[FRAME_MAX];
	size_t size = 0;

	if (n < PLAIN_OVERHEAD || get32(raw + n - 4) != crc32(raw, n - 4)) {
		g->frames_garbled++;
		return;
	}
	g->frames_taken++;

	const uint8_t code = ask(g, raw[0], raw + 1, n - PLAIN_OVERHEAD, out + 1, &size);

	if (code != 0u) {
		refuse_plain(g, raw[0], code);
		return;
	}
	send_plain(out, raw[0] | TYPE_ANSWER, size);
}

static void answer_sealed(struct guard *g, const uint8_t *raw, size_t n)
{
	uint8_t out[FRAME_MAX];
	uint8_t *const body = out + SEALED_HEAD;
	size_t size = 4;

	if (n < SEALED_OVERHEAD) {
		g->frames_garbled++;
		return;
	}

	const uint8_t closed = session_take(&g->session, raw, n);

	if (closed != 0u) {
		refuse_plain(g, raw[0], closed);
		return;
	}
	if (g->session.sent == 0u) {
		events_add(&g->events, EVENT_SESSION, 0, g->now); /* the host has shown that it has the key */
	}
	g->frames_taken++;
	g->left.beat = BEAT_MS;
	(void)guard_confirm(g);
	put32(body, get32(raw + 1));

	const uint8_t code = ask(g, raw[0], raw + SEALED_HEAD, n - SEALED_OVERHEAD, body + 4, &size);
	uint8_t type = raw[0] | TYPE_ANSWER;

	if (code != 0u) {
		g->frames_refused++;
		events_add(&g->events, EVENT_REFUSED, code, g->now);
		type = TYPE_REFUSED_SEALED;
		body[4] = raw[0];
		body[5] = code;
		size = 6;
	}

	const size_t whole = session_seal(&g->session, out, type, size);

	if (whole == 0u) {
		guard_on(g, ON_LOST, 0);
		return;
	}
	send(out, whole);
}

void guard_answer(struct guard *g, uint8_t *raw, size_t n)
{
	if (n == 0u || (raw[0] & TYPE_ANSWER) != 0u) {
		g->frames_garbled++; /* an echo of our own, or not a frame */
		return;
	}
	if ((raw[0] & TYPE_SEALED) != 0u) {
		answer_sealed(g, raw, n);
	} else {
		answer_plain(g, raw, n);
	}
	if (g->wipe_after) {
		g->wipe_after = false;
		guard_on(g, ON_WIPE, 1);
	}
	if (g->loader_after) {
		g->loader_after = false;
		guard_on(g, ON_RESTART, 0);
		events_add(&g->events, EVENT_LOADER, 0, g->now);
		hal_restart(HAL_START_LOADER);
	}
}
