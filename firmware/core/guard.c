/* The whole behaviour of the board is the three tables below. What no row names
 * does not happen; the lock line is low in LOCK_SHUT and high elsewhere. */
#include "guard.h"

#include <string.h>

#include "hal.h"
#include "hash.h"
#include "limits.h"

typedef void (*action)(struct guard *g, uint32_t argument);

struct rule {
	uint8_t in; /* states, as bits */
	uint8_t on; /* enum happening */
	uint8_t to; /* state */
	action act; /* runs after the change; may be none */
};

#define IN(state) (uint8_t)(1u << (state))

static void paired(struct guard *g, uint32_t argument);
static void greeted(struct guard *g, uint32_t argument);
static void lost(struct guard *g, uint32_t argument);
static void wiped(struct guard *g, uint32_t argument);
static void tampered(struct guard *g, uint32_t argument);
static void quiet(struct guard *g, uint32_t argument);
static void granted(struct guard *g, uint32_t hold);
static void let_out(struct guard *g, uint32_t argument);
static void grant_over(struct guard *g, uint32_t argument);
static void shut_over(struct guard *g, uint32_t argument);
static void shut_host(struct guard *g, uint32_t argument);
static void shut_lost(struct guard *g, uint32_t argument);
static void shut_hello(struct guard *g, uint32_t argument);
static void shut_tamper(struct guard *g, uint32_t argument);
static void shut_wipe(struct guard *g, uint32_t argument);
static void shut_restart(struct guard *g, uint32_t argument);
static void opened(struct guard *g, uint32_t argument);
static void forced(struct guard *g, uint32_t argument);
static void closed(struct guard *g, uint32_t argument);
static void held(struct guard *g, uint32_t argument);

/* The wire to the host. */
static const struct rule link_rules[] = {
	{ IN(LINK_UNPAIRED), ON_PAIR, LINK_IDLE, paired },
	{ IN(LINK_IDLE) | IN(LINK_READY), ON_HELLO, LINK_READY, greeted },
	{ IN(LINK_READY), ON_LOST, LINK_IDLE, lost },
	{ IN(LINK_IDLE) | IN(LINK_READY), ON_WIPE, LINK_UNPAIRED, wiped },
	{ IN(LINK_UNPAIRED) | IN(LINK_IDLE) | IN(LINK_READY), ON_TAMPER, LINK_TAMPERED, tampered },
	{ IN(LINK_TAMPERED), ON_QUIET, LINK_UNPAIRED, quiet },
};

/* The strike. Nothing but an unlock and the exit button leads out of LOCK_SHUT. What
 * ends a grant does not end the exit button's time, nor the other way round. */
static const struct rule lock_rules[] = {
	{ IN(LOCK_SHUT) | IN(LOCK_GRANTED), ON_UNLOCK, LOCK_GRANTED, granted },
	{ IN(LOCK_EXIT) | IN(LOCK_BOTH), ON_UNLOCK, LOCK_BOTH, granted },
	{ IN(LOCK_SHUT) | IN(LOCK_EXIT), ON_EXIT, LOCK_EXIT, let_out },
	{ IN(LOCK_GRANTED) | IN(LOCK_BOTH), ON_EXIT, LOCK_BOTH, let_out },
	{ IN(LOCK_BOTH), ON_EXIT_OVER, LOCK_GRANTED, NULL },
	{ IN(LOCK_EXIT), ON_EXIT_OVER, LOCK_SHUT, shut_over },
	{ IN(LOCK_BOTH), ON_HOLD_OVER, LOCK_EXIT, grant_over },
	{ IN(LOCK_BOTH), ON_LOCK, LOCK_EXIT, grant_over },
	{ IN(LOCK_BOTH), ON_LOST, LOCK_EXIT, grant_over },
	{ IN(LOCK_BOTH), ON_HELLO, LOCK_EXIT, grant_over },
	{ IN(LOCK_BOTH), ON_TAMPER, LOCK_EXIT, grant_over },
	{ IN(LOCK_BOTH), ON_WIPE, LOCK_EXIT, grant_over },
	{ IN(LOCK_GRANTED), ON_HOLD_OVER, LOCK_SHUT, shut_over },
	{ IN(LOCK_GRANTED), ON_LOCK, LOCK_SHUT, shut_host },
	{ IN(LOCK_GRANTED), ON_LOST, LOCK_SHUT, shut_lost },
	{ IN(LOCK_GRANTED), ON_HELLO, LOCK_SHUT, shut_hello },
	{ IN(LOCK_GRANTED), ON_TAMPER, LOCK_SHUT, shut_tamper },
	{ IN(LOCK_GRANTED), ON_WIPE, LOCK_SHUT, shut_wipe },
	{ IN(LOCK_GRANTED) | IN(LOCK_EXIT) | IN(LOCK_BOTH), ON_RESTART, LOCK_SHUT, shut_restart },
};

/* The door leaf, by its contact. An unlock ends an alarm. */
static const struct rule door_rules[] = {
	{ IN(DOOR_CLOSED), ON_OPENED, DOOR_OPEN, opened },
	{ IN(DOOR_CLOSED), ON_FORCED, DOOR_FORCED, forced },
	{ IN(DOOR_OPEN) | IN(DOOR_FORCED) | IN(DOOR_HELD), ON_CLOSED, DOOR_CLOSED, closed },
	{ IN(DOOR_OPEN), ON_HELD_OVER, DOOR_HELD, held },
	{ IN(DOOR_FORCED) | IN(DOOR_HELD), ON_UNLOCK, DOOR_OPEN, NULL },
};

/* The row for a state and a happening, or none. */
static const struct rule *find(const struct rule *rules, size_t n, unsigned state, enum happening what)
{
	for (size_t i = 0; i < n; i++) {
		if (rules[i].on == (uint8_t)what && (rules[i].in & IN(state)) != 0u) {
			return &rules[i];
		}
	}
	return NULL;
}

#define FIND(rules, state, what) find(rules, sizeof(rules) / sizeof((rules)[0]), (unsigned)(state), what)

static void run(struct guard *g, const struct rule *r, uint32_t argument)
{
	if (r->act != NULL) {
		r->act(g, argument);
	}
}

void guard_on(struct guard *g, enum happening what, uint32_t argument)
{
	/* The lock first: it is shut before anything slower, like flash, happens. */
	const struct rule *lock = FIND(lock_rules, g->lock, what);
	const struct rule *link = FIND(link_rules, g->link, what);
	const struct rule *door = FIND(door_rules, g->door, what);

	if (lock != NULL) {
		g->lock = (enum lock_state)lock->to;
		run(g, lock, argument);
	}
	if (link != NULL) {
		g->link = (enum link_state)link->to;
		run(g, link, argument);
	}
	if (door != NULL) {
		g->door = (enum door_state)door->to;
		run(g, door, argument);
	}
}

/* --- actions ---------------------------------------------------------------- */

static void outputs(const struct guard *g);

static void note(struct guard *g, enum event_code code, uint32_t argument)
{
	events_add(&g->events, code, (uint8_t)argument, g->now);
}

static void end_session(struct guard *g)
{
	session_end(&g->session);
	g->left.beat = 0;
	g->left.challenge = 0;
	g->lamp = 0;
}

static void unpair(struct guard *g, uint32_t why)
{
	end_session(g);
	forget(g->session.pairing, sizeof g->session.pairing);
	if (!pairing_wipe()) {
		g->state_failed = true;
	}
	note(g, EVENT_WIPED, why);
}

static void paired(struct guard *g, uint32_t argument)
{
	(void)argument;
	g->left.presence = 0;
	note(g, EVENT_PAIRED, 0);
}

static void greeted(struct guard *g, uint32_t argument)
{
	(void)argument;
	g->left.beat = BEAT_MS;
	g->left.challenge = 0;
	g->lamp = 0;
}

static void lost(struct guard *g, uint32_t argument)
{
	/* A session whose host never showed that it has the key leaves no trace: else
	 * anybody on the wire could roll the ring over and wear its flash. */
	const bool proven = g->session.sent != 0u;

	(void)argument;
	end_session(g);
	if (proven) {
		note(g, EVENT_LOST, 0);
	}
}

static void wiped(struct guard *g, uint32_t argument)
{
	unpair(g, argument);
}

/* The key goes before anything is recorded: whoever opens the enclosure may cut the
 * power next, and a record takes its time. */
static void wipe_key(struct guard *g)
{
	if (!pairing_wipe()) {
		g->state_failed = true;
	}
}

static void tampered(struct guard *g, uint32_t argument)
{
	(void)argument;
	g->left.presence = 0;
	wipe_key(g);
	note(g, EVENT_TAMPER, 1);
	unpair(g, 2);
}

static void quiet(struct guard *g, uint32_t argument)
{
	(void)argument;
	note(g, EVENT_TAMPER, 0);
}

static void granted(struct guard *g, uint32_t hold)
{
	if (hold > HOLD_MAX_MS) {
		hold = HOLD_MAX_MS; /* question.c refused it already; the bound holds without it */
	}
	if (hold > g->left.hold) {
		g->left.hold = hold;
	}
	g->left.held = 0;
	outputs(g); /* before flash is written */
	note(g, EVENT_UNLOCKED, hold / 100u > 255u ? 255u : hold / 100u);
}

static void let_out(struct guard *g, uint32_t argument)
{
	(void)argument;
	g->left.exit = EXIT_MS;
	g->left.held = 0;
	outputs(g);
	note(g, EVENT_EXIT, 0);
}

/* The exit button's time goes on alone. */
static void grant_over(struct guard *g, uint32_t argument)
{
	(void)argument;
	g->left.hold = 0;
}

static void close_lock(struct guard *g)
{
	g->left.hold = 0;
	g->left.exit = 0;
	if (g->door == DOOR_OPEN) {
		g->left.held = HELD_MS;
	}
	outputs(g);
}

static void shut(struct guard *g, uint32_t why)
{
	close_lock(g);
	note(g, EVENT_LOCKED, why);
}

static void shut_over(struct guard *g, uint32_t argument) { (void)argument; shut(g, 1); }
static void shut_host(struct guard *g, uint32_t argument) { (void)argument; shut(g, 2); }
static void shut_lost(struct guard *g, uint32_t argument) { (void)argument; shut(g, 3); }
static void shut_hello(struct guard *g, uint32_t argument) { (void)argument; shut(g, 4); }
static void shut_wipe(struct guard *g, uint32_t argument) { (void)argument; shut(g, 6); }
static void shut_restart(struct guard *g, uint32_t argument) { (void)argument; shut(g, 7); }

static void shut_tamper(struct guard *g, uint32_t argument)
{
	(void)argument;
	close_lock(g);
	wipe_key(g);
	note(g, EVENT_LOCKED, 5);
}

static void opened(struct guard *g, uint32_t argument)
{
	(void)argument;
	note(g, EVENT_OPENED, 0);
}

static void forced(struct guard *g, uint32_t argument)
{
	(void)argument;
	note(g, EVENT_FORCED, 0);
}

static void closed(struct guard *g, uint32_t argument)
{
	(void)argument;
	g->left.held = 0;
	note(g, EVENT_CLOSED, 0);
}

static void held(struct guard *g, uint32_t argument)
{
	(void)argument;
	note(g, EVENT_HELD, 0);
}

/* --- time, inputs, outputs -------------------------------------------------- */

/* Count a timer down; true when it runs out now. */
static bool run_out(uint32_t *left, uint32_t ms)
{
	if (*left == 0u) {
		return false;
	}
	if (*left > ms) {
		*left -= ms;
		return false;
	}
	*left = 0;
	return true;
}

static void pass_time(struct guard *g, uint32_t ms)
{
	if (run_out(&g->left.hold, ms)) {
		guard_on(g, ON_HOLD_OVER, 0);
	}
	if (run_out(&g->left.exit, ms)) {
		guard_on(g, ON_EXIT_OVER, 0);
	}
	if (run_out(&g->left.beat, ms)) {
		guard_on(g, ON_LOST, 0);
	}
	if (run_out(&g->left.held, ms)) {
		guard_on(g, ON_HELD_OVER, 0);
	}
	if (run_out(&g->left.wipe, ms)) {
		guard_on(g, ON_WIPE, 3);
	}
	(void)run_out(&g->left.challenge, ms);
	(void)run_out(&g->left.presence, ms);
	(void)run_out(&g->left.buzzer, ms);
}

static void input_changed(struct guard *g, uint8_t on, uint8_t off)
{
	/* Tamper before the rest: an opened enclosure explains everything else. */
	if ((on & HAL_IN_TAMPER) != 0u) {
		guard_on(g, ON_TAMPER, 0);
	}
	if ((off & HAL_IN_TAMPER) != 0u) {
		guard_on(g, ON_QUIET, 0);
	}
	if ((on & HAL_IN_EXIT) != 0u) {
		guard_on(g, ON_EXIT, 0);
	}
	if ((on & HAL_IN_DOOR) != 0u) {
		guard_on(g, g->lock == LOCK_SHUT ? ON_FORCED : ON_OPENED, 0);
	}
	if ((off & HAL_IN_DOOR) != 0u) {
		guard_on(g, ON_CLOSED, 0);
	}
	if ((on & HAL_IN_SERVICE) != 0u) {
		g->left.wipe = WIPE_MS;
		g->left.presence = PRESENCE_MS;
	}
	if ((off & HAL_IN_SERVICE) != 0u) {
		g->left.wipe = 0;
	}
}

static void read_inputs(struct guard *g, uint32_t ms)
{
	const uint8_t differ = (uint8_t)(hal_inputs() ^ g->input.stable);
	uint8_t changed = 0;

	for (unsigned i = 0; i < INPUTS; i++) {
		uint32_t *const left = &g->input.left[i];

		if ((differ >> i & 1u) == 0u) {
			*left = 0;
		} else if (*left == 0u) {
			*left = DEBOUNCE_MS;
		} else if (run_out(left, ms)) {
			changed |= (uint8_t)(1u << i);
		}
	}
	if (changed != 0u) {
		g->input.stable ^= changed;
		input_changed(g, (uint8_t)(changed & g->input.stable), (uint8_t)(changed & ~g->input.stable));
	}
}

/* Whether the lamp is lit: what the host says, else slow blinking unpaired, fast
 * blinking at an alarm, lit while the lock is open. */
static bool lamp(const struct guard *g)
{
	const bool slow = (g->now / 500u) % 2u == 0u;
	const bool fast = (g->now / 125u) % 2u == 0u;

	switch (g->lamp) {
	case 1:
		return false;
	case 2:
		return true;
	case 3:
		return slow;
	default:
		break;
	}
	if (g->lock != LOCK_SHUT) {
		return true;
	}
	if (g->link == LINK_TAMPERED || g->door == DOOR_FORCED || g->door == DOOR_HELD) {
		return fast;
	}
	return g->link == LINK_UNPAIRED && slow;
}

/* The one place that drives the lock line. */
static void outputs(const struct guard *g)
{
	uint8_t bits = 0;

	if (g->lock != LOCK_SHUT && (g->left.hold != 0u || g->left.exit != 0u)) {
		bits |= HAL_OUT_LOCK;
	}
	if (lamp(g)) {
		bits |= HAL_OUT_LAMP;
	}
	if (g->left.buzzer != 0u || g->door == DOOR_FORCED || g->door == DOOR_HELD) {
		bits |= HAL_OUT_BUZZER;
	}
	hal_outputs(bits);
}

/* --- start and turn --------------------------------------------------------- */

bool guard_confirm(struct guard *g)
{
	if (g->confirmed) {
		return true;
	}
	if (!trailer_read(g->slot).confirmed) {
		if (!trailer_confirm(g->slot)) {
			g->state_failed = true;
			return false;
		}
		note(g, EVENT_CONFIRMED, 0);
	}
	/* Only now: were the floor raised first and the power cut, no image might be left. */
	if (!counter_raise(COUNTER_FLOOR, g->image.rollback)) {
		g->state_failed = true;
		return false;
	}
	g->confirmed = true;
	return true;
}

/* The inputs at a start. The tamper switch erases the key, so it must stay open for as
 * long as in service: a wire that is struck while the power rises is no opened enclosure. */
static uint8_t first_inputs(void)
{
	const uint32_t from = hal_now();
	uint8_t in = hal_inputs();

	while ((in & HAL_IN_TAMPER) != 0u && hal_now() - from < DEBOUNCE_MS) {
		hal_sleep(1);
		in = hal_inputs();
	}
	return in;
}

void guard_start(struct guard *g, enum slot running)
{
	memset(g, 0, sizeof *g);
	hal_outputs(0);
	g->now = hal_now();
	g->slot = running;
	(void)image_parse(hal_flash(slot_address(running)), &g->image);
	hal_serial_number(g->session.serial);

	const uint32_t starts = counter_read(COUNTER_STARTS);
	const bool counted = starts != UINT32_MAX && counter_raise(COUNTER_STARTS, starts + 1u);

	g->session.starts = starts + 1u;
	events_open(&g->events, starts + 1u);
	note(g, EVENT_START, hal_started() == HAL_START_LOADER ? HAL_START_RESTART : hal_started());

	g->input.stable = first_inputs();
	g->door = (g->input.stable & HAL_IN_DOOR) != 0u ? DOOR_OPEN : DOOR_CLOSED;
	g->left.held = g->door == DOOR_OPEN ? HELD_MS : 0u;
	g->link = pairing_read(g->session.pairing) ? LINK_IDLE : LINK_UNPAIRED;
	if (g->link == LINK_UNPAIRED && !pairing_blank()) {
		unpair(g, 4); /* what a cut in a wipe leaves of a key may be most of it */
	}
	if ((g->input.stable & HAL_IN_TAMPER) != 0u) {
		guard_on(g, ON_TAMPER, 0);
	}
	/* A nonce may never come twice. Where starts cannot be counted, or were
	 * forgotten while the key was not, the key goes. */
	if (!counted || (starts == 0u && g->link == LINK_IDLE)) {
		g->state_failed = !counted;
		guard_on(g, ON_WIPE, 4);
	}
}

/* Sleep for the next byte, but not over the times that shut the lock. */
static void rest(const struct guard *g)
{
	const uint32_t times[] = { g->left.hold, g->left.exit, g->left.beat };
	uint32_t ms = SLEEP_MS;

	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		if (times[i] != 0u && times[i] < ms) {
			ms = times[i];
		}
	}
	hal_sleep(ms);
}

void guard_turn(struct guard *g)
{
	const uint32_t now = hal_now();
	const uint32_t ms = now - g->now;
	uint8_t byte;
	size_t n = 0;

	g->now = now;
	hal_watchdog();
	/* Deadlines before the frame that may come too late for them. */
	pass_time(g, ms);
	read_inputs(g, ms);
	outputs(g);
	if (!hal_serial_get(&byte)) {
		rest(g);
		return;
	}
	switch (frame_take(&g->reader, byte, &n)) {
	case FRAME_WHOLE:
		guard_answer(g, g->reader.block, n);
		outputs(g);
		break;
	case FRAME_GARBLED:
		g->frames_garbled++;
		break;
	case FRAME_NONE:
	default:
		break;
	}
}
