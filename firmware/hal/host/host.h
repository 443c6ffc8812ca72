/* The inside of the host board, for those who drive it. */
#ifndef HOST_H
#define HOST_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "hal.h"

enum host_operation { HOST_ERASE, HOST_WRITE };

/* Why the program came back: hal_run and hal_restart do not return to it. */
enum host_exit { HOST_RUNS = 1, HOST_RESTARTS = 2, HOST_STOPS = 3 };

struct host {
	uint8_t flash[BOARD_FLASH_SIZE];
	bool written[BOARD_FLASH_SIZE / 4]; /* words since their last erase */

	uint32_t now;      /* ms */
	bool clock_runs;   /* each hal_now moves it by one */
	uint8_t inputs;    /* HAL_IN_ */
	uint8_t outputs;   /* HAL_OUT_ */
	uint8_t ever_high; /* outputs that were high since it was cleared */
	enum hal_start started;
	uint16_t stack_used;

	/* The wire; NULL: nothing comes, and nothing is heard. */
	bool (*get)(uint8_t *byte);
	void (*put)(const uint8_t *bytes, size_t n);
	void (*sleep)(uint32_t ms); /* NULL: not at all */
	void (*changed)(uint8_t outputs);

	/* Called before each flash operation: a word's write, a page's erase. */
	void (*operation)(enum host_operation what, uint32_t address, uint32_t word);
	uint32_t operations; /* done */
	uint32_t violations; /* writes to words that were not erased, or over a page's end: refused */
	uint32_t fails_at;   /* the operation that fails, counted from 1; 0: none */
	bool fails_on;       /* and every one behind it */

	/* The watchdog: it runs from the first feed on, and what takes the reference board
	 * long takes its time here too, by host_works. */
	uint32_t fed;        /* calls of hal_watchdog */
	uint32_t unfed_us;   /* work since the last one */
	uint32_t longest_us; /* the most that it ever was */
	bool bitten;         /* it was more than BOARD_WATCHDOG_MS */

	jmp_buf leave; /* gets enum host_exit */
	uint32_t run;  /* vectors of HOST_RUNS */
	enum hal_start restart;
};

extern struct host host;

/* Microseconds that the reference board takes, at 16 MHz: for a signature, and for 64
 * bytes of SHA-256 (7.2 million and 7,600 cycles on the emulated M0+). */
#define HOST_SIGNATURE_US 500000u
#define HOST_BLOCK_US 500u

/* Something that takes time was done. */
void host_works(uint32_t us);

/* Erased flash with the loader's block in it, everything at rest. */
void host_reset(void);

#endif
