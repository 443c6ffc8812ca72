/* The power is cut at every flash operation: before it, and in it, with a torn word
 * or page. What must hold then is checked on the flash as it is at that moment,
 * and the run goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* What must hold whenever the power comes back. */
static void (*holds)(void);
static uint32_t cuts;
static uint32_t noise = 1;

/* xorshift: the same tears in every run. */
static uint32_t next_noise(void)
{
	noise ^= noise << 13;
	noise ^= noise >> 17;
	noise ^= noise << 5;
	return noise;
}

/* The world after a cut: checked, and put back. */
static void check_cut(void)
{
	static struct host before;

	cuts++;
	memcpy(&before, &host, sizeof host);
	host.operation = NULL;
	holds();
	assert_int_equal(host.violations, 0);
	memcpy(&host, &before, sizeof host);
}

/* A page in the middle of its erase: some bytes are up, some are half way. */
static void tear_erase(uint8_t *page)
{
	/* Every other time in the front, where a record of one page is. */
	const uint32_t done = next_noise() % (next_noise() % 2u == 0u ? BOARD_PAGE : 40u);

	for (uint32_t i = 0; i < BOARD_PAGE; i++) {
		page[i] |= i < done ? 0xFFu : (uint8_t)next_noise();
	}
}

static void cut(enum host_operation what, uint32_t address, uint32_t word)
{
	static uint8_t page[BOARD_PAGE];
	uint8_t *at = host.flash + address;
	const size_t n = what == HOST_ERASE ? BOARD_PAGE : 4u;

	check_cut();
	memcpy(page, at, n);
	for (unsigned i = 0; i < 2u; i++) {
		if (what == HOST_ERASE) {
			tear_erase(at);
			/* Torn or not, what is not blank needs another erase. */
		} else {
			put32(at, word | next_noise()); /* some of the bits are not down yet */
		}
		check_cut();
		memcpy(at, page, n);
	}
}

static void watch(void (*h)(void))
{
	holds = h;
	cuts = 0;
	host.operation = cut;
}

static void end(const char *what, uint32_t at_least)
{
	host.operation = NULL;
	check_cut();
	assert_int_equal(host.violations, 0);
	assert_true(cuts >= at_least);
	print_message("%s: %u flash operations, %u cuts\n", what, host.operations, cuts);
}

/* The application after the cut, beside the one that the test goes on with. */
static struct guard again;

/* The version that the loader starts; 0: none. */
static uint32_t started(void)
{
	const unsigned s = boot_select(false);
	struct image image;

	if (s == NO_SLOT) {
		return 0;
	}
	assert_int_equal(image_check((enum slot)s, counter_read(COUNTER_FLOOR), &image), FAIL_NONE);
	return image.version;
}

/* --- upgrade ------------------------------------------------------------------------ */

#define OLD 0x01000000u
#define NEW 0x02000000u

static uint32_t upgrade_size(void)
{
	const char *s = getenv("GUARD_UPGRADE_BYTES");

	return s != NULL ? (uint32_t)strtoul(s, NULL, 10) : 3072u;
}

/* Old or new, whole; and an interrupted installation can be repeated. */
static void old_or_new(void)
{
	const uint32_t first = started();

	assert_true(first == OLD || first == NEW);
	/* A trial that is not confirmed is over with the next start. */
	assert_int_equal(started(), OLD);
	assert_int_equal(boot_target(), SLOT_B);
}

static void test_upgrade(void **state)
{
	static struct made m;

	(void)state;
	host_reset();
	place_image(good(SLOT_A, OLD, 0, upgrade_size()), 1, true, true);
	/* What was there before: an older image whose trailer says confirmed. */
	place_image(good(SLOT_B, OLD - 1u, 0, 512), 0, true, true);
	make_image(&m, good(SLOT_B, NEW, 1, upgrade_size()));
	host.operations = 0;
	watch(old_or_new);
	assert_int_equal(install_all(SLOT_B, m.bytes, m.n, 1024), FAIL_NONE);
	end("upgrade", 3u * upgrade_size() / 4u);
	assert_int_equal(started(), NEW);
}

/* The first image of a blank board: nothing, or the image. */
static void nothing_or_new(void)
{
	const uint32_t first = started();

	assert_true(first == 0u || first == NEW);
	assert_int_equal(started(), first); /* a trial, but there is nothing else */
}

static void test_first_image(void **state)
{
	static struct made m;

	(void)state;
	host_reset();
	make_image(&m, good(SLOT_A, NEW, 0, 1024));
	watch(nothing_or_new);
	assert_int_equal(install_all(SLOT_A, m.bytes, m.n, 128), FAIL_NONE);
	end("first image", 700);
}

/* The power goes while a crash is marked: one of the two starts, and at the next crash too. */
static void one_of_two(void)
{
	const uint32_t first = started();

	assert_true(first == OLD || first == NEW);
	if (boot_select(true) == NO_SLOT) {
		assert_int_not_equal(started(), 0); /* a minute later */
	}
}

static void test_crash_is_marked(void **state)
{
	(void)state;
	host_reset();
	place_image(good(SLOT_A, OLD, 0, 1024), 1, true, false);
	place_image(good(SLOT_B, NEW, 1, 1024), 2, true, false);
	watch(one_of_two);
	assert_int_equal(boot_select(true), SLOT_A);
	end("crash", 4);
	assert_int_equal(started(), OLD);
}

/* --- confirm ------------------------------------------------------------------------ */

static void never_none(void)
{
	const uint32_t v = started();
	const bool confirmed = trailer_read(SLOT_B).confirmed;

	assert_int_equal(v, confirmed ? NEW : OLD);
	/* The floor never rises above what is confirmed. */
	assert_true(counter_read(COUNTER_FLOOR) == 0u || confirmed);
	/* And the application of the next start completes what was begun. */
	if (confirmed) {
		start_guard(&again, SLOT_B);
		assert_true(guard_confirm(&again));
		assert_int_equal(counter_read(COUNTER_FLOOR), 1);
		assert_int_equal(started(), NEW);
	}
}

static void test_confirm(void **state)
{
	(void)state;
	host_reset();
	place_image(good(SLOT_A, OLD, 0, 1024), 1, true, true);
	place_image(good(SLOT_B, NEW, 1, 1024), 2, true, false);
	start_guard(&board, SLOT_B);
	watch(never_none);
	assert_true(guard_confirm(&board));
	end("confirm", 12);
	assert_int_equal(started(), NEW);
	assert_int_equal(counter_read(COUNTER_FLOOR), 1);
}

/* With no other image, a confirmation that was cut is made at the next start. */
static void confirms_again(void)
{
	assert_int_equal(started(), NEW);
	start_guard(&again, SLOT_A);
	assert_true(guard_confirm(&again));
	assert_false(again.state_failed);
	assert_true(trailer_read(SLOT_A).confirmed);
	assert_int_equal(counter_read(COUNTER_FLOOR), 1);
}

static void test_first_confirm(void **state)
{
	(void)state;
	host_reset();
	place_image(good(SLOT_A, NEW, 1, 1024), 1, true, false);
	start_guard(&board, SLOT_A);
	host.operations = 0;
	watch(confirms_again);
	assert_true(guard_confirm(&board));
	end("first confirm", 12);
}

/* --- counters ------------------------------------------------------------------------ */

static uint32_t counting;

static void before_or_after(void)
{
	const uint32_t v = counter_read(COUNTER_STARTS);

	assert_true(v == counting || v == counting + 1u);
	/* And it can still be raised, from wherever it is, without a step back. */
	assert_true(counter_raise(COUNTER_STARTS, v + 1u));
	assert_int_equal(counter_read(COUNTER_STARTS), v + 1u);
}

static void test_counter(void **state)
{
	(void)state;
	host_reset();
	watch(before_or_after);
	/* Twice round both pages. */
	for (counting = 0; counting < 2u * 2u * BOARD_PAGE / 8u; counting++) {
		assert_true(counter_raise(COUNTER_STARTS, counting + 1u));
		assert_int_equal(counter_read(COUNTER_STARTS), counting + 1u);
	}
	end("counter", 1000);
}

/* --- pairing key ----------------------------------------------------------------------- */

static uint8_t key_before[PAIRING_SIZE];
static bool had_key;

static void that_key_or_none(void)
{
	uint8_t key[PAIRING_SIZE];

	if (pairing_read(key)) {
		assert_memory_equal(key, key_before, PAIRING_SIZE);
	}
	/* Wiping always ends without a key, and pairing works again. */
	assert_true(pairing_wipe());
	assert_false(pairing_read(key));
	assert_true(pairing_write(key_before));
	assert_true(pairing_read(key));
}

static void test_pairing(void **state)
{
	(void)state;
	had_key = false;
	host_reset();
	memset(key_before, 0x5A, sizeof key_before);
	watch(that_key_or_none);
	assert_true(pairing_write(key_before));
	end("pair", 30);
	watch(that_key_or_none);
	assert_true(pairing_wipe());
	end("wipe", 3);
}

/* --- event ring ------------------------------------------------------------------------ */

static uint32_t last_added;

/* Sequences without a gap up to the last whole one, and room for the next. */
static void ring_whole(void)
{
	uint8_t records[EVENT_SIZE * 16];
	struct events e;
	uint32_t expected;
	size_t n;

	events_open(&e, 1);
	assert_true(e.newest == last_added || e.newest == last_added + 1u);
	expected = e.oldest;
	for (uint32_t after = 0; (n = events_after(&e, after, records, 16)) > 0u; after = expected - 1u) {
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(get32(records + i * EVENT_SIZE), expected);
			expected++;
		}
	}
	assert_int_equal(expected, e.newest + (e.newest != 0u ? 1u : 0u));

	const uint32_t newest = e.newest;

	events_add(&e, EVENT_EXIT, 0, 5);
	assert_false(e.failed);
	events_open(&e, 1);
	assert_int_equal(e.newest, newest + 1u);
}

static void test_events(void **state)
{
	struct events e;

	(void)state;
	host_reset();
	events_open(&e, 1);
	/* Fill the ring once in peace, then cut through what follows, over two page ends. */
	for (last_added = 0; last_added < 8u * BOARD_PAGE / 16u; last_added++) {
		events_add(&e, EVENT_UNLOCKED, 1, last_added);
	}
	watch(ring_whole);
	for (unsigned i = 0; i < 2u * BOARD_PAGE / 16u; i++) {
		events_add(&e, EVENT_LOCKED, 1, last_added);
		assert_false(e.failed);
		last_added++;
	}
	end("events", 1500);
	assert_false(e.failed);
}

/* --- both ------------------------------------------------------------------------------ */

/* A start of the application: counter, start event. The image it runs is the loader's. */
static void starts_again(void)
{
	assert_int_equal(started(), OLD);
	start_guard(&board, SLOT_A);
	assert_false(board.state_failed);
	assert_int_equal(host.outputs, 0);
	/* The nonce's counter never stands where it stood. */
	assert_true(board.session.starts > counting);
}

static void test_start(void **state)
{
	(void)state;
	host_reset();
	place_image(good(SLOT_A, OLD, 0, 256), 1, true, true);
	for (unsigned i = 0; i < 300u; i++) {
		counting = counter_read(COUNTER_STARTS);
		watch(starts_again);
		host.operations = 0;
		start_guard(&board, SLOT_A);
		host.operation = NULL;
		assert_int_equal(host.violations, 0);
	}
}

/* --- the application, by its wire and its inputs ------------------------------------------ */

/* The first heartbeat of a trial confirms it: event, word and floor. */
static void test_heartbeat_confirms(void **state)
{
	(void)state;
	start_board();
	pair_board();
	place_image(good(SLOT_B, NEW, 1, 1024), 2, true, false);
	start_guard(&board, SLOT_B);
	open_session();
	host.operations = 0;
	watch(never_none);
	assert_int_equal(ask(0x41, NULL, 0).n, 16);
	end("confirm by the wire", 30);
	assert_int_equal(started(), NEW);
	assert_int_equal(counter_read(COUNTER_FLOOR), 1);
}

/* The old image, a shut lock, and this key or none: never another, never half. Where the
 * enclosure is open, none. */
static void this_key_or_none(void)
{
	uint8_t key[PAIRING_SIZE];

	host.outputs = 0;
	assert_int_equal(started(), OLD);
	start_guard(&again, SLOT_A);
	assert_int_equal(host.outputs, 0);
	assert_false(again.state_failed);
	assert_false(again.events.failed);
	/* A key that is not whole is gone with the start: what is left of it is most of it. */
	if (!pairing_read(key)) {
		for (unsigned i = 0; i < 4u + PAIRING_SIZE + 4u; i++) {
			assert_int_equal(host.flash[BOARD_STATE + 4u * BOARD_PAGE + i], 0xFF);
		}
	}
	if ((host.inputs & HAL_IN_TAMPER) != 0u) {
		assert_int_equal(again.link, LINK_TAMPERED);
		assert_false(pairing_read(key));
	} else if (again.link == LINK_IDLE) {
		assert_true(pairing_read(key));
		assert_memory_equal(key, peer.key, PAIRING_SIZE);
	} else {
		assert_int_equal(again.link, LINK_UNPAIRED);
	}
}

static void test_pair_by_the_wire(void **state)
{
	(void)state;
	start_board();
	host.inputs = HAL_IN_SERVICE;
	pass(2u * DEBOUNCE_MS);
	host.inputs = 0;
	pass(2u * DEBOUNCE_MS);
	host.operations = 0;
	watch(this_key_or_none);
	assert_int_equal(ask_plain(0x03, peer.key, 32).raw[0], 0x83);
	end("pair by the wire", 40);
	start_guard(&again, SLOT_A);
	assert_int_equal(again.link, LINK_IDLE);
}

/* By the host, by the service button, by the tamper switch; with the lock open. */
static void test_wipe_by_everything(void **state)
{
	static const char *const names[] = { "wipe by the host", "wipe by the button", "wipe by tamper" };

	(void)state;
	for (unsigned how = 0; how < 3u; how++) {
		start_board();
		pair_board();
		open_session();
		unlock_for(30000);
		host.operations = 0;
		watch(this_key_or_none);
		switch (how) {
		case 0:
			assert_int_equal(ask(0x48, NULL, 0).n, 0);
			break;
		case 1:
			host.inputs = HAL_IN_SERVICE;
			pass(WIPE_MS + 2u * DEBOUNCE_MS);
			break;
		default:
			host.inputs = HAL_IN_TAMPER;
			pass(2u * DEBOUNCE_MS);
			break;
		}
		end(names[how], 15);
		host.inputs = 0;
		start_guard(&again, SLOT_A);
		assert_int_equal(again.link, LINK_UNPAIRED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_upgrade), cmocka_unit_test(test_first_image), cmocka_unit_test(test_confirm),
		cmocka_unit_test(test_crash_is_marked), cmocka_unit_test(test_first_confirm),
		cmocka_unit_test(test_counter), cmocka_unit_test(test_pairing),     cmocka_unit_test(test_events),
		cmocka_unit_test(test_start),       cmocka_unit_test(test_heartbeat_confirms),
		cmocka_unit_test(test_pair_by_the_wire), cmocka_unit_test(test_wipe_by_everything),
	};

	return cmocka_run_group_tests_name("power", tests, NULL, NULL);
}
