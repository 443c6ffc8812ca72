#include "state.h"

#include <string.h>

#include "bytes.h"
#include "hal.h"
#include "hash.h"

#define PAIRING_PAGE 4u
#define RING_PAGE 5u
#define RING_PAGES 8u

static uint32_t page_address(unsigned page)
{
	return BOARD_STATE + page * BOARD_PAGE;
}

static bool blank(uint32_t address, size_t n)
{
	const uint8_t *p = hal_flash(address);
	uint8_t all = 0xFF;

	for (size_t i = 0; i < n; i++) {
		all &= p[i];
	}
	return all == 0xFFu;
}

/* --- counters --------------------------------------------------------------- */

#define PAIR 8u
#define PAIRS (BOARD_PAGE / PAIR)

static uint32_t pair_value(uint32_t address)
{
	const uint8_t *p = hal_flash(address);
	const uint32_t value = get32(p);

	return value == ~get32(p + 4) ? value : 0u;
}

/* The highest value of a page; *free is the first pair behind all that was written. */
static uint32_t page_highest(unsigned page, size_t *free)
{
	uint32_t highest = 0;

	*free = 0;
	for (size_t i = 0; i < PAIRS; i++) {
		const uint32_t at = page_address(page) + (uint32_t)(i * PAIR);
		const uint32_t value = pair_value(at);

		if (value > highest) {
			highest = value;
		}
		if (!blank(at, PAIR)) {
			*free = i + 1u;
		}
	}
	return highest;
}

uint32_t counter_read(unsigned first)
{
	size_t free;
	const uint32_t a = page_highest(first, &free);
	const uint32_t b = page_highest(first + 1u, &free);

	return a > b ? a : b;
}

bool counter_raise(unsigned first, uint32_t value)
{
	size_t free[2];
	const uint32_t a = page_highest(first, &free[0]);
	const uint32_t b = page_highest(first + 1u, &free[1]);
	unsigned at = a >= b ? 0u : 1u; /* the page that holds the highest */
	uint8_t pair[PAIR];

	if (value <= (at == 0u ? a : b)) {
		return true;
	}
	if (free[at] == PAIRS) {
		at = 1u - at; /* the other holds nothing that is still needed */
		free[at] = 0;
		if (!hal_flash_erase(page_address(first + at))) {
			return false;
		}
	}
	put32(pair, value);
	put32(pair + 4, ~value);
	return hal_flash_write(page_address(first + at) + (uint32_t)(free[at] * PAIR), pair, PAIR);
}

/* --- pairing key ------------------------------------------------------------ */

#define RECORD (4u + PAIRING_SIZE + 4u)

bool pairing_read(uint8_t key[PAIRING_SIZE])
{
	const uint8_t *p = hal_flash(page_address(PAIRING_PAGE));

	if (memcmp(p, "PKEY", 4) != 0 || get32(p + 36) != crc32(p, 36)) {
		return false;
	}
	memcpy(key, p + 4, PAIRING_SIZE);
	return true;
}

bool pairing_write(const uint8_t key[PAIRING_SIZE])
{
	uint8_t record[RECORD];

	memcpy(record, "PKEY", 4);
	memcpy(record + 4, key, PAIRING_SIZE);
	put32(record + 36, crc32(record, 36));

	const bool ok = hal_flash_erase(page_address(PAIRING_PAGE)) &&
	                hal_flash_write(page_address(PAIRING_PAGE), record, RECORD);

	forget(record, sizeof record);
	return ok;
}

bool pairing_blank(void)
{
	/* The whole record is looked at: a torn one may still hold half a key. */
	return blank(page_address(PAIRING_PAGE), RECORD);
}

bool pairing_wipe(void)
{
	return pairing_blank() || hal_flash_erase(page_address(PAIRING_PAGE));
}

/* --- event ring ------------------------------------------------------------- */

#define SLOT (EVENT_SIZE + 4u)
#define PER_PAGE (BOARD_PAGE / SLOT)
#define RING (RING_PAGES * PER_PAGE)

static uint32_t ring_address(size_t position)
{
	return page_address(RING_PAGE) + (uint32_t)(position * SLOT);
}

/* The record's sequence, 0 where there is none. */
static uint32_t ring_sequence(size_t position)
{
	const uint8_t *p = hal_flash(ring_address(position));
	const uint32_t sequence = get32(p);

	/* The cheap test first: most of a ring is blank at the start, and waits for that. */
	return sequence != 0xFFFFFFFFu && get32(p + EVENT_SIZE) == crc32(p, EVENT_SIZE) ? sequence : 0u;
}

/* The first sequence that is met on the way round from next. */
static uint32_t ring_oldest(const struct events *e)
{
	for (size_t i = 0; i < RING; i++) {
		const uint32_t sequence = ring_sequence((e->next + i) % RING);

		if (sequence != 0u) {
			return sequence;
		}
	}
	return 0;
}

void events_open(struct events *e, uint32_t starts)
{
	memset(e, 0, sizeof *e);
	e->starts = (uint16_t)starts;
	for (size_t i = 0; i < RING; i++) {
		const uint32_t sequence = ring_sequence(i);

		if (sequence > e->newest) {
			e->newest = sequence;
			e->next = (i + 1u) % RING;
		}
	}
	e->oldest = ring_oldest(e);
}

/* Make room at next: erase a page that is entered, step over torn records. */
static bool ring_room(struct events *e)
{
	for (size_t i = 0; i < RING; i++) {
		if (e->next % PER_PAGE == 0u) {
			/* The whole page: an erase that was cut may have left its front blank. */
			return blank(ring_address(e->next), BOARD_PAGE) || hal_flash_erase(ring_address(e->next));
		}
		if (blank(ring_address(e->next), SLOT)) {
			return true;
		}
		e->next = (e->next + 1u) % RING;
	}
	return false;
}

void events_add(struct events *e, enum event_code code, uint8_t argument, uint32_t ms)
{
	uint8_t record[SLOT];

	if (!ring_room(e)) {
		e->failed = true;
		return;
	}
	put32(record, e->newest + 1u);
	put16(record + 4, e->starts);
	record[6] = (uint8_t)code;
	record[7] = argument;
	put32(record + 8, ms);
	put32(record + 12, crc32(record, EVENT_SIZE));
	if (!hal_flash_write(ring_address(e->next), record, SLOT)) {
		e->failed = true;
		e->next = (e->next + 1u) % RING;
		return;
	}
	e->newest++;
	e->next = (e->next + 1u) % RING;
	e->oldest = ring_oldest(e);
}

size_t events_after(const struct events *e, uint32_t sequence, uint8_t *out, size_t max)
{
	size_t n = 0;

	for (size_t i = 0; i < RING && n < max; i++) {
		const size_t position = (e->next + i) % RING;
		const uint8_t *p = hal_flash(ring_address(position));

		/* The cheap test first: most of the ring is not asked for. */
		if (get32(p) > sequence && ring_sequence(position) != 0u) {
			memcpy(out + n * EVENT_SIZE, p, EVENT_SIZE);
			n++;
		}
	}
	return n;
}
