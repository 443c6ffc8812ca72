/* The guard: three state machines (link, lock, door) and the questions of the
 * host. guard.c is the machines, question.c what the host may ask. */
#ifndef GUARD_H
#define GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame.h"
#include "session.h"
#include "slot.h"
#include "state.h"

/* States, by their numbers on the wire. */
enum link_state { LINK_UNPAIRED, LINK_IDLE, LINK_READY, LINK_TAMPERED };
enum lock_state { LOCK_SHUT, LOCK_GRANTED, LOCK_EXIT, LOCK_BOTH };
enum door_state { DOOR_CLOSED, DOOR_OPEN, DOOR_FORCED, DOOR_HELD };

/* What can happen. Each machine's table says what it makes of it. */
enum happening {
	ON_PAIR,     /* the host paired */
	ON_HELLO,    /* the host opened a session */
	ON_LOST,     /* no sealed frame for BEAT_MS */
	ON_WIPE,     /* host, button or damage: argument of EVENT_WIPED */
	ON_TAMPER,   /* the enclosure was opened */
	ON_QUIET,    /* the enclosure is shut again */
	ON_UNLOCK,   /* a valid unlock: argument is the hold in ms */
	ON_LOCK,     /* the host shuts the lock */
	ON_HOLD_OVER, /* of the unlock */
	ON_EXIT_OVER, /* of the exit button */
	ON_RESTART,  /* about to start again */
	ON_EXIT,     /* exit button */
	ON_OPENED,   /* the door, while the lock is open */
	ON_FORCED,   /* the door, while the lock is shut */
	ON_CLOSED,
	ON_HELD_OVER,
};

/* Why the host is refused (PROTOCOL.md section 6.4). */
enum refusal {
	REFUSED_MALFORMED = 1,
	REFUSED_UNKNOWN,
	REFUSED_UNPAIRED,
	REFUSED_PAIRED,
	REFUSED_PRESENCE,
	REFUSED_TAMPER,
	REFUSED_SESSION,
	REFUSED_TAG,
	REFUSED_REPLAY,
	REFUSED_CHALLENGE,
	REFUSED_HOLD,
	REFUSED_BUSY,
	REFUSED_FAULT,
};

/* What is left of each time, in ms; 0 is not running. */
struct timers {
	uint32_t beat;
	uint32_t challenge;
	uint32_t hold; /* of the unlock */
	uint32_t exit;
	uint32_t held;
	uint32_t presence;
	uint32_t wipe;
	uint32_t buzzer;
};

#define INPUTS 4u

/* Inputs, each of which must stay changed for DEBOUNCE_MS of its own: one that chatters
 * must not hide the others. */
struct debounced {
	uint8_t stable;        /* HAL_IN_ bits */
	uint32_t left[INPUTS]; /* by bit; 0: as it was */
};

struct guard {
	enum link_state link;
	enum lock_state lock;
	enum door_state door;
	struct timers left;
	struct debounced input;
	struct session session;
	struct events events;
	struct frame_reader reader;

	uint8_t challenge[CHALLENGE_SIZE];
	uint8_t lamp; /* SIGNAL: 0 automatic, 1 off, 2 on, 3 blink */
	bool state_failed;
	bool confirmed;       /* nothing is left to confirm */
	bool wipe_after;      /* once the answer is sent */
	bool loader_after;
	uint32_t now;         /* the last hal_now */
	uint32_t frames_taken;
	uint32_t frames_garbled;
	uint32_t frames_refused;

	enum slot slot;
	struct image image; /* the one that runs */
};

/* Start: inputs are read, the start counter rises, the lock is shut. */
void guard_start(struct guard *g, enum slot running);

/* One turn of the loop: time, inputs, one byte of the host, outputs. */
void guard_turn(struct guard *g);

/* Let something happen to all three machines. */
void guard_on(struct guard *g, enum happening what, uint32_t argument);

/* The first sealed frame of a trial, or CONFIRM of an unpaired board: keep this
 * image and raise the floor. False: flash failed. */
bool guard_confirm(struct guard *g);

/* main.c: the application, linked for a slot. */
_Noreturn void guard_main(enum slot running);

/* question.c: answer a raw frame of n bytes. */
void guard_answer(struct guard *g, uint8_t *raw, size_t n);

#endif
