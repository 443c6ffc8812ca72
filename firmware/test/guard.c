/* The guard from the wire's side: what opens the lock, and everything that must not. */
#include <stdlib.h>
#include <string.h>

#include "support.h"

static int fresh(void **state)
{
	(void)state;
	memset(&peer, 0, sizeof peer);
	start_board();
	return 0;
}

static int in_session(void **state)
{
	fresh(state);
	pair_board();
	open_session();
	return 0;
}

static void set_input(uint8_t bit, bool on)
{
	host.inputs = (uint8_t)(on ? host.inputs | bit : host.inputs & ~bit);
	pass(DEBOUNCE_MS + 2u);
}

static void assert_event(enum event_code code, uint8_t argument)
{
	uint8_t got = 0xEE;

	assert_true(find_event(code, &got));
	assert_int_equal(got, argument);
}

static void assert_no_event(enum event_code code)
{
	uint8_t got;

	assert_false(find_event(code, &got));
}

/* Keep the session for ms. */
static void beat_for(uint32_t ms)
{
	for (uint32_t i = 0; i < ms; i += 500u) {
		pass(ms - i < 500u ? ms - i : 500u);
		assert_int_equal(ask(0x41, NULL, 0).n, 16);
	}
}

/* --- unlock --------------------------------------------------------------------------- */

static void test_unlock_holds_its_time(void **state)
{
	(void)state;
	assert_false(lock_line());
	unlock_for(1000);
	pass(999);
	assert_true(lock_line());
	pass(1);
	assert_false(lock_line());
	assert_event(EVENT_UNLOCKED, 10);
	assert_event(EVENT_LOCKED, 1);
}

static void test_unlock_status(void **state)
{
	(void)state;
	unlock_for(30000);
	pass(100);

	const struct answer a = ask(0x41, NULL, 0);

	assert_int_equal(a.raw[0], LINK_READY);
	assert_int_equal(a.raw[1], LOCK_GRANTED);
	assert_int_equal(a.raw[2], DOOR_CLOSED);
	assert_int_equal(get16(a.raw + 4), 29900);
	assert_int_equal(get16(a.raw + 6), 0);
	assert_int_equal(get32(a.raw + 8), host.now);
	assert_int_equal(get32(a.raw + 12), board.events.newest);
}

static void test_hold_out_of_range_is_refused(void **state)
{
	const uint16_t holds[] = { 0, 99, 30001, 65535 };
	uint8_t body[18];

	(void)state;
	for (size_t i = 0; i < sizeof holds / sizeof holds[0]; i++) {
		memcpy(body, ask(0x42, NULL, 0).raw, 16);
		put16(body + 16, holds[i]);
		assert_refused(ask(0x43, body, 18), 0x43, REFUSED_HOLD);
		/* and the challenge is spent */
		put16(body + 16, 1000);
		assert_refused(ask(0x43, body, 18), 0x43, REFUSED_CHALLENGE);
	}
	assert_int_equal(host.ever_high & HAL_OUT_LOCK, 0);
}

static void test_hold_is_bounded_whatever_asks(void **state)
{
	(void)state;
	guard_on(&board, ON_UNLOCK, 3600000);
	for (uint32_t i = 0; i < HOLD_MAX_MS; i += 1000u) {
		assert_true(lock_line());
		beat_for(1000);
	}
	pass(1);
	assert_false(lock_line());
}

static void test_longer_hold_wins(void **state)
{
	(void)state;
	unlock_for(3000);
	unlock_for(500);
	pass(600);
	assert_true(lock_line());
	unlock_for(5000);
	beat_for(4900);
	assert_true(lock_line());
	pass(200);
	assert_false(lock_line());
}

static void test_challenge_is_used_once(void **state)
{
	uint8_t body[18];

	(void)state;
	memcpy(body, ask(0x42, NULL, 0).raw, 16);
	put16(body + 16, 200);
	assert_int_equal(ask(0x43, body, 18).n, 16);
	pass(300);
	assert_false(lock_line());
	assert_refused(ask(0x43, body, 18), 0x43, REFUSED_CHALLENGE);
	assert_false(lock_line());
	assert_event(EVENT_REFUSED, REFUSED_CHALLENGE);
}

static void test_challenge_expires(void **state)
{
	uint8_t body[18];

	(void)state;
	memcpy(body, ask(0x42, NULL, 0).raw, 16);
	put16(body + 16, 200);
	beat_for(CHALLENGE_MS);
	assert_refused(ask(0x43, body, 18), 0x43, REFUSED_CHALLENGE);
	assert_int_equal(host.ever_high & HAL_OUT_LOCK, 0);
}

static void test_only_the_latest_challenge_counts(void **state)
{
	uint8_t first[18], second[18];

	(void)state;
	memcpy(first, ask(0x42, NULL, 0).raw, 16);
	memcpy(second, ask(0x42, NULL, 0).raw, 16);
	assert_memory_not_equal(first, second, 16);
	put16(first + 16, 200);
	assert_refused(ask(0x43, first, 18), 0x43, REFUSED_CHALLENGE);
	put16(second + 16, 200);
	assert_refused(ask(0x43, second, 18), 0x43, REFUSED_CHALLENGE); /* spent by the wrong try */
}

static void test_host_can_shut(void **state)
{
	(void)state;
	unlock_for(5000);
	assert_int_equal(ask(0x44, NULL, 0).raw[1], LOCK_SHUT);
	assert_false(lock_line());
	assert_event(EVENT_LOCKED, 2);
}

/* --- what must not open --------------------------------------------------------------- */

static void test_unlock_needs_a_session(void **state)
{
	uint8_t body[18] = { 0 };

	(void)state;
	pair_board();
	assert_refused(ask(0x43, body, 18), 0x43, REFUSED_SESSION);
	assert_int_equal(host.ever_high & HAL_OUT_LOCK, 0);
}

static void test_bad_tag(void **state)
{
	uint8_t raw[40] = { 0x41, 1 };

	(void)state;
	assert_refused(send_raw(raw, 21), 0x41, REFUSED_TAG);
	assert_no_event(EVENT_REFUSED); /* a stranger cannot fill the ring */
	assert_int_equal(host.ever_high & HAL_OUT_LOCK, 0);
}

static void test_replay(void **state)
{
	uint8_t body[18];

	(void)state;
	memcpy(body, ask(0x42, NULL, 0).raw, 16);
	put16(body + 16, 200);
	peer.sent++;
	(void)ask_sealed(0x43, peer.sent, body, 18);
	assert_true(lock_line());
	pass(300);
	host.ever_high = 0;
	assert_refused(ask_sealed(0x43, peer.sent, body, 18), 0x43, REFUSED_REPLAY);
	assert_int_equal(host.ever_high & HAL_OUT_LOCK, 0);
}

static void test_replay_into_the_next_session(void **state)
{
	uint8_t body[18];

	(void)state;
	memcpy(body, ask(0x42, NULL, 0).raw, 16);
	put16(body + 16, 200);

	const struct peer old = peer;

	restart_board(HAL_START_POWER);
	open_session(); /* the same host nonce, another board nonce */

	const struct peer now = peer;

	peer = old;
	assert_refused(ask_sealed(0x43, old.sent + 1u, body, 18), 0x43, REFUSED_TAG);
	peer = now;
	assert_refused(ask(0x43, body, 18), 0x43, REFUSED_CHALLENGE);
	assert_int_equal(host.ever_high & HAL_OUT_LOCK, 0);
}

static void test_answer_is_no_question(void **state)
{
	uint8_t raw[26];

	(void)state;
	/* The board's own answer, sent back to it. */
	peer.sent++;

	const struct answer a = ask_sealed(0x41, peer.sent, NULL, 0);

	memcpy(raw, a.raw, sizeof raw);
	assert_int_equal(send_raw(a.raw, a.n).n, 0);
	raw[0] &= 0x7Fu;
	assert_refused(send_raw(raw, sizeof raw), 0x41, REFUSED_TAG);
}

static void test_counter_ends_the_session(void **state)
{
	(void)state;
	assert_int_equal(ask_sealed(0x41, UINT32_MAX, NULL, 0).raw[0], 0xC1);
	assert_refused(ask_sealed(0x41, 0, NULL, 0), 0x41, REFUSED_REPLAY);
	open_session();
	board.session.sent = UINT32_MAX;
	assert_int_equal(ask(0x41, NULL, 0).n, 0);
	assert_int_equal(board.link, LINK_IDLE);
}

/* --- heartbeat ------------------------------------------------------------------------- */

static void test_lost_heartbeat_shuts(void **state)
{
	(void)state;
	unlock_for(30000);
	pass(BEAT_MS - 1u);
	assert_true(lock_line());
	pass(1);
	assert_false(lock_line());
	assert_int_equal(board.link, LINK_IDLE);
	assert_event(EVENT_LOCKED, 3);
	assert_event(EVENT_LOST, 0);
	assert_refused(ask(0x41, NULL, 0), 0x41, REFUSED_SESSION);
}

static void test_late_frame_does_not_save(void **state)
{
	uint8_t wire[64], raw[21] = { 0x41, 2 }, tag[32];

	(void)state;
	unlock_for(30000);
	put32(raw + 1, peer.sent + 1u);
	hmac(tag, peer.to_board, raw, 5);
	memcpy(raw + 5, tag, 16);
	host.now += BEAT_MS; /* the board was busy, or the frame was held back */
	assert_refused(send_wire(wire, frame_encode(wire, raw, 21)), 0x41, REFUSED_SESSION);
	assert_false(lock_line());
}

static void test_new_session_shuts(void **state)
{
	(void)state;
	unlock_for(30000);
	open_session();
	assert_false(lock_line());
	assert_event(EVENT_LOCKED, 4);
	assert_int_equal(ask(0x41, NULL, 0).raw[0], LINK_READY);
}

static void test_stranger_does_not_beat(void **state)
{
	uint8_t raw[21] = { 0x41, 9 };

	(void)state;
	unlock_for(30000);
	pass(BEAT_MS - 1u);
	assert_refused(send_raw(raw, 21), 0x41, REFUSED_TAG);
	(void)ask_plain(0x01, NULL, 0);
	pass(1);
	assert_false(lock_line());
}

/* --- pairing --------------------------------------------------------------------------- */

static void test_pairing_needs_presence(void **state)
{
	(void)state;
	assert_refused(ask_plain(0x03, peer.key, 32), 0x03, REFUSED_PRESENCE);
	set_input(HAL_IN_SERVICE, true);
	set_input(HAL_IN_SERVICE, false);
	pass(PRESENCE_MS);
	assert_refused(ask_plain(0x03, peer.key, 32), 0x03, REFUSED_PRESENCE);
	pair_board();
	assert_event(EVENT_PAIRED, 0);
	assert_refused(ask_plain(0x03, peer.key, 32), 0x03, REFUSED_PAIRED);
	restart_board(HAL_START_POWER);
	assert_int_equal(board.link, LINK_IDLE);
	assert_memory_equal(board.session.pairing, peer.key, 32);
}

static void test_weak_keys_are_refused(void **state)
{
	uint8_t key[32];

	(void)state;
	set_input(HAL_IN_SERVICE, true);
	memset(key, 0, 32);
	assert_refused(ask_plain(0x03, key, 32), 0x03, REFUSED_MALFORMED);
	memset(key, 0xFF, 32);
	assert_refused(ask_plain(0x03, key, 32), 0x03, REFUSED_MALFORMED);
	assert_int_equal(board.link, LINK_UNPAIRED);
}

static void test_unpaired_refuses(void **state)
{
	uint8_t hello[17] = { 1 };

	(void)state;
	assert_refused(ask_plain(0x02, hello, 17), 0x02, REFUSED_UNPAIRED);
	pair_board();
	hello[0] = 2;
	assert_refused(ask_plain(0x02, hello, 17), 0x02, REFUSED_MALFORMED);
	assert_refused(ask_plain(0x04, NULL, 0), 0x04, REFUSED_PAIRED);
	assert_refused(ask_plain(0x05, NULL, 0), 0x05, REFUSED_PAIRED);
}

static void test_wipe(void **state)
{
	uint8_t key[32];

	(void)state;
	unlock_for(30000);
	assert_int_equal(ask(0x48, NULL, 0).n, 0);
	assert_false(lock_line());
	assert_int_equal(board.link, LINK_UNPAIRED);
	assert_false(pairing_read(key));
	memset(key, 0, 32);
	assert_memory_equal(board.session.pairing, key, 32);
	assert_event(EVENT_WIPED, 1);
	assert_event(EVENT_LOCKED, 6);
	assert_refused(ask(0x41, NULL, 0), 0x41, REFUSED_SESSION);
}

static void test_service_button_wipes(void **state)
{
	(void)state;
	set_input(HAL_IN_SERVICE, true);
	beat_for(WIPE_MS - 100u);
	assert_int_equal(board.link, LINK_READY);
	set_input(HAL_IN_SERVICE, false);
	beat_for(1000);
	assert_int_equal(board.link, LINK_READY);
	set_input(HAL_IN_SERVICE, true);
	pass(WIPE_MS);
	assert_int_equal(board.link, LINK_UNPAIRED);
	assert_event(EVENT_WIPED, 3);
}

/* --- tamper ----------------------------------------------------------------------------- */

/* The first thing that is done to the flash is that the key goes, with the lock shut. */
static void key_goes_first(enum host_operation what, uint32_t address, uint32_t word)
{
	uint8_t key[32];

	(void)address;
	(void)word;
	if (pairing_read(key)) {
		assert_int_equal(what, HOST_ERASE);
		assert_false(lock_line());
		host.operation = NULL;
		assert_true(hal_flash_erase(address));
		assert_false(pairing_read(key));
	}
}

static void test_tamper_wipes_and_shuts(void **state)
{
	uint8_t key[32], hello[17] = { 1 };

	(void)state;
	unlock_for(30000);
	host.operation = key_goes_first;
	set_input(HAL_IN_TAMPER, true);
	host.operation = NULL;
	assert_false(lock_line());
	assert_false(pairing_read(key));
	assert_int_equal(board.link, LINK_TAMPERED);
	assert_event(EVENT_LOCKED, 5);
	assert_event(EVENT_WIPED, 2);
	assert_event(EVENT_TAMPER, 1);
	assert_refused(ask_plain(0x02, hello, 17), 0x02, REFUSED_TAMPER);
	set_input(HAL_IN_SERVICE, true);
	assert_refused(ask_plain(0x03, peer.key, 32), 0x03, REFUSED_TAMPER);
	assert_int_equal(ask_plain(0x01, NULL, 0).raw[3] & 4, 4);
	set_input(HAL_IN_TAMPER, false);
	assert_int_equal(board.link, LINK_UNPAIRED);
	assert_event(EVENT_TAMPER, 0);
}

static void test_tamper_while_off(void **state)
{
	uint8_t key[32];

	(void)state;
	host.inputs |= HAL_IN_TAMPER;
	restart_board(HAL_START_POWER);
	assert_int_equal(board.link, LINK_TAMPERED);
	assert_false(pairing_read(key));
}

static void glitch_ends(uint32_t ms)
{
	(void)ms;
	host.inputs = 0;
}

/* A wire that is struck while the power rises. */
static void test_glitch_at_the_start_is_no_tamper(void **state)
{
	uint8_t key[32];

	(void)state;
	host.inputs |= HAL_IN_TAMPER;
	host.sleep = glitch_ends;
	restart_board(HAL_START_POWER);
	assert_int_equal(board.link, LINK_IDLE);
	assert_true(pairing_read(key));
}

/* What is left of a key goes at the next start, and the ring says so. */
static void test_torn_key_goes_at_the_start(void **state)
{
	uint8_t why = 0;

	(void)state;
	memset(host.flash + BOARD_STATE + 4u * BOARD_PAGE + 30u, 0xFF, 10); /* as an erase leaves it that is cut */
	restart_board(HAL_START_POWER);
	assert_int_equal(board.link, LINK_UNPAIRED);
	assert_true(pairing_blank());
	assert_true(find_event(EVENT_WIPED, &why));
	assert_int_equal(why, 4);
	assert_false(board.state_failed);
}

static void test_short_glitch_is_no_tamper(void **state)
{
	(void)state;
	host.inputs |= HAL_IN_TAMPER;
	pass(DEBOUNCE_MS - 5u);
	host.inputs = 0;
	pass(100);
	assert_int_equal(board.link, LINK_READY);
}

/* A reed that chatters for ever hides nothing but itself. */
static void test_chatter_hides_no_other_input(void **state)
{
	(void)state;
	host.inputs = HAL_IN_TAMPER | HAL_IN_EXIT;
	for (unsigned i = 0; i < 2u * DEBOUNCE_MS; i++) {
		if (i % 12u == 0u) {
			host.inputs ^= HAL_IN_DOOR;
		}
		pass(1);
	}
	assert_int_equal(board.link, LINK_TAMPERED);
	assert_event(EVENT_TAMPER, 1);
	assert_event(EVENT_EXIT, 0);
	assert_true(lock_line());
	assert_int_equal(board.door, DOOR_CLOSED);
	assert_no_event(EVENT_OPENED);
}

/* --- door, exit, lamp -------------------------------------------------------------------- */

static void test_door(void **state)
{
	(void)state;
	unlock_for(1000);
	set_input(HAL_IN_DOOR, true);
	assert_int_equal(board.door, DOOR_OPEN);
	assert_event(EVENT_OPENED, 0);
	set_input(HAL_IN_DOOR, false);
	assert_int_equal(board.door, DOOR_CLOSED);
	assert_event(EVENT_CLOSED, 0);
	assert_no_event(EVENT_FORCED);
}

static void test_forced(void **state)
{
	(void)state;
	set_input(HAL_IN_DOOR, true);
	assert_int_equal(board.door, DOOR_FORCED);
	assert_event(EVENT_FORCED, 0);
	assert_true((host.outputs & HAL_OUT_BUZZER) != 0);
	unlock_for(1000); /* acknowledges */
	assert_int_equal(board.door, DOOR_OPEN);
	assert_true((host.outputs & HAL_OUT_BUZZER) == 0);
}

static void test_held(void **state)
{
	(void)state;
	unlock_for(1000);
	set_input(HAL_IN_DOOR, true);
	beat_for(1000);
	beat_for(HELD_MS - 500u);
	assert_int_equal(board.door, DOOR_OPEN);
	beat_for(600);
	assert_int_equal(board.door, DOOR_HELD);
	assert_event(EVENT_HELD, 0);
	assert_true((host.outputs & HAL_OUT_BUZZER) != 0);
	set_input(HAL_IN_DOOR, false);
	assert_int_equal(board.door, DOOR_CLOSED);
	assert_true((host.outputs & HAL_OUT_BUZZER) == 0);
}

static void test_door_open_at_start(void **state)
{
	(void)state;
	host.inputs |= HAL_IN_DOOR;
	restart_board(HAL_START_POWER);
	pass(100);
	assert_no_event(EVENT_FORCED);
	pass(HELD_MS);
	assert_int_equal(board.door, DOOR_HELD);
}

static void test_exit_button(void **state)
{
	(void)state;
	/* unpaired, tampered, without a host: the way out stays free */
	set_input(HAL_IN_TAMPER, true);
	set_input(HAL_IN_EXIT, true);
	assert_true(lock_line());
	assert_event(EVENT_EXIT, 0);
	set_input(HAL_IN_EXIT, false);
	pass(EXIT_MS - 100u);
	assert_true(lock_line());
	pass(100);
	assert_false(lock_line());
}

static void test_exit_extends_a_grant(void **state)
{
	(void)state;
	unlock_for(1000);
	set_input(HAL_IN_EXIT, true);
	assert_int_equal(board.lock, LOCK_BOTH);
	beat_for(4500);
	assert_int_equal(board.lock, LOCK_EXIT); /* the grant is over */
	assert_true(lock_line());
	beat_for(600);
	assert_false(lock_line());
	assert_event(EVENT_LOCKED, 1);
	set_input(HAL_IN_EXIT, false);
	unlock_for(20000);
	set_input(HAL_IN_EXIT, true);

	const struct answer a = ask(0x41, NULL, 0);

	assert_int_equal(a.raw[1], LOCK_BOTH);
	assert_true(get16(a.raw + 4) > 19000);
	beat_for(EXIT_MS);
	assert_int_equal(board.lock, LOCK_GRANTED);
	assert_true(lock_line());
	beat_for(15000);
	assert_false(lock_line());
}

/* Whatever ends the grant, the exit button keeps its time; and not a moment more than
 * that, though the grant was for longer. Before the grant or behind it is all one. */
static void test_exit_outlives_the_grant(void **state)
{
	for (unsigned how = 0; how < 10u; how++) {
		in_session(state);
		if (how % 2u == 0u) {
			unlock_for(30000);
		}
		host.inputs |= HAL_IN_EXIT;
		pass(DEBOUNCE_MS + 1u);
		assert_event(EVENT_EXIT, 0);

		const uint32_t pressed = host.now;

		if (how % 2u != 0u) {
			uint8_t body[18];

			memcpy(body, ask(0x42, NULL, 0).raw, 16);
			put16(body + 16, 30000);
			assert_int_equal(ask(0x43, body, 18).raw[1], LOCK_BOTH);
		}
		switch (how / 2u) {
		case 0:
			pass(BEAT_MS + 1u);
			assert_int_equal(board.link, LINK_IDLE);
			break;
		case 1:
			open_session();
			break;
		case 2:
			set_input(HAL_IN_TAMPER, true);
			break;
		case 3:
			assert_int_equal(ask(0x44, NULL, 0).raw[1], LOCK_EXIT);
			break;
		default:
			assert_int_equal(ask(0x48, NULL, 0).n, 0);
			break;
		}
		assert_int_equal(board.lock, LOCK_EXIT);
		while (host.now < pressed + EXIT_MS - 3u) {
			pass(1);
			assert_true(lock_line());
		}
		pass(3);
		assert_false(lock_line());
	}
}

/* Who has no key leaves nothing in the ring, however often he says hello. */
static void test_stranger_leaves_no_trace(void **state)
{
	uint8_t hello[17] = { 1 };
	uint32_t before;

	(void)state;
	pass(BEAT_MS);
	before = board.events.newest;
	for (unsigned i = 0; i < 20u; i++) {
		assert_int_equal(ask_plain(0x02, hello, 17).raw[0], 0x82);
		pass(BEAT_MS + 300u);
	}
	assert_int_equal(board.events.newest, before);
	/* A session that was proven does. */
	open_session();
	assert_int_equal(ask(0x41, NULL, 0).n, 16);
	pass(BEAT_MS);
	assert_int_equal(board.events.newest, before + 2u);
	assert_event(EVENT_LOST, 0);
}

static void test_exit_outlives_the_session(void **state)
{
	(void)state;
	set_input(HAL_IN_EXIT, true);
	pass(BEAT_MS);
	assert_int_equal(board.link, LINK_IDLE);
	assert_true(lock_line());
}

static bool lamp_lit(void)
{
	return (host.outputs & HAL_OUT_LAMP) != 0u;
}

static void test_signals(void **state)
{
	uint8_t body[3] = { 2, 100, 0 };
	unsigned lit = 0;

	(void)state;
	pass(1);
	assert_false(lamp_lit());
	assert_int_equal(ask(0x47, body, 3).n, 16);
	assert_true(lamp_lit());
	assert_true((host.outputs & HAL_OUT_BUZZER) != 0);
	pass(100);
	assert_true((host.outputs & HAL_OUT_BUZZER) == 0);
	body[0] = 1;
	(void)ask(0x47, body, 3);
	unlock_for(500);
	assert_false(lamp_lit());
	body[0] = 3;
	(void)ask(0x47, body, 3);
	for (unsigned i = 0; i < 1000u; i++) {
		pass(1);
		lit += lamp_lit() ? 1u : 0u;
	}
	assert_int_equal(lit, 500);
	body[0] = 0;
	(void)ask(0x47, body, 3);
	unlock_for(500);
	assert_true(lamp_lit());
	body[0] = 4;
	assert_refused(ask(0x47, body, 3), 0x47, REFUSED_MALFORMED);
	body[0] = 0;
	put16(body + 1, BUZZER_MAX_MS + 1u);
	assert_refused(ask(0x47, body, 3), 0x47, REFUSED_MALFORMED);
}

static void test_lamp_tells(void **state)
{
	unsigned changes = 0;
	bool before = false;

	(void)state;
	for (unsigned i = 0; i < 2000u; i++) { /* unpaired: 1 Hz */
		pass(1);
		changes += lamp_lit() != before ? 1u : 0u;
		before = lamp_lit();
	}
	assert_in_range(changes, 3, 5);
	set_input(HAL_IN_TAMPER, true);
	changes = 0;
	for (unsigned i = 0; i < 2000u; i++) { /* an alarm: 4 Hz */
		pass(1);
		changes += lamp_lit() != before ? 1u : 0u;
		before = lamp_lit();
	}
	assert_in_range(changes, 15, 17);
}

/* --- questions ---------------------------------------------------------------------------- */

static void test_info(void **state)
{
	struct answer a = ask_plain(0x01, NULL, 0);

	(void)state;
	assert_int_equal(a.n, 33);
	assert_int_equal(a.raw[0], 0x81);
	assert_int_equal(a.raw[1], 1);
	assert_int_equal(a.raw[2], 'A');
	assert_int_equal(a.raw[3], 2);
	assert_int_equal(a.raw[4], LINK_UNPAIRED);
	assert_int_equal(get32(a.raw + 5), BOARD_ID);
	assert_int_equal(a.raw[9], 0xE0);
	assert_int_equal(get32(a.raw + 17), 0x01000000u);
	assert_int_equal(get32(a.raw + 29), LOADER_VERSION);
	pair_board();
	assert_int_equal(ask_plain(0x01, NULL, 0).raw[3], 3);
	/* a production image under a loader that says nothing of itself */
	place_image((struct recipe){ SEED_PRODUCTION, KEY_PRODUCTION, BOARD_ID, BOARD_SLOT_B, 5, 6, 1024 }, 2, true, false);
	put32(host.flash + BOARD_LOADER_INFO, 0);
	start_guard(&board, SLOT_B);
	a = ask_plain(0x01, NULL, 0);
	assert_int_equal(a.raw[2], 'B');
	assert_int_equal(a.raw[3], 1 | 8);
	assert_int_equal(get32(a.raw + 21), 6);
	assert_int_equal(get32(a.raw + 29), 0);
	/* and under one that is for production */
	put32(host.flash + BOARD_LOADER_INFO, LOADER_MAGIC);
	put32(host.flash + BOARD_LOADER_INFO + 8, 1);
	assert_int_equal(ask_plain(0x01, NULL, 0).raw[3], 1 | 8 | 16);
}

static void test_unknown_and_malformed(void **state)
{
	uint8_t byte = 0;

	(void)state;
	assert_refused(ask_plain(0x3F, NULL, 0), 0x3F, REFUSED_UNKNOWN);
	assert_refused(ask_plain(0x01, &byte, 1), 0x01, REFUSED_MALFORMED);
	assert_refused(ask(0x7E, NULL, 0), 0x7E, REFUSED_UNKNOWN);
	assert_refused(ask(0x41, &byte, 1), 0x41, REFUSED_MALFORMED);
	assert_event(EVENT_REFUSED, REFUSED_MALFORMED);
}

static void test_garbled_frames_get_no_answer(void **state)
{
	const uint8_t bad_crc[] = { 0, 6, 1, 1, 2, 3, 4, 0 };
	const uint8_t bad_cobs[] = { 0, 9, 1, 0 };
	const uint8_t short_sealed[] = { 0, 3, 0x41, 1, 0 };
	const uint8_t short_plain[] = { 0, 2, 0x01, 0 };
	const uint8_t empty_raw[] = { 0, 1, 0 };
	uint8_t endless[600];

	(void)state;
	memset(endless, 0x55, sizeof endless);
	endless[sizeof endless - 1u] = 0;
	assert_int_equal(send_wire(bad_crc, sizeof bad_crc).n, 0);
	assert_int_equal(send_wire(bad_cobs, sizeof bad_cobs).n, 0);
	assert_int_equal(send_wire(short_sealed, sizeof short_sealed).n, 0);
	assert_int_equal(send_wire(short_plain, sizeof short_plain).n, 0);
	assert_int_equal(send_wire(empty_raw, sizeof empty_raw).n, 0);
	assert_int_equal(send_wire(endless, sizeof endless).n, 0);
	assert_int_equal(board.frames_garbled, 6);
	/* and half a frame does not spoil the next */
	assert_int_equal(send_wire(bad_crc + 1, 3).n, 0);
	assert_int_equal(ask(0x41, NULL, 0).n, 16);
}

static void test_events_are_read_in_pieces(void **state)
{
	uint8_t body[4];
	uint32_t after = 0;
	uint32_t total = 0;
	struct answer a;

	(void)state;
	for (unsigned i = 0; i < 40u; i++) {
		(void)ask(0x7E, NULL, 0);
	}
	do {
		put32(body, after);
		a = ask(0x45, body, 4);
		assert_true(a.raw[8] <= 16);
		assert_int_equal(a.n, 9u + a.raw[8] * 12u);
		for (unsigned i = 0; i < a.raw[8]; i++) {
			assert_int_equal(get32(a.raw + 9 + i * 12u), after + 1u);
			after++;
			total++;
		}
	} while (a.raw[8] > 0);
	assert_int_equal(get32(a.raw), 1);
	assert_int_equal(get32(a.raw + 4), after);
	assert_true(total > 40);
	/* they outlive a restart */
	restart_board(HAL_START_WATCHDOG);
	assert_int_equal(board.events.newest, after + 1u);
	assert_event(EVENT_START, HAL_START_WATCHDOG);
}

static void test_self_test(void **state)
{
	struct answer a = ask(0x46, NULL, 0);

	(void)state;
	assert_int_equal(a.n, 24);
	assert_int_equal(get16(a.raw), 63);
	assert_int_equal(get16(a.raw + 2), 100);
	assert_int_equal(get16(a.raw + 4), 1024);
	assert_int_equal(a.raw[6], HAL_START_POWER);
	assert_int_equal(get32(a.raw + 8), 1);
	unlock_for(1000);
	assert_refused(ask(0x46, NULL, 0), 0x46, REFUSED_BUSY);
	pass(1000);
	/* and everything that can be wrong */
	host.flash[BOARD_SLOT_A + HEADER_SIZE + 100u] ^= 1u;
	host.flash[BOARD_STATE + 4u * BOARD_PAGE] ^= 1u;
	host.flash[BOARD_LOADER_INFO] ^= 1u;
	host.stack_used = 1024;
	board.state_failed = true;
	board.events.failed = true;
	host.started = HAL_START_LOADER;
	a = ask(0x46, NULL, 0);
	assert_int_equal(get16(a.raw), 0);
	assert_int_equal(a.raw[6], HAL_START_RESTART);
	assert_int_equal(get16(ask(0x41, NULL, 0).raw + 6), 7);
}

static void test_self_test_finds_another_key(void **state)
{
	(void)state;
	board.session.pairing[0] ^= 1u; /* RAM and flash differ */
	assert_int_equal(get16(ask(0x46, NULL, 0).raw), 63 & ~4);
	board.session.starts++;
	board.events.newest = 0;
	assert_int_equal(get16(ask(0x46, NULL, 0).raw) & 2, 0);
}

/* Ask for something that restarts the board. */
static void test_loader(void **state)
{
	(void)state;
	unlock_for(5000);
	switch (setjmp(host.leave)) {
	case 0:
		(void)ask(0x49, NULL, 0);
		fail_msg("the board did not restart");
		break;
	default:
		assert_int_equal(host.restart, HAL_START_LOADER);
		assert_event(EVENT_LOADER, 0);
		assert_event(EVENT_LOCKED, 7);
		break;
	}
}

static void test_loader_unpaired(void **state)
{
	(void)state;
	if (setjmp(host.leave) == 0) {
		(void)ask_plain(0x05, NULL, 0);
		fail_msg("the board did not restart");
	}
	assert_int_equal(host.restart, HAL_START_LOADER);
}

/* --- confirm and damage --------------------------------------------------------------------- */

static void test_first_sealed_frame_confirms(void **state)
{
	(void)state;
	place_image(good(SLOT_A, 0x01000001u, 3, 1024), 1, true, false);
	restart_board(HAL_START_POWER);
	open_session();
	assert_false(trailer_read(SLOT_A).confirmed);
	assert_int_equal(counter_read(COUNTER_FLOOR), 0);
	(void)ask(0x41, NULL, 0);
	assert_true(trailer_read(SLOT_A).confirmed);
	assert_int_equal(counter_read(COUNTER_FLOOR), 3);
	assert_event(EVENT_CONFIRMED, 0);
	assert_event(EVENT_SESSION, 0);
}

static void test_unpaired_board_is_confirmed_by_hand(void **state)
{
	(void)state;
	place_image(good(SLOT_A, 0x01000001u, 3, 1024), 1, true, false);
	assert_int_equal(ask_plain(0x04, NULL, 0).raw[0], 0x84);
	assert_true(trailer_read(SLOT_A).confirmed);
	assert_int_equal(ask_plain(0x04, NULL, 0).raw[0], 0x84);
}

/* An open enclosure leaves the board without a key: it is updated as any unpaired one,
 * and an update is undone unless it is confirmed. */
static void test_open_enclosure_is_confirmed_by_hand(void **state)
{
	(void)state;
	place_image(good(SLOT_A, 0x01000001u, 3, 1024), 1, true, false);
	restart_board(HAL_START_POWER);
	assert_refused(ask_plain(0x04, NULL, 0), 0x04, REFUSED_PAIRED);
	set_input(HAL_IN_TAMPER, true);
	assert_int_equal(ask_plain(0x04, NULL, 0).raw[0], 0x84);
	assert_true(trailer_read(SLOT_A).confirmed);
	assert_int_equal(board.link, LINK_TAMPERED);
}

static void test_flash_that_fails(void **state)
{
	uint8_t key[32];

	(void)state;
	place_image(good(SLOT_A, 0x01000001u, 3, 1024), 1, true, false);
	restart_board(HAL_START_POWER);
	host.fails_on = true;
	host.fails_at = 1;
	assert_refused(ask_plain(0x04, NULL, 0), 0x04, REFUSED_FAULT);
	host.fails_at = 0;
	board.state_failed = false;
	set_input(HAL_IN_SERVICE, true);
	host.operations = 0;
	host.fails_at = 1;
	assert_refused(ask_plain(0x03, peer.key, 32), 0x03, REFUSED_FAULT);
	assert_int_equal(board.link, LINK_UNPAIRED);
	/* the word is marked, but the floor cannot be raised */
	host.operations = 0;
	host.fails_at = 6; /* behind word and event */
	assert_refused(ask_plain(0x04, NULL, 0), 0x04, REFUSED_FAULT);
	assert_true(board.state_failed);
	assert_refused(ask_plain(0x03, peer.key, 32), 0x03, REFUSED_FAULT);
	/* the next start completes it */
	host.inputs = 0;
	host.fails_at = 0;
	host.fails_on = false;
	restart_board(HAL_START_POWER);
	pair_board();
	open_session();
	(void)ask(0x41, NULL, 0);
	assert_int_equal(counter_read(COUNTER_FLOOR), 3);
	/* a key that cannot be erased is told */
	host.operations = 0;
	host.fails_at = 1;
	assert_refused(ask(0x48, NULL, 0), 0x48, REFUSED_FAULT);
	host.operations = 0;
	host.fails_at = 1;
	host.fails_on = true;
	set_input(HAL_IN_TAMPER, true);
	assert_true(board.state_failed && board.events.failed);
	assert_int_equal(board.link, LINK_TAMPERED); /* and refuses all the same */
	assert_true(pairing_read(key));
	host.fails_at = 0;
	restart_board(HAL_START_POWER); /* still open: it goes now */
	assert_false(pairing_read(key));
}

static void test_starts_that_cannot_be_counted_cost_the_key(void **state)
{
	uint8_t key[32];

	(void)state;
	/* forgotten starts: a nonce could come again */
	memset(host.flash + BOARD_STATE + 2u * BOARD_PAGE, 0xFF, 2u * BOARD_PAGE);
	memset(host.written, 0, sizeof host.written);
	restart_board(HAL_START_POWER);
	assert_int_equal(board.link, LINK_UNPAIRED);
	assert_false(pairing_read(key));
	assert_event(EVENT_WIPED, 4);
	/* flash that does not take the new count */
	pair_board();
	host.operations = 0;
	host.fails_at = 1;
	restart_board(HAL_START_POWER);
	assert_int_equal(board.link, LINK_UNPAIRED);
	assert_true(board.state_failed);
	/* a count that is used up */
	host.fails_at = 0;
	restart_board(HAL_START_POWER);
	pair_board();
	assert_true(counter_raise(COUNTER_STARTS, UINT32_MAX));
	restart_board(HAL_START_FAULT);
	assert_int_equal(board.link, LINK_UNPAIRED);
}

static void test_damaged_ring(void **state)
{
	(void)state;
	/* a ring of rubbish: every page is erased as it is entered */
	for (uint32_t i = 0; i < 8u * BOARD_PAGE; i++) {
		host.flash[BOARD_STATE + 5u * BOARD_PAGE + i] = (uint8_t)(i * 7u);
	}
	restart_board(HAL_START_POWER);
	assert_event(EVENT_START, 0);
	for (unsigned i = 0; i < 600u; i++) {
		events_add(&board.events, EVENT_EXIT, 0, i);
	}
	assert_false(board.events.failed);
	assert_true(board.events.newest > 600u);
	assert_true(board.events.oldest > 1u);
	/* a record that fails is stepped over */
	host.operations = 0;
	host.fails_at = 2;
	events_add(&board.events, EVENT_EXIT, 0, 1);
	assert_true(board.events.failed);
	host.fails_at = 0;
	events_add(&board.events, EVENT_HELD, 0, 1);
	assert_event(EVENT_HELD, 0);
}

/* --- a million frames -------------------------------------------------------------------------- */

static uint32_t noise = 2463534242u;

static uint32_t next_noise(void)
{
	noise ^= noise << 13;
	noise ^= noise >> 17;
	noise ^= noise << 5;
	return noise;
}

/* Whether a recorded unlock opens, if it is sent as it is. */
static bool would_open(const uint8_t raw[39])
{
	return board.link == LINK_READY && board.session.taken < get32(raw + 1) && board.left.challenge != 0u &&
	       memcmp(raw + 5, board.challenge, sizeof board.challenge) == 0;
}

/* The host's next question, an unlock that was caught on its way. */
static void record_unlock(uint8_t raw[39])
{
	uint8_t tag[32];

	if (board.link != LINK_READY) {
		open_session();
	}
	memcpy(raw + 5, ask(0x42, NULL, 0).raw, 16);
	put16(raw + 21, 30000);
	raw[0] = 0x43;
	put32(raw + 1, peer.sent + 1u);
	hmac(tag, peer.to_board, raw, 23);
	memcpy(raw + 23, tag, 16);
	assert_true(would_open(raw));
}

/* Random and mutated frames never raise the line. Each mutant is made of an unlock
 * of this very session that would raise it, were it sent as it is. */
static void test_noise_never_opens(void **state)
{
	const char *const env = getenv("GUARD_FRAMES");
	const uint32_t frames = env != NULL ? (uint32_t)strtoul(env, NULL, 10) : 50000u;
	uint8_t unlock[18], raw[39] = { 0 }, wire[FRAME_MAX + 3u];
	size_t n;

	(void)state;
	host.ever_high = 0;
	for (uint32_t i = 0; i < frames; i++) {
		uint8_t mutant[FRAME_MAX];

		if (!would_open(raw)) {
			record_unlock(raw);
		}
		n = sizeof raw;
		memcpy(mutant, raw, n);
		switch (next_noise() % 4u) {
		case 0: /* random bytes on the wire */
			n = 1u + next_noise() % 250u;
			for (size_t k = 0; k < n; k++) {
				wire[k] = (uint8_t)next_noise();
			}
			break;
		case 1: /* the right unlock with flipped bits */
			do {
				for (unsigned k = 0; k < 1u + next_noise() % 3u; k++) {
					mutant[next_noise() % n] ^= (uint8_t)(1u << next_noise() % 8u);
				}
			} while (memcmp(mutant, raw, n) == 0);
			n = frame_encode(wire, mutant, n);
			break;
		case 2: /* cut short, or with more behind it */
			n = next_noise() % 60u;
			n = n == sizeof raw ? n + 1u : n;
			for (size_t k = sizeof raw; k < n; k++) {
				mutant[k] = (uint8_t)next_noise();
			}
			n = frame_encode(wire, mutant, n);
			break;
		default: /* a good frame of a random type, so that the session lives */
			mutant[0] = (uint8_t)(0x41u + next_noise() % 7u);
			if (mutant[0] == 0x43u) {
				mutant[0] = 0x41u;
			}
			(void)ask(mutant[0], NULL, 0);
			n = 0;
			break;
		}
		if (n > 0u) {
			(void)send_wire(wire, n);
		}
		if (i % 100u == 0u) {
			pass(10);
		}
		assert_int_equal(host.ever_high & HAL_OUT_LOCK, 0);
		assert_int_equal(host.violations, 0);
	}
	print_message("%u frames: %u taken, %u garbled, %u refused\n", frames, board.frames_taken, board.frames_garbled,
	              board.frames_refused);
	/* The test would see it: the unchanged unlock opens. */
	record_unlock(raw);
	(void)send_wire(wire, frame_encode(wire, raw, sizeof raw));
	assert_true(lock_line());
	pass(HOLD_MAX_MS);
	open_session();
	memcpy(unlock, ask(0x42, NULL, 0).raw, 16);
	put16(unlock + 16, 500);
	assert_int_equal(ask(0x43, unlock, 18).n, 16);
	assert_true(lock_line());
}

#define FRESH(t) cmocka_unit_test_setup(t, fresh)
#define SESSION(t) cmocka_unit_test_setup(t, in_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SESSION(test_unlock_holds_its_time),
		SESSION(test_unlock_status),
		SESSION(test_hold_out_of_range_is_refused),
		SESSION(test_hold_is_bounded_whatever_asks),
		SESSION(test_longer_hold_wins),
		SESSION(test_challenge_is_used_once),
		SESSION(test_challenge_expires),
		SESSION(test_only_the_latest_challenge_counts),
		SESSION(test_host_can_shut),
		FRESH(test_unlock_needs_a_session),
		SESSION(test_bad_tag),
		SESSION(test_replay),
		SESSION(test_replay_into_the_next_session),
		SESSION(test_answer_is_no_question),
		SESSION(test_counter_ends_the_session),
		SESSION(test_lost_heartbeat_shuts),
		SESSION(test_late_frame_does_not_save),
		SESSION(test_new_session_shuts),
		SESSION(test_stranger_does_not_beat),
		FRESH(test_pairing_needs_presence),
		FRESH(test_weak_keys_are_refused),
		FRESH(test_unpaired_refuses),
		SESSION(test_wipe),
		SESSION(test_service_button_wipes),
		SESSION(test_tamper_wipes_and_shuts),
		SESSION(test_tamper_while_off),
		SESSION(test_glitch_at_the_start_is_no_tamper),
		SESSION(test_torn_key_goes_at_the_start),
		SESSION(test_short_glitch_is_no_tamper),
		SESSION(test_chatter_hides_no_other_input),
		SESSION(test_door),
		SESSION(test_forced),
		SESSION(test_held),
		FRESH(test_door_open_at_start),
		FRESH(test_exit_button),
		SESSION(test_exit_extends_a_grant),
		SESSION(test_exit_outlives_the_session),
		FRESH(test_exit_outlives_the_grant),
		SESSION(test_stranger_leaves_no_trace),
		SESSION(test_signals),
		FRESH(test_lamp_tells),
		FRESH(test_info),
		SESSION(test_unknown_and_malformed),
		SESSION(test_garbled_frames_get_no_answer),
		SESSION(test_events_are_read_in_pieces),
		SESSION(test_self_test),
		SESSION(test_self_test_finds_another_key),
		SESSION(test_loader),
		FRESH(test_loader_unpaired),
		SESSION(test_first_sealed_frame_confirms),
		FRESH(test_unpaired_board_is_confirmed_by_hand),
		SESSION(test_open_enclosure_is_confirmed_by_hand),
		FRESH(test_flash_that_fails),
		SESSION(test_starts_that_cannot_be_counted_cost_the_key),
		FRESH(test_damaged_ring),
		SESSION(test_noise_never_opens),
	};

	return cmocka_run_group_tests_name("guard", tests, NULL, NULL);
}
