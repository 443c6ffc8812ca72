/* The loader: which image starts, what is refused, and the terminal's side of it. */
#include <stdio.h>
#include <string.h>

#include "support.h"
#include "tinyssh/crypto_sign_ed25519.h"

static int fresh(void **state)
{
	(void)state;
	host_reset();
	host_serial_kept = 6;
	return 0;
}

/* A board whose UART loses nothing while flash is written, as the Pico's. */
static int fresh_early(void **state)
{
	(void)state;
	host_reset();
	host_serial_kept = 2048;
	return 0;
}

static enum host_exit run(const char *script);

/* --- which image starts ----------------------------------------------------------------- */

#define V(n) ((uint32_t)(n) << 24)

enum mark { NONE, NEW, TRIED, CONFIRMED };

static void place(enum slot s, uint32_t version, uint32_t sequence, enum mark m)
{
	if (m != NONE) {
		place_image(good(s, version, 0, 256), sequence, m != NEW, m == CONFIRMED);
	}
}

static void test_selection(void **state)
{
	static const struct {
		enum mark a, b;
		uint32_t seq_a, seq_b;
		unsigned starts;
		enum slot target;
	} cases[] = {
		{ NONE, NONE, 0, 0, NO_SLOT, SLOT_A },
		{ NEW, NONE, 1, 0, SLOT_A, SLOT_B },
		{ NONE, NEW, 0, 1, SLOT_B, SLOT_A },
		{ TRIED, NONE, 1, 0, SLOT_A, SLOT_B },
		{ CONFIRMED, NONE, 1, 0, SLOT_A, SLOT_B },
		{ CONFIRMED, NEW, 1, 2, SLOT_B, SLOT_B },
		{ CONFIRMED, TRIED, 1, 2, SLOT_A, SLOT_B },
		{ CONFIRMED, CONFIRMED, 1, 2, SLOT_B, SLOT_A },
		{ CONFIRMED, CONFIRMED, 2, 1, SLOT_A, SLOT_B },
		{ NEW, CONFIRMED, 2, 1, SLOT_A, SLOT_A },
		{ TRIED, CONFIRMED, 2, 1, SLOT_B, SLOT_A },
		{ TRIED, TRIED, 2, 1, SLOT_A, SLOT_B },
		{ TRIED, TRIED, 1, 2, SLOT_B, SLOT_A },
		{ NEW, NEW, 1, 2, SLOT_B, SLOT_A },
		{ NEW, TRIED, 1, 2, SLOT_A, SLOT_B },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		host_reset();
		place(SLOT_A, V(1), cases[i].seq_a, cases[i].a);
		place(SLOT_B, V(2), cases[i].seq_b, cases[i].b);
		assert_int_equal(boot_target(), cases[i].target);
		assert_int_equal(boot_select(false), cases[i].starts);
		assert_int_equal(host.violations, 0);
	}
}

static void test_new_image_is_tried_once(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	place(SLOT_B, V(2), 2, NEW);
	assert_int_equal(boot_select(false), SLOT_B);
	assert_true(trailer_read(SLOT_B).tried);
	assert_int_equal(boot_select(false), SLOT_A);
}

/* Which image a start for this reason runs; NO_SLOT: none, the loader waits. */
static unsigned started_by(enum hal_start why)
{
	host.started = why;
	switch (run("")) {
	case HOST_RUNS:
		return host.now < RECOVERY_MS && host.run == BOARD_SLOT_A + HEADER_SIZE ? SLOT_A
		       : host.now < RECOVERY_MS                                        ? SLOT_B
		                                                                       : NO_SLOT;
	case HOST_STOPS:
	case HOST_RESTARTS:
	default:
		return NO_SLOT;
	}
}

/* Two images that were tried and never confirmed, as on a board that is not paired yet. The
 * newer one crashes: the older one runs from then on, until the newer one is installed anew. */
static void test_of_two_tried_the_one_that_crashes_is_left(void **state)
{
	static const enum hal_start crashes[] = { HAL_START_WATCHDOG, HAL_START_FAULT };

	(void)state;
	for (size_t i = 0; i < 2u; i++) {
		host_reset();
		place(SLOT_A, V(1), 1, TRIED);
		place(SLOT_B, V(2), 2, NEW);
		host.now = 0;
		assert_int_equal(started_by(HAL_START_POWER), SLOT_B);
		host.now = 0;
		assert_int_equal(started_by(crashes[i]), SLOT_A);
		host.now = 0;
		assert_int_equal(started_by(HAL_START_POWER), SLOT_A);
		assert_int_equal(boot_target(), SLOT_B); /* the next installation goes there */
		assert_int_equal(host.violations, 0);
		/* The other one crashes too: a minute for whoever has another image, then it is tried. */
		host.now = 0;
		assert_int_equal(started_by(crashes[i]), NO_SLOT);
		assert_int_equal(host.run, BOARD_SLOT_B + HEADER_SIZE);
		assert_int_equal(host.violations, 0);
	}
}

static void glitch_ends(uint32_t ms)
{
	(void)ms;
	host.inputs = 0;
}

/* A service button that is struck is not held. */
static void test_glitch_is_no_service_button(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	host.inputs = HAL_IN_SERVICE;
	host.sleep = glitch_ends;
	assert_int_equal(started_by(HAL_START_POWER), SLOT_A);
}

/* A confirmed image is started after a crash too, and no other is blamed. */
static void test_crash_of_a_confirmed_image(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	place(SLOT_B, V(2), 2, TRIED);
	host.operations = 0;
	assert_int_equal(started_by(HAL_START_WATCHDOG), SLOT_A);
	assert_int_equal(host.operations, 0);
	/* A new one is tried though the one before crashed. */
	host_reset();
	place(SLOT_A, V(1), 1, TRIED);
	place(SLOT_B, V(2), 2, NEW);
	assert_int_equal(started_by(HAL_START_FAULT), SLOT_B);
	/* And a flash that fails keeps nothing from starting. */
	host_reset();
	place(SLOT_A, V(1), 1, TRIED);
	place(SLOT_B, V(2), 2, TRIED);
	host.fails_at = 1;
	assert_int_equal(started_by(HAL_START_FAULT), SLOT_A);
}

static void test_trial_that_cannot_be_marked_is_not_made(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	place(SLOT_B, V(2), 2, NEW);
	host.operations = 0;
	host.fails_at = 1;
	assert_int_equal(boot_select(false), SLOT_A);
}

static void test_torn_words_fall_to_the_careful_side(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 5, NEW);
	assert_int_equal(trailer_read(SLOT_A).sequence, 5);
	put32(host.flash + slot_trailer(SLOT_A) + 8, 0xFFFFFFFEu);
	put32(host.flash + slot_trailer(SLOT_A) + 12, 0x464E4FFFu);
	host.flash[slot_trailer(SLOT_A) + 4] ^= 1u;
	assert_true(trailer_read(SLOT_A).tried);
	assert_false(trailer_read(SLOT_A).confirmed);
	assert_int_equal(trailer_read(SLOT_A).sequence, 0);
}

/* --- what is refused ---------------------------------------------------------------------- */

static struct made made;

/* A changed header, signed again: what is refused is the field, not the signature. */
static void change32(unsigned at, uint32_t value)
{
	put32(made.bytes + at, value);
	sign_header(made.bytes, SEED_DEVELOPMENT);
}

static enum fail install_made(enum slot target)
{
	return install_all(target, made.bytes, made.n, 1024);
}

/* Refused before a byte was erased. */
static void assert_untouched(enum fail want)
{
	host.operations = 0;
	assert_int_equal(install_made(SLOT_B), want);
	assert_int_equal(host.operations, 0);
}

static void test_refused_before_flash_is_touched(void **state)
{
	const struct recipe r = good(SLOT_B, V(2), 3, 2048);

	(void)state;
	make_image(&made, r);
	made.bytes[0] = 'X';
	assert_untouched(FAIL_MAGIC);
	make_image(&made, r);
	put16(made.bytes + 8, 255);
	assert_untouched(FAIL_HEADER);
	make_image(&made, r);
	put16(made.bytes + 10, 2);
	assert_untouched(FAIL_HEADER);
	make_image(&made, r);
	change32(64, 1);
	assert_untouched(FAIL_HEADER);
	make_image(&made, r);
	made.bytes[255] = 1;
	assert_untouched(FAIL_HEADER);
	make_image(&made, r);
	change32(16, 2047);
	assert_untouched(FAIL_SIZE);
	make_image(&made, r);
	change32(16, 4);
	assert_untouched(FAIL_SIZE);
	make_image(&made, r);
	change32(16, BOARD_SLOT_SIZE - HEADER_SIZE - BOARD_PAGE + 4u);
	assert_untouched(FAIL_SIZE);
	make_image(&made, r);
	made.bytes[HEADER_SIGNATURE] ^= 1u;
	assert_untouched(FAIL_SIGNATURE);
	make_image(&made, r);
	made.bytes[24] ^= 1u; /* the version, not signed again */
	assert_untouched(FAIL_SIGNATURE);
	assert_true(counter_raise(COUNTER_FLOOR, 4));
	make_image(&made, r);
	assert_untouched(FAIL_OLDER);
}

/* For a key of small order the signature R = 1, S = 0 fits one message of a few. None
 * of them may. */
static void test_keys_of_small_order(void **state)
{
	static const uint8_t whole[][32] = {
		{ 0 }, { 1 },
		{ 0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
		  0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05 },
	};
	const uint8_t identity[64] = { 1 };
	uint8_t key[32];

	(void)state;
	for (unsigned i = 0; i < 3u; i++) {
		bool library = false;

		for (unsigned k = 0; k < 64u; k++) {
			uint8_t message[4], sealed[68], opened[68];
			unsigned long long n = 0;

			put32(message, k);
			memcpy(sealed, identity, 64);
			memcpy(sealed + 64, message, 4);
			library = library || crypto_sign_ed25519_open(opened, &n, sealed, 68, whole[i]) == 0;
			assert_false(signature_ok(whole[i], message, sizeof message, identity));
		}
		assert_true(library); /* it would have been taken */
		memcpy(key, whole[i], 32);
		assert_false(key_ok(key));
		key[31] |= 0x80u;
		assert_false(key_ok(key));
	}
	/* -1, and what is not reduced */
	memset(key, 0xFF, 32);
	for (unsigned i = 0; i < 3u; i++) {
		key[0] = (uint8_t)(0xECu + i);
		key[31] = 0x7F;
		assert_false(key_ok(key));
	}
	key[0] = 0xEB;
	assert_true(key_ok(key));
	assert_true(key_ok(boot_key(KEY_DEVELOPMENT)));
}

static void test_keys_are_kept_apart(void **state)
{
	struct recipe r = good(SLOT_B, V(2), 3, 2048);

	(void)state;
	/* development key under a production header */
	r.key = KEY_PRODUCTION;
	make_image(&made, r);
	assert_untouched(FAIL_SIGNATURE);
	/* and the other way round */
	r.key = KEY_DEVELOPMENT;
	r.seed = SEED_PRODUCTION;
	make_image(&made, r);
	assert_untouched(FAIL_SIGNATURE);
	r.key = KEY_PRODUCTION;
	make_image(&made, r);
	assert_int_equal(install_made(SLOT_B), FAIL_NONE);
}

static void test_largest_image(void **state)
{
	(void)state;
	make_image(&made, good(SLOT_B, V(2), 3, BOARD_SLOT_SIZE - HEADER_SIZE - BOARD_PAGE));
	assert_int_equal(install_made(SLOT_B), FAIL_NONE);
	assert_int_equal(boot_select(false), SLOT_B);
	assert_int_equal(host.violations, 0);
}

static void test_damaged_body(void **state)
{
	struct image image;

	(void)state;
	make_image(&made, good(SLOT_B, V(2), 3, 2048));
	made.bytes[1000] ^= 1u;
	assert_int_equal(install_made(SLOT_B), FAIL_DIGEST);
	assert_int_equal(image_check(SLOT_B, 0, &image), FAIL_MAGIC); /* the header never came */
	/* a reset handler outside of the body, signed all the same */
	make_image(&made, good(SLOT_B, V(2), 3, 2048));
	put32(made.bytes + HEADER_SIZE + 4, BOARD_SLOT_B + HEADER_SIZE - 1u);
	hash(made.bytes + 32, made.bytes + HEADER_SIZE, 2048);
	sign_header(made.bytes, SEED_DEVELOPMENT);
	assert_int_equal(install_made(SLOT_B), FAIL_HEADER);
	put32(made.bytes + HEADER_SIZE + 4, BOARD_SLOT_B + HEADER_SIZE + 2048u);
	hash(made.bytes + 32, made.bytes + HEADER_SIZE, 2048);
	sign_header(made.bytes, SEED_DEVELOPMENT);
	assert_int_equal(install_made(SLOT_B), FAIL_HEADER);
	/* flash that rots later */
	make_image(&made, good(SLOT_B, V(2), 3, 2048));
	assert_int_equal(install_made(SLOT_B), FAIL_NONE);
	host.flash[BOARD_SLOT_B + 1500u] ^= 8u;
	assert_int_equal(boot_select(false), NO_SLOT);
}

static void test_flash_that_fails(void **state)
{
	(void)state;
	make_image(&made, good(SLOT_B, V(2), 3, 2048));
	/* every operation may be the one: the loader says so, and nothing starts */
	for (uint32_t at = 1; at < 700u; at++) {
		host_reset();
		host.fails_at = at;

		const enum fail f = install_made(SLOT_B);

		if (f == FAIL_NONE) {
			assert_true(at > host.operations); /* it was never reached */
			return;
		}
		assert_int_equal(f, FAIL_FLASH);
		assert_int_equal(boot_select(false), NO_SLOT);
	}
	fail_msg("the installation never ended");
}

static void test_bundles(void **state)
{
	static uint8_t both[8192];
	size_t n;

	(void)state;
	make_image(&made, good(SLOT_A, V(2), 0, 2048));
	memcpy(both, made.bytes, made.n);
	n = made.n;
	make_image(&made, good(SLOT_B, V(2), 0, 1020));
	memcpy(both + n, made.bytes, made.n);
	n += made.n;
	for (size_t block = 128; block <= 1024; block += 896) {
		host_reset();
		assert_int_equal(install_all(SLOT_A, both, n, block), FAIL_NONE);
		assert_int_equal(install_all(SLOT_B, both, n, block), FAIL_NONE);
		assert_int_equal(trailer_read(SLOT_B).sequence, 2);
		assert_int_equal(host.violations, 0);
	}
	/* A alone, for B; with and without the transfer's padding */
	make_image(&made, good(SLOT_A, V(2), 0, 2048));
	assert_int_equal(install_made(SLOT_B), FAIL_SLOT);
	memset(both, 0x1A, sizeof both);
	memcpy(both, made.bytes, made.n);
	assert_int_equal(install_all(SLOT_B, both, made.n + 1024, 1024), FAIL_SLOT);
	assert_int_equal(install_all(SLOT_B, both, made.n + 128, 128), FAIL_SLOT);
	/* for another board */
	struct recipe r = good(SLOT_B, V(2), 0, 2048);

	r.board = 3;
	make_image(&made, r);
	assert_int_equal(install_made(SLOT_B), FAIL_BOARD);
	memset(both, 0x1A, sizeof both);
	memcpy(both, made.bytes, made.n);
	assert_int_equal(install_all(SLOT_B, both, made.n + 1024, 1024), FAIL_BOARD);
	/* another board's size is not ours to judge, but it must not wrap */
	put32(made.bytes + 16, 0xFFFFFFFCu);
	assert_int_equal(install_made(SLOT_B), FAIL_SIZE);
}

static void test_torn_transfers(void **state)
{
	(void)state;
	make_image(&made, good(SLOT_B, V(2), 0, 4096));
	assert_int_equal(install_all(SLOT_B, made.bytes, 0, 128), FAIL_MAGIC);
	assert_int_equal(install_all(SLOT_B, made.bytes, 128, 128), FAIL_TORN);
	assert_int_equal(install_all(SLOT_B, made.bytes, 256, 128), FAIL_TORN);
	assert_int_equal(install_all(SLOT_B, made.bytes, 2048, 128), FAIL_TORN);
	assert_int_equal(install_all(SLOT_A, made.bytes, 2048, 128), FAIL_TORN);
	made.bytes[0] = 'x';
	assert_int_equal(install_all(SLOT_B, made.bytes, 128, 128), FAIL_MAGIC);
	assert_int_equal(boot_select(false), NO_SLOT);
}

/* --- the terminal -------------------------------------------------------------------------- */

/* What is typed, and what is printed. A script runs until the loader starts an
 * image, or has been silent for long with nothing left to type. */
static const uint8_t *typed;
static size_t typed_left;
static char printed[16384];
static size_t printed_n;
static uint32_t gives_up;

/* The other end of a transfer; bytes it sends come before what is typed. */
static struct sender {
	const uint8_t *data;
	size_t n;
	size_t block;     /* 128 or 1024 */
	size_t at;        /* of the block that is out */
	uint8_t number;
	bool begun, active;
	bool ended;       /* EOT is out */
	uint8_t out[1030];
	size_t out_n, out_at;
	uint8_t last;     /* the last answer */
	unsigned naks;
	unsigned garble;  /* the n-th block is garbled once */
	unsigned lose;    /* the n-th block loses its last byte, once */
	unsigned behead;  /* the first block loses so many bytes at its head, once */
	unsigned stray;   /* a 04 is on the line before or instead of the n-th block, once */
	unsigned repeat;  /* the n-th block is sent twice: its ACK was lost */
	unsigned skip;    /* the n-th block is left out */
	unsigned stop;    /* nothing after the n-th block */
	unsigned cancel;  /* two CAN instead of the n-th block */
	bool stubborn;    /* every block is garbled */
	bool half_cancel; /* a single CAN, then the block again */
	unsigned insists; /* sends the end so often, whatever is answered but ACK: as lrzsz does */
} sender;

static void stage(void)
{
	struct sender *s = &sender;
	const unsigned n = (unsigned)(s->at / s->block) + 1u;

	s->out_at = 0;
	if (s->cancel == n) {
		s->out[0] = 0x18;
		s->out[1] = 0x18;
		s->out_n = 2;
		s->active = false;
		return;
	}
	if (s->stop == n) {
		s->out_n = 0;
		return;
	}
	if (s->at >= s->n) {
		s->out[0] = 0x04;
		s->out_n = 1;
		s->ended = true;
		return;
	}
	memset(s->out, 0x1A, sizeof s->out);
	s->out[0] = s->block == 128u ? 0x01 : 0x02;
	s->out[1] = (uint8_t)(s->skip == n ? s->number + 1u : s->number);
	s->out[2] = (uint8_t)~s->out[1];
	memcpy(s->out + 3, s->data + s->at, s->n - s->at < s->block ? s->n - s->at : s->block);

	uint16_t crc = 0;

	for (size_t i = 0; i < s->block; i++) {
		crc ^= (uint16_t)(s->out[3 + i] << 8);
		for (unsigned bit = 0; bit < 8u; bit++) {
			const bool carry = (crc & 0x8000u) != 0u;

			crc = (uint16_t)(crc << 1);
			crc ^= carry ? 0x1021u : 0u;
		}
	}
	s->out[3 + s->block] = (uint8_t)(crc >> 8);
	s->out[4 + s->block] = (uint8_t)crc;
	s->out_n = s->block + 5u;
	if (s->garble == n || s->stubborn) {
		s->out[50] ^= 1u;
		s->garble = 0;
	}
	if (s->lose == n) {
		s->out_n--;
		s->lose = 0;
	}
	if (s->behead > 0u) {
		s->out_n -= s->behead;
		memmove(s->out, s->out + s->behead, s->out_n);
		s->behead = 0;
	}
	if (s->stray == n) {
		memmove(s->out + 1, s->out, s->out_n);
		s->out[0] = 0x04;
		s->out_n = n % 2u == 0u ? s->out_n + 1u : 1u; /* or instead of it */
		s->stray = 0;
	}
	if (s->half_cancel) {
		s->out[0] = 0x18;
		s->out_n = 1;
		s->half_cancel = false;
	}
}

static void answered(uint8_t byte)
{
	struct sender *s = &sender;

	s->last = byte;
	switch (byte) {
	case 'C':
		if (s->at == 0u && s->out_at == s->out_n) {
			stage(); /* of an empty file that is its end, again */
		}
		break;
	case 0x06:
		if (s->ended) {
			s->active = false;
			break;
		}
		if (s->repeat == (unsigned)(s->at / s->block) + 1u) {
			s->repeat = 0;
			s->out_at = 0;
			break;
		}
		s->at += s->block;
		s->number++;
		stage();
		break;
	case 0x15:
		s->naks++;
		stage();
		break;
	case 0x18:
		if (s->ended && s->insists > 0u) {
			s->insists--;
			stage();
			break;
		}
		s->active = false;
		s->out_n = 0;
		break;
	default:
		break;
	}
}

static bool terminal_get(uint8_t *byte)
{
	struct sender *s = &sender;

	if (s->out_at < s->out_n) {
		*byte = s->out[s->out_at++];
		return true;
	}
	if (s->active) {
		assert_true(host.now < 100u * RECOVERY_MS); /* the loader gives up long before */
		return false;
	}
	if (typed_left > 0u) {
		*byte = *typed++;
		typed_left--;
		if (typed_left == 0u) {
			gives_up = host.now + 2u * RECOVERY_MS;
		}
		return true;
	}
	if (host.now > gives_up) {
		longjmp(host.leave, HOST_STOPS);
	}
	return false;
}

/* A host that asks for ever who is there: every 5 s, as the daemon does. */
static bool polls;
static uint32_t polled;

static bool polling_get(uint8_t *byte)
{
	static const char probe[] = "\x18\x18\0\x06\x01zz\x02\x03\0\r\rinfo\r";
	static size_t at;

	if (host.now > 3u * RECOVERY_MS) {
		longjmp(host.leave, HOST_STOPS);
	}
	if (at == sizeof probe - 1u) {
		if (host.now - polled < 5000u) {
			return false;
		}
		polled = host.now;
		at = 0;
	}
	*byte = (uint8_t)probe[at++];
	return true;
}

static void terminal_put(const uint8_t *bytes, size_t n)
{
	static const char ready[] = "ready ";

	for (size_t i = 0; i < n; i++) {
		if (printed_n + 1u < sizeof printed) {
			printed[printed_n++] = (char)bytes[i];
			printed[printed_n] = '\0';
		}
		if (sender.active) {
			answered(bytes[i]);
		} else if (sender.block > 0u && !sender.begun && bytes[i] == '\n' &&
		           strstr(printed, ready) != NULL) {
			sender.active = true;
			sender.begun = true;
		}
	}
}

/* Run the loader with a script; returns why it left. */
static enum host_exit run(const char *script)
{
	typed = (const uint8_t *)script;
	typed_left = strlen(script);
	printed_n = 0;
	printed[0] = '\0';
	gives_up = host.now + 2u * RECOVERY_MS;
	host.clock_runs = true;
	host.get = polls ? polling_get : terminal_get;
	host.put = terminal_put;

	const int left = setjmp(host.leave);

	if (left == 0) {
		boot();
	}
	return (enum host_exit)left;
}

static void assert_printed(const char *text)
{
	if (strstr(printed, text) == NULL) {
		fail_msg("\"%s\" is not in: %s", text, printed);
	}
}

static enum host_exit transfer(const uint8_t *data, size_t n, size_t block)
{
	const struct sender set = sender;

	sender = (struct sender){
		.data = data, .n = n, .block = block, .number = 1, .garble = set.garble, .lose = set.lose, .repeat = set.repeat,
		.skip = set.skip, .stop = set.stop, .cancel = set.cancel, .stubborn = set.stubborn, .half_cancel = set.half_cancel,
		.insists = set.insists, .behead = set.behead, .stray = set.stray,
	};
	host.inputs = HAL_IN_SERVICE;

	const enum host_exit left = run("load\rinfo\r");

	memset(&sender, 0, sizeof sender);
	return left;
}

static void test_blank_board_waits(void **state)
{
	(void)state;
	assert_int_equal(run("\n"), HOST_STOPS);
	assert_printed("faceprint-loader 1.0.0 board=1 serial=e0e1e2e3e4e5e6e7 key=");
	assert_printed("floor=0\r\nslot A empty\r\nslot B empty\r\ntarget A 0x00008000\r\n> ");
	assert_printed("error none: ");
	assert_int_equal(host.outputs, 0);
}

static void test_commands(void **state)
{
	(void)state;
	place(SLOT_A, 0x01020304u, 7, CONFIRMED);
	place(SLOT_B, V(2), 8, TRIED);
	host.inputs = HAL_IN_SERVICE;
	assert_int_equal(run("hellp\b\x7f\x7flp\r\n\x01\x80zzz\r\b\binfo\rboot\r"), HOST_RUNS);
	assert_int_equal(host.run, BOARD_SLOT_A + HEADER_SIZE);
	assert_printed("load  receive an image");
	assert_printed("error command: ");
	assert_printed("slot A 1.2.772 rollback=0 sequence=7 confirmed\r\nslot B 2.0.0 rollback=0 sequence=8 tried\r\n");
	assert_printed("boot A 1.2.772\r\n");
}

static void test_long_lines(void **state)
{
	(void)state;
	assert_int_equal(run("a line of more than thirty-two characters\r"), HOST_STOPS);
	assert_printed("error command: ");
	assert_null(strstr(printed, "characters"));
}

static void test_what_is_in_the_slots(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, NEW);
	host.flash[BOARD_SLOT_A + 300u] ^= 1u;
	place(SLOT_B, V(3), 1, NEW);
	host.started = HAL_START_LOADER;
	assert_int_equal(run("boot\r"), HOST_RUNS);
	assert_int_equal(host.run, BOARD_SLOT_B + HEADER_SIZE);
	assert_printed("slot A bad digest\r\nslot B 3.0.0 rollback=0 sequence=1 new\r\ntarget A ");
}

static void test_silence_starts_the_image(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	host.started = HAL_START_LOADER;
	assert_int_equal(run("info\r"), HOST_RUNS);
	assert_true(host.now >= RECOVERY_MS);
}

static void test_polling_does_not_keep_it(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	place(SLOT_B, V(2), 2, CONFIRMED);
	host.started = HAL_START_LOADER;
	polls = true;
	assert_int_equal(run(""), HOST_RUNS);
	polls = false;
	assert_int_equal(host.run, BOARD_SLOT_B + HEADER_SIZE);
	assert_in_range(host.now, RECOVERY_MS, RECOVERY_MS + 10000u);
}

/* Somebody who reads the help has a minute from then on. */
static void test_a_person_keeps_it(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	host.started = HAL_START_LOADER;
	host.now = 1000;
	assert_int_equal(run("help\r"), HOST_RUNS);
	assert_true(host.now >= 1000u + RECOVERY_MS);
}

/* Two whole images of the largest size, and the watchdog runs while they are looked at:
 * at a start, for info, for load and for boot. */
static void test_watchdog_is_fed(void **state)
{
	const uint32_t largest = BOARD_SLOT_SIZE - HEADER_SIZE - BOARD_PAGE;

	(void)state;
	place_image((struct recipe){ .seed = SEED_DEVELOPMENT, .board = BOARD_ID, .link = BOARD_SLOT_A, .version = V(1), .size = largest }, 1, true, true);
	place_image((struct recipe){ .seed = SEED_DEVELOPMENT, .board = BOARD_ID, .link = BOARD_SLOT_B, .version = V(2), .size = largest }, 2, true, true);
	host.unfed_us = 0;
	host.longest_us = 0;
	hal_watchdog(); /* it runs: the application was sent here */
	host.started = HAL_START_LOADER;
	assert_int_equal(run("info\rload\r\x18\x18" "info\rboot\r"), HOST_RUNS);
	assert_printed("error cancelled: ");
	assert_false(host.bitten);
	/* The test would see it: a signature and a digest were done, in one piece each. */
	assert_true(host.longest_us >= HOST_SIGNATURE_US);
	assert_true(host.longest_us < HOST_SIGNATURE_US + largest / 64u * HOST_BLOCK_US);
	/* And an installation, whose body is looked at once more. */
	make_image(&made, good(SLOT_A, V(3), 0, largest));
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_RUNS);
	assert_printed("ok A 3.0.0\r\n");
	assert_false(host.bitten);
	/* An image that hangs is bitten: the watchdog runs before it starts. */
	host.fed = 0;
	host.started = HAL_START_POWER;
	host.inputs = 0;
	assert_int_equal(run(""), HOST_RUNS);
	assert_true(host.fed > 0u);
}

static void test_normal_start_is_silent(void **state)
{
	(void)state;
	place(SLOT_A, V(1), 1, CONFIRMED);
	assert_int_equal(run(""), HOST_RUNS);
	assert_int_equal(printed_n, 0);
	assert_true(host.now < 10u);
}

static void test_load(void **state)
{
	(void)state;
	for (size_t block = 128; block <= 1024; block += 896) {
		host_reset();
		make_image(&made, good(SLOT_A, V(5), 0, 5000));
		assert_int_equal(transfer(made.bytes, made.n, block), HOST_RUNS);
		assert_printed("ready A 0x00008000\r\n");
		assert_printed("ok A 5.0.0\r\n");
		assert_int_equal(host.violations, 0);
	}
}

static void test_bad_lines_are_mended(void **state)
{
	(void)state;
	make_image(&made, good(SLOT_A, V(5), 0, 5000));
	sender.garble = 2;
	sender.lose = 3;
	sender.repeat = 4;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_RUNS);
	assert_printed("ok A 5.0.0\r\n");
	/* also before the first block was taken */
	host_reset();
	sender.garble = 1;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_RUNS);
	assert_printed("ok A 5.0.0\r\n");
	host_reset();
	sender.half_cancel = true;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_RUNS);
	assert_printed("ok A 5.0.0\r\n");
}

static void test_transfers_that_fail(void **state)
{
	(void)state;
	make_image(&made, good(SLOT_A, V(5), 0, 5000));
	sender.skip = 3;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_STOPS);
	assert_printed("error transfer: ");
	sender.cancel = 3;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_STOPS);
	assert_printed("error cancelled: ");
	sender.cancel = 1;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_STOPS);
	assert_printed("error cancelled: ");
	sender.stop = 3;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_STOPS);
	assert_printed("error transfer: ");
	sender.stop = 1;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_STOPS);
	assert_printed("error transfer: ");
	sender.stubborn = true;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_STOPS);
	assert_printed("error transfer: ");
	assert_int_equal(transfer(made.bytes, 3000, 1024), HOST_STOPS);
	assert_printed("error torn: ");

	/* The end is refused as often as it comes, at once. */
	sender.insists = 9;

	const uint32_t start = host.now;

	assert_int_equal(transfer(made.bytes, 3000, 1024), HOST_STOPS);
	assert_printed("error torn: ");
	assert_in_range(gives_up - start, 2u * RECOVERY_MS, 2u * RECOVERY_MS + 20000u);
	made.bytes[40] ^= 1u;
	assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_STOPS);
	assert_printed("error signature: ");
	assert_printed("slot A empty"); /* as before */
	assert_int_equal(boot_select(false), NO_SLOT);
}

/* How often the loader asked for a file. */
static unsigned invitations(void)
{
	const char *p = strstr(printed, "ready ");
	unsigned n = 0;

	for (p = p != NULL ? strchr(p, '\n') : NULL; p != NULL && *p != '\0' && *p != 'o' && *p != 'e'; p++) {
		n += *p == 'C' ? 1u : 0u;
	}
	return n;
}

/* Bytes that are lost at the head of the first block: what is left of it is no end, no
 * other block, and no reason to ask for each byte of it. Images differ, and with them what
 * the rest of the block looks like. */
static void test_first_block_loses_its_head(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 24u; i++) {
		host_reset();
		make_image(&made, good(SLOT_A, 0x01000000u + i, 0, 5000));
		sender.behead = 1u + i % 4u;
		assert_int_equal(transfer(made.bytes, made.n, i % 2u == 0u ? 1024 : 128), HOST_RUNS);
		assert_printed("ok A 1.0.");
		assert_true(invitations() <= 2u);
	}
}

/* A byte of noise that looks like an end, before a block or instead of one, is asked
 * about. */
static void test_stray_end(void **state)
{
	(void)state;
	make_image(&made, good(SLOT_A, V(5), 0, 5000));
	for (unsigned n = 1; n <= 6u; n++) {
		host_reset();
		sender.stray = n;
		assert_int_equal(transfer(made.bytes, made.n, 1024), HOST_RUNS);
		assert_printed("ok A 5.0.0\r\n");
	}
	host_reset();
	host.inputs = HAL_IN_SERVICE;
	assert_int_equal(run("load\r\x04"), HOST_STOPS);
	assert_printed("error transfer: "); /* nobody was there */
}

/* An image is whole with its last byte: whatever becomes of the sender behind it, the
 * loader starts it, and so says ok. */
static void test_whole_before_the_end(void **state)
{
	(void)state;
	make_image(&made, good(SLOT_A, V(5), 0, 5000));
	for (unsigned how = 0; how < 3u; how++) {
		host_reset();
		sender.cancel = how == 0u ? (unsigned)(made.n / 1024u) + 1u : 0u;
		sender.stop = how == 1u ? (unsigned)(made.n / 1024u) + 1u : 0u;
		sender.skip = how == 2u ? (unsigned)(made.n / 1024u) + 1u : 0u;
		/* Padding behind the image, in a block of its own. */
		assert_int_equal(transfer(made.bytes, made.n + (how == 2u ? 1024u : 0u), 1024), HOST_RUNS);
		assert_printed("ok A 5.0.0\r\n");
		assert_null(strstr(printed, "error"));
		assert_printed("boot A 5.0.0\r\n");
	}
}

static void test_empty_file(void **state)
{
	(void)state;
	/* nothing but its end, as often as it is asked for */
	host.inputs = HAL_IN_SERVICE;
	assert_int_equal(transfer(made.bytes, 0, 1024), HOST_STOPS);
	assert_printed("error magic: ");
	assert_null(strstr(printed, "\x06")); /* an ACK would call it well */
}

static void test_garbage_without_end(void **state)
{
	static char noise[6000];

	(void)state;
	memset(noise, 'U', sizeof noise - 1u);
	memcpy(noise, "load\r", 5);
	noise[5] = 0x01; /* a block begins, and never ends well */
	assert_int_equal(run(noise), HOST_STOPS);
	assert_printed("error transfer: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_selection, fresh),
		cmocka_unit_test_setup(test_new_image_is_tried_once, fresh),
		cmocka_unit_test_setup(test_of_two_tried_the_one_that_crashes_is_left, fresh),
		cmocka_unit_test_setup(test_crash_of_a_confirmed_image, fresh),
		cmocka_unit_test_setup(test_glitch_is_no_service_button, fresh),
		cmocka_unit_test_setup(test_trial_that_cannot_be_marked_is_not_made, fresh),
		cmocka_unit_test_setup(test_torn_words_fall_to_the_careful_side, fresh),
		cmocka_unit_test_setup(test_refused_before_flash_is_touched, fresh),
		cmocka_unit_test_setup(test_keys_of_small_order, fresh),
		cmocka_unit_test_setup(test_keys_are_kept_apart, fresh),
		cmocka_unit_test_setup(test_largest_image, fresh),
		cmocka_unit_test_setup(test_damaged_body, fresh),
		cmocka_unit_test_setup(test_flash_that_fails, fresh),
		cmocka_unit_test_setup(test_bundles, fresh),
		cmocka_unit_test_setup(test_torn_transfers, fresh),
		cmocka_unit_test_setup(test_blank_board_waits, fresh),
		cmocka_unit_test_setup(test_commands, fresh),
		cmocka_unit_test_setup(test_long_lines, fresh),
		cmocka_unit_test_setup(test_what_is_in_the_slots, fresh),
		cmocka_unit_test_setup(test_silence_starts_the_image, fresh),
		cmocka_unit_test_setup(test_polling_does_not_keep_it, fresh),
		cmocka_unit_test_setup(test_a_person_keeps_it, fresh),
		cmocka_unit_test_setup(test_watchdog_is_fed, fresh),
		cmocka_unit_test_setup(test_normal_start_is_silent, fresh),
		cmocka_unit_test_setup(test_load, fresh),
		cmocka_unit_test_setup(test_load, fresh_early),
		cmocka_unit_test_setup(test_bad_lines_are_mended, fresh),
		cmocka_unit_test_setup(test_bad_lines_are_mended, fresh_early),
		cmocka_unit_test_setup(test_transfers_that_fail, fresh),
		cmocka_unit_test_setup(test_transfers_that_fail, fresh_early),
		cmocka_unit_test_setup(test_first_block_loses_its_head, fresh),
		cmocka_unit_test_setup(test_first_block_loses_its_head, fresh_early),
		cmocka_unit_test_setup(test_stray_end, fresh),
		cmocka_unit_test_setup(test_stray_end, fresh_early),
		cmocka_unit_test_setup(test_whole_before_the_end, fresh),
		cmocka_unit_test_setup(test_whole_before_the_end, fresh_early),
		cmocka_unit_test_setup(test_empty_file, fresh),
		cmocka_unit_test_setup(test_garbage_without_end, fresh),
	};

	return cmocka_run_group_tests_name("boot", tests, NULL, NULL);
}
