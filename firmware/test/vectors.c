/* testdata/protocol.txt, computed with neither the C nor the Go half. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"
#include "tinyssh/crypto_sign_ed25519.h"

/* One line: a kind and values by name. */
struct line {
	char text[4096];
	char *kind;
	unsigned number;
};

static const char *value(const struct line *l, const char *name)
{
	const size_t n = strlen(name);
	const char *p = l->kind + strlen(l->kind) + 1;

	while (*p != '\0') {
		if (strncmp(p, name, n) == 0 && p[n] == '=') {
			return p + n + 1;
		}
		p += strlen(p) + 1;
	}
	fail_msg("line %u: no %s", l->number, name);
	return "";
}

static size_t bytes(const struct line *l, const char *name, uint8_t *out)
{
	const char *v = value(l, name);
	size_t n = 0;

	if (strcmp(v, "-") == 0) {
		return 0;
	}
	for (; v[2 * n] != '\0'; n++) {
		unsigned b;

		assert_int_equal(sscanf(v + 2 * n, "%2x", &b), 1);
		out[n] = (uint8_t)b;
	}
	return n;
}

static uint32_t number(const struct line *l, const char *name)
{
	return (uint32_t)strtoul(value(l, name), NULL, 10);
}

/* Run a check on every line of a kind; there must be some. */
static void each(const char *kind, void (*check)(const struct line *))
{
	FILE *f = fopen("testdata/protocol.txt", "r");
	static struct line l;
	unsigned seen = 0;

	assert_non_null(f);
	l.number = 0;
	while (fgets(l.text, sizeof l.text - 1u, f) != NULL) {
		size_t n = strlen(l.text);

		l.number++;
		if (l.text[0] == '#' || l.text[0] == '\n') {
			continue;
		}
		assert_int_equal(l.text[n - 1u], '\n');
		l.text[n - 1u] = '\0';
		l.text[n] = '\0';
		for (size_t i = 0; i < n; i++) {
			if (l.text[i] == ' ') {
				l.text[i] = '\0';
			}
		}
		l.kind = l.text;
		if (strcmp(l.kind, kind) == 0) {
			check(&l);
			seen++;
		}
	}
	fclose(f);
	assert_true(seen > 0u);
}

static void check_crc32(const struct line *l)
{
	uint8_t in[512];
	const size_t n = bytes(l, "in", in);

	assert_int_equal(crc32(in, n), number(l, "out"));
}

/* Both ways: a block decodes to what encodes to it. */
static void check_cobs(const struct line *l)
{
	uint8_t raw[512], block[512], wire[512];
	const size_t raw_n = bytes(l, "raw", raw);
	const size_t block_n = bytes(l, "block", block);
	struct frame_reader r = { .n = 0 };
	size_t size = 0;

	assert_int_equal(frame_encode(wire, raw, raw_n), block_n + 2u);
	assert_memory_equal(wire + 1, block, block_n);
	for (size_t i = 0; i < block_n; i++) {
		assert_int_equal(frame_take(&r, block[i], &size), FRAME_NONE);
	}
	assert_int_equal(frame_take(&r, 0, &size), FRAME_WHOLE);
	assert_int_equal(size, raw_n);
	assert_memory_equal(r.block, raw, raw_n);
}

static void check_badcobs(const struct line *l)
{
	uint8_t block[512];
	const size_t n = bytes(l, "block", block);
	struct frame_reader r = { .n = 0 };
	size_t size = 0;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(frame_take(&r, block[i], &size), FRAME_NONE);
	}
	assert_int_equal(frame_take(&r, 0, &size), FRAME_GARBLED);
}

static void check_session(const struct line *l)
{
	static struct session s;
	uint8_t hostnonce[16], got[16], want[32];

	memset(&s, 0, sizeof s);
	bytes(l, "key", s.pairing);
	bytes(l, "host", hostnonce);
	bytes(l, "serial", s.serial);
	s.starts = number(l, "start");
	s.sessions = number(l, "sessions") - 1u;
	session_begin(&s, hostnonce, got);
	bytes(l, "board", want);
	assert_memory_equal(got, want, 16);
	bytes(l, "toboard", want);
	assert_memory_equal(s.from_host, want, 32);
	bytes(l, "tohost", want);
	assert_memory_equal(s.to_host, want, 32);
	peer.sent = 0;
	memcpy(peer.to_board, s.from_host, 32);
	memcpy(peer.to_host, s.to_host, 32);
}

static void check_challenge(const struct line *l)
{
	struct session s = { .starts = number(l, "start"), .sessions = number(l, "sessions"), .challenges = number(l, "n") - 1u };
	uint8_t got[16], want[16];

	bytes(l, "key", s.pairing);
	session_challenge(&s, got);
	bytes(l, "out", want);
	assert_memory_equal(got, want, 16);
}

static void check_pair(const struct line *l)
{
	struct session s = { .open = false };
	uint8_t got[16], want[16];

	bytes(l, "key", s.pairing);
	bytes(l, "serial", s.serial);
	session_proof(&s, got);
	bytes(l, "proof", want);
	assert_memory_equal(got, want, 16);
}

/* The session's keys are in peer since check_session. */
static void check_sealed(const struct line *l)
{
	struct session s = { .open = true, .taken = number(l, "counter") - 1u, .sent = number(l, "counter") - 1u };
	uint8_t raw[FRAME_MAX], wire[512], want[512];
	const size_t body_n = bytes(l, "body", raw + SEALED_HEAD);
	const size_t want_n = bytes(l, "wire", want);
	const bool to_board = strcmp(value(l, "to"), "board") == 0;

	memcpy(s.to_host, to_board ? peer.to_board : peer.to_host, 32);
	memcpy(s.from_host, s.to_host, 32);

	const size_t n = session_seal(&s, raw, (uint8_t)number(l, "type"), body_n);

	assert_int_equal(frame_encode(wire, raw, n), want_n);
	assert_memory_equal(wire, want, want_n);
	assert_int_equal(session_take(&s, raw, n), 0);
	assert_int_equal(session_take(&s, raw, n), REFUSED_REPLAY);
	raw[n - 1u] ^= 1u;
	assert_int_equal(session_take(&s, raw, n), REFUSED_TAG);
}

static void check_image(const struct line *l)
{
	static struct made m;
	uint8_t header[HEADER_SIZE];
	const uint16_t key = (uint16_t)number(l, "key");
	const struct recipe r = {
		.seed = key == KEY_PRODUCTION ? SEED_PRODUCTION : SEED_DEVELOPMENT,
		.key = key,
		.board = number(l, "board"),
		.link = number(l, "link"),
		.version = number(l, "version"),
		.rollback = number(l, "rollback"),
		.size = number(l, "size"),
	};
	struct image image;

	make_image(&m, r);
	assert_int_equal(bytes(l, "header", header), HEADER_SIZE);
	assert_memory_equal(m.bytes, header, HEADER_SIZE);
	assert_int_equal(header_check(header, r.link == BOARD_SLOT_A ? SLOT_A : SLOT_B, r.rollback, &image),
	                 r.board == BOARD_ID ? FAIL_NONE : FAIL_BOARD);
	assert_int_equal(image.version, r.version);
	assert_int_equal(image.rollback, r.rollback);
	assert_int_equal(image.size, r.size);
}

static void check_verify(const struct line *l)
{
	uint8_t key[32], message[512], signature[64];
	const size_t n = bytes(l, "message", message);

	bytes(l, "public", key);
	bytes(l, "signature", signature);
	assert_int_equal(signature_ok(key, message, n, signature), number(l, "ok"));
}

static void check_keyrecord(const struct line *l)
{
	uint8_t key[32], want[64];

	host_reset();
	bytes(l, "key", key);
	assert_true(pairing_write(key));

	const size_t n = bytes(l, "out", want);

	assert_memory_equal(hal_flash(BOARD_STATE + 4 * BOARD_PAGE), want, n);
}

static void check_event(const struct line *l)
{
	uint8_t want[64];
	struct events e;

	host_reset();
	events_open(&e, number(l, "start"));
	e.newest = number(l, "seq") - 1u;
	events_add(&e, (enum event_code)number(l, "code"), (uint8_t)number(l, "arg"), number(l, "ms"));

	const size_t n = bytes(l, "out", want);

	assert_memory_equal(hal_flash(BOARD_STATE + 5 * BOARD_PAGE), want, n);
}

static void test_crc32(void **state) { (void)state; each("crc32", check_crc32); }
static void test_cobs(void **state) { (void)state; each("cobs", check_cobs); each("badcobs", check_badcobs); }
static void test_session(void **state)
{
	(void)state;
	each("session", check_session);
	each("sealed", check_sealed);
	each("challenge", check_challenge);
	each("pair", check_pair);
}
static void test_images(void **state) { (void)state; each("image", check_image); }
static void test_signatures(void **state) { (void)state; each("verify", check_verify); }
static void test_state(void **state) { (void)state; each("keyrecord", check_keyrecord); each("event", check_event); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32),  cmocka_unit_test(test_cobs),       cmocka_unit_test(test_session),
		cmocka_unit_test(test_images), cmocka_unit_test(test_signatures), cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests_name("vectors", tests, NULL, NULL);
}
