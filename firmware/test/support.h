/* What the unit tests share: images that are signed, a host that speaks the
 * session, and the flash of a board as it comes off the bench. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "boot.h"
#include "bytes.h"
#include "guard.h"
#include "hal.h"
#include "hash.h"
#include "host.h"
#include "limits.h"

/* Seeds of the development key and of the tests' production key (testdata/protocol.txt). */
#define SEED_DEVELOPMENT 0x46
#define SEED_PRODUCTION 0x50

/* An image as it is sent: header, body, padding to a multiple of 1024. */
struct made {
	uint8_t bytes[BOARD_SLOT_SIZE + 2048];
	size_t n;       /* with padding */
	uint32_t size;  /* of the body */
};

struct recipe {
	uint8_t seed;
	uint16_t key;
	uint32_t board;
	uint32_t link;
	uint32_t version;
	uint32_t rollback;
	uint32_t size;
};

/* A good image for a slot. */
struct recipe good(enum slot s, uint32_t version, uint32_t rollback, uint32_t size);
void make_image(struct made *m, struct recipe r);

/* Sign the header again, after a test changed it. */
void sign_header(uint8_t header[HEADER_SIZE], uint8_t seed);

/* Put an image straight into its slot, with these trailer marks. */
void place_image(const struct recipe r, uint32_t sequence, bool tried, bool confirmed);

/* Feed an image to an installation in blocks of a size. */
enum fail install_all(enum slot target, const uint8_t *bytes, size_t n, size_t block);

/* --- the host's end of the wire ------------------------------------------------ */

extern struct guard board; /* the board under test */

struct answer {
	uint8_t raw[FRAME_MAX];
	size_t n; /* 0: no answer */
};

/* Let ms pass, one turn a millisecond. */
void pass(uint32_t ms);

/* Send bytes to the board; what it answers last is returned. */
struct answer send_wire(const uint8_t *bytes, size_t n);
struct answer send_raw(const uint8_t *raw, size_t n);
struct answer ask_plain(uint8_t type, const void *body, size_t n);

struct peer {
	uint8_t key[32];
	uint8_t to_board[32];
	uint8_t to_host[32];
	uint32_t sent;
	uint32_t heard;
};
extern struct peer peer;

/* guard_start, with a clock that runs while it looks at its inputs and stands again behind it. */
void start_guard(struct guard *g, enum slot running);

/* A board with an image in slot A, running; press and pair; open a session. */
void start_board(void);
void restart_board(enum hal_start why);
void pair_board(void);
void open_session(void);

/* Ask in the session; the answer's tag, counter and echo are checked. Returns the
 * body behind the echoed counter. */
struct answer ask(uint8_t type, const void *body, size_t n);
struct answer ask_sealed(uint8_t type, uint32_t counter, const void *body, size_t n);

/* Whether the answer is a refusal with this code, sealed or plain. */
void assert_refused(struct answer a, uint8_t type, uint8_t code);

/* Open the lock for ms. */
void unlock_for(uint16_t ms);

bool lock_line(void);

/* The newest event of a code, or false. */
bool find_event(enum event_code code, uint8_t *argument);

#endif
