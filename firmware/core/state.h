/* What the board keeps over a restart: two counters, the pairing key, the event
 * ring (PROTOCOL.md section 4). Every change is whole or not there at all when
 * the power is cut in it. */
#ifndef STATE_H
#define STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The counters, by their first page. */
#define COUNTER_FLOOR 0u
#define COUNTER_STARTS 2u

uint32_t counter_read(unsigned first);

/* Raise a counter; a value that is not above it changes nothing. False: flash failed. */
bool counter_raise(unsigned first, uint32_t value);

#define PAIRING_SIZE 32u

/* The pairing key, or false: there is none. */
bool pairing_read(uint8_t key[PAIRING_SIZE]);
bool pairing_write(const uint8_t key[PAIRING_SIZE]);

/* Whether there is nothing of a key, not half of one either. */
bool pairing_blank(void);

/* Erase the pairing key; quick when there is none. False: it is still there. */
bool pairing_wipe(void);

enum event_code {
	EVENT_START = 1,
	EVENT_PAIRED,
	EVENT_WIPED,
	EVENT_SESSION,
	EVENT_LOST,
	EVENT_UNLOCKED,
	EVENT_LOCKED,
	EVENT_REFUSED,
	EVENT_TAMPER,
	EVENT_OPENED,
	EVENT_CLOSED,
	EVENT_FORCED,
	EVENT_HELD,
	EVENT_EXIT,
	EVENT_CONFIRMED,
	EVENT_LOADER,
};

#define EVENT_SIZE 12u

/* Where the ring stands. */
struct events {
	size_t next;     /* position of the next record */
	uint32_t newest; /* sequences; 0: none */
	uint32_t oldest;
	uint16_t starts; /* the start counter's low half, for every record */
	bool failed;     /* a record could not be written */
};

/* Find the ends of the ring. */
void events_open(struct events *e, uint32_t starts);
void events_add(struct events *e, enum event_code code, uint8_t argument, uint32_t ms);

/* Copy at most max records above a sequence, the oldest first; returns how many. */
size_t events_after(const struct events *e, uint32_t sequence, uint8_t *out, size_t max);

#endif
