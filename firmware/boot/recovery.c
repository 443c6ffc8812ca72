/* Serial recovery: a line console for any terminal, and XMODEM (PROTOCOL.md section 5). */
#include <string.h>

#include "boot.h"
#include "bytes.h"
#include "hal.h"
#include "limits.h"
#include "state.h"

#define SOH 0x01u
#define STX 0x02u
#define EOT 0x04u
#define ACK 0x06u
#define NAK 0x15u
#define CAN 0x18u

#define PURGE_MS 200u /* silence that ends a garbled block */
#define END_MS 40u    /* behind the last ACK, for the sender to end: what it reads with the ACK nobody sees */
#define BLOCK_LARGE 1024u
#define EARLY_ACK ((size_t)BOARD_SERIAL_KEPT >= BLOCK_LARGE + 5u)

/* --- text ------------------------------------------------------------------- */

static void put_text(const char *text)
{
	hal_serial_put((const uint8_t *)text, strlen(text));
}

static void put_byte(uint8_t byte)
{
	hal_serial_put(&byte, 1);
}

static void put_number(uint32_t v)
{
	char digits[11];
	unsigned at = sizeof digits - 1u;

	digits[at] = '\0';
	do {
		digits[--at] = (char)('0' + (char)(v % 10u));
		v /= 10u;
	} while (v != 0u);
	put_text(digits + at);
}

static void put_hex(const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		put_byte((uint8_t)digits[bytes[i] >> 4]);
		put_byte((uint8_t)digits[bytes[i] & 15u]);
	}
}

static void put_version(uint32_t v)
{
	put_number(v >> 24);
	put_text(".");
	put_number(v >> 16 & 0xFFu);
	put_text(".");
	put_number(v & 0xFFFFu);
}

static void put_slot(enum slot s)
{
	put_text(s == SLOT_A ? "A" : "B");
}

static void put_address(uint32_t a)
{
	const uint8_t big[4] = { (uint8_t)(a >> 24), (uint8_t)(a >> 16), (uint8_t)(a >> 8), (uint8_t)a };

	put_text("0x");
	put_hex(big, sizeof big);
}

static const struct {
	const char *name;
	const char *text;
} fails[] = {
	[FAIL_NONE] = { "none", "" },
	[FAIL_MAGIC] = { "magic", "this is not an image; send a .fpb file" },
	[FAIL_HEADER] = { "header", "the image's header is malformed; build it again" },
	[FAIL_BOARD] = { "board", "the image is for another board; see board= above" },
	[FAIL_SLOT] = { "slot", "no image for the target slot in it; send the whole .fpb file" },
	[FAIL_KEY] = { "key", "this loader has no key of that kind; sign for production" },
	[FAIL_SIGNATURE] = { "signature", "the signature does not match; the file is damaged or forged" },
	[FAIL_OLDER] = { "older", "its rollback counter is below floor=; send a newer image" },
	[FAIL_SIZE] = { "size", "it does not fit into the slot" },
	[FAIL_DIGEST] = { "digest", "flash does not hold what was sent; send it again" },
	[FAIL_TORN] = { "torn", "the transfer ended before the image; send the whole file" },
	[FAIL_TRANSFER] = { "transfer", "the sender fell silent or the line is bad; send it again" },
	[FAIL_CANCELLED] = { "cancelled", "the sender gave up; send it again" },
	[FAIL_FLASH] = { "flash", "flash cannot be written; send it again, then replace the board" },
	[FAIL_COMMAND] = { "command", "unknown; there are: info, load, boot, help" },
	[FAIL_NOTHING] = { "none", "no image can be started; load one" },
};

static void put_error(enum fail f)
{
	put_text("error ");
	put_text(fails[f].name);
	put_text(": ");
	put_text(fails[f].text);
	put_text("\r\n");
}

/* A slot; whether its image is whole. */
static bool put_slot_line(enum slot s, uint32_t floor)
{
	struct image image;
	const enum fail f = image_check(s, floor, &image);
	const struct trailer t = trailer_read(s);

	put_text("slot ");
	put_slot(s);
	if (f == FAIL_MAGIC) {
		put_text(" empty\r\n");
		return false;
	}
	if (f != FAIL_NONE) {
		put_text(" bad ");
		put_text(fails[f].name);
		put_text("\r\n");
		return false;
	}
	put_text(" ");
	put_version(image.version);
	put_text(" rollback=");
	put_number(image.rollback);
	put_text(" sequence=");
	put_number(t.sequence);
	put_text(t.confirmed ? " confirmed\r\n" : t.tried ? " tried\r\n" : " new\r\n");
	return true;
}

static void put_target(enum slot s)
{
	put_slot(s);
	put_text(" ");
	put_address(slot_address(s));
	put_text("\r\n");
}

/* The loader, and what is in the slots; the slot that an installation may erase. */
static enum slot put_info(void)
{
	const uint32_t floor = counter_read(COUNTER_FLOOR);
	uint8_t serial[8];

	hal_serial_number(serial);
	put_text("faceprint-loader ");
	put_version(boot_info.version);
	put_text(" board=");
	put_number(BOARD_ID);
	put_text(" serial=");
	put_hex(serial, sizeof serial);
	put_text(boot_info.production != 0u ? " key=production floor=" : " key=development floor=");
	put_number(floor);
	put_text("\r\n");

	const bool a = put_slot_line(SLOT_A, floor);
	const bool b = put_slot_line(SLOT_B, floor);

	const enum slot target = boot_target_of(a, b);

	put_text("target ");
	put_target(target);
	return target;
}

/* --- XMODEM ----------------------------------------------------------------- */

/* A byte within a time; false: silence. */
static bool take(uint8_t *byte, uint32_t ms)
{
	const uint32_t start = hal_now();

	do {
		hal_watchdog();
		if (hal_serial_get(byte)) {
			return true;
		}
		hal_sleep(SLEEP_MS);
	} while (hal_now() - start < ms);
	return false;
}

/* Wait until the line is silent; false: something came until then. A line that never is
 * silent ends with the sender's block. */
static bool purge(uint32_t silence)
{
	uint8_t byte;
	unsigned came = 0;

	while (came < 2u * BLOCK_LARGE && take(&byte, silence)) {
		came++;
	}
	return came == 0u;
}

/* Tell the sender that it is over, until it is silent. A refused end is not what lrzsz
 * expects: it sends the end again, ten times, and is answered each time. */
static void cancel(void)
{
	uint8_t byte;

	for (unsigned i = 0; i < 3u; i++) {
		put_byte(CAN);
	}
	for (unsigned i = 0; i < 2u * BLOCK_LARGE && take(&byte, PURGE_MS); i++) {
		if (byte == EOT) {
			put_byte(CAN);
		}
	}
}

static uint16_t crc16(const uint8_t *bytes, size_t n)
{
	uint16_t crc = 0;

	for (size_t i = 0; i < n; i++) {
		crc ^= (uint16_t)(bytes[i] << 8);
		for (unsigned bit = 0; bit < 8u; bit++) {
			const bool carry = (crc & 0x8000u) != 0u;

			crc = (uint16_t)(crc << 1);
			if (carry) {
				crc ^= 0x1021u;
			}
		}
	}
	return crc;
}

/* A block behind its first byte: number, complement, size bytes, CRC-16. */
struct block {
	uint8_t bytes[2u + BLOCK_LARGE + 2u];
	size_t size;
};

static bool take_block(struct block *b)
{
	const size_t n = 2u + b->size + 2u;

	for (size_t i = 0; i < n; i++) {
		if (!take(&b->bytes[i], POLL_MS)) {
			return false;
		}
	}

	const uint8_t *crc = b->bytes + 2u + b->size;

	return (b->bytes[0] ^ b->bytes[1]) == 0xFFu && crc16(b->bytes + 2, b->size) == (uint16_t)(crc[0] << 8 | crc[1]);
}

enum heard { HEARD_SILENCE, HEARD_BLOCK, HEARD_GARBLED, HEARD_END, HEARD_CANCEL };

/* What the sender sends next. */
static enum heard hear(struct block *b)
{
	uint8_t byte;

	if (!take(&byte, POLL_MS)) {
		return HEARD_SILENCE;
	}
	switch (byte) {
	case SOH:
	case STX:
		b->size = byte == SOH ? 128u : BLOCK_LARGE;
		return take_block(b) ? HEARD_BLOCK : HEARD_GARBLED;
	case EOT:
		return HEARD_END;
	case CAN:
		return take(&byte, POLL_MS) && byte == CAN ? HEARD_CANCEL : HEARD_GARBLED;
	default:
		return HEARD_GARBLED;
	}
}

/* Receive until the transfer ends, by whatever; an image may be whole by then. */
static enum fail receive(struct install *in)
{
	static struct block block; /* too large for the stack */
	const uint32_t start = hal_now();
	uint8_t expected = 1;
	bool begun = false;
	unsigned ends = 0; /* in a row, too early */
	unsigned bad = 0;
	enum fail f;

	put_byte('C');
	for (;;) {
		const enum heard h = hear(&block);

		switch (h) {
		case HEARD_BLOCK:
			ends = 0;
			if (begun && block.bytes[0] == (uint8_t)(expected - 1u)) {
				bad++; /* our ACK was lost; taken already */
				put_byte(ACK);
				break;
			}
			if (block.bytes[0] != expected) {
				return FAIL_TRANSFER;
			}
			/* Where nothing is lost meanwhile, the next block travels while this one
			 * is written. A refusal comes behind the ACK then, as CAN. */
			if (EARLY_ACK) {
				put_byte(ACK);
			}
			f = install_take(in, block.bytes + 2, block.size);
			if (f != FAIL_NONE) {
				return f;
			}
			begun = true;
			bad = 0;
			expected++;
			if (!EARLY_ACK) {
				put_byte(ACK);
			}
			break;
		case HEARD_END:
			f = install_end(in);
			if (f == FAIL_NONE) {
				put_byte(ACK);
				return f;
			}
			/* An end that comes too early may be a byte of noise: who means it says
			 * it again. */
			if (purge(PURGE_MS)) {
				ends++;
			}
			if (ends == 2u) {
				return f;
			}
			bad++;
			put_byte(begun ? NAK : 'C');
			break;
		case HEARD_CANCEL:
			return FAIL_CANCELLED;
		case HEARD_GARBLED:
			/* The rest of a block, whose bytes would each pass for the head of another. */
			(void)purge(PURGE_MS);
			ends = 0;
			bad++;
			put_byte(begun ? NAK : 'C');
			break;
		case HEARD_SILENCE:
		default:
			bad++;
			put_byte(begun ? NAK : 'C');
			break;
		}
		/* Line noise and typed letters before the first block do no harm. */
		if (begun ? bad >= BAD_BLOCKS_MAX : hal_now() - start >= RECEIVE_MS) {
			return FAIL_TRANSFER;
		}
	}
}

static void load(enum slot target)
{
	static struct install in; /* the terminal's one transfer */

	memset(&in, 0, sizeof in);
	in.target = target;
	put_text("ready ");
	put_target(in.target);

	const enum fail f = receive(&in);

	if (f == FAIL_NONE) {
		(void)purge(END_MS);
	} else {
		cancel();
	}
	/* What is whole is started, also when the sender gave up behind its last byte. */
	if (in.phase != INSTALL_DONE) {
		put_text("\r\n");
		put_error(f);
		return;
	}
	put_text("\r\nok ");
	put_slot(in.target);
	put_text(" ");
	put_version(in.image.version);
	put_text("\r\n");
}

/* --- console ---------------------------------------------------------------- */

/* A line of at most LINE_MAX_LEN characters, or false: RECOVERY_MS have passed since a
 * time. Bytes do not move it: a host that asks again and again who is there would keep
 * the loader awake for ever. */
static bool take_line(char line[LINE_MAX_LEN + 1u], uint32_t since)
{
	size_t n = 0;
	uint8_t byte;

	for (;;) {
		const uint32_t waited = hal_now() - since;

		if (waited >= RECOVERY_MS || !take(&byte, RECOVERY_MS - waited)) {
			return false;
		}
		if (byte == '\r' || byte == '\n') {
			put_text("\r\n");
			line[n] = '\0';
			return true;
		}
		if ((byte == 0x08u || byte == 0x7Fu) && n > 0u) {
			n--;
			put_text("\b \b");
		} else if (byte >= 0x20u && byte < 0x7Fu && n < LINE_MAX_LEN) {
			line[n++] = (char)byte;
			put_byte(byte);
		}
	}
}

/* The image to start, announced; NO_SLOT when there is none. */
static unsigned select_and_tell(void)
{
	const unsigned s = boot_select(false);
	struct image image;

	if (s != NO_SLOT) {
		(void)image_parse(hal_flash(slot_address((enum slot)s)), &image);
		put_text("boot ");
		put_slot((enum slot)s);
		put_text(" ");
		put_version(image.version);
		put_text("\r\n");
	}
	return s;
}

enum slot recovery(void)
{
	char line[LINE_MAX_LEN + 1u];

	put_text("\r\n");

	/* What info found stays so until an image is installed: to check both again for a
	 * load would take longer than to send one. */
	unsigned target = put_info();
	uint32_t since = hal_now(); /* start, or the last command that only a person or an update gives */

	for (;;) {
		put_text("> ");

		const bool over = !take_line(line, since);

		if (over || strcmp(line, "boot") == 0) {
			const unsigned s = select_and_tell();

			if (s != NO_SLOT) {
				return (enum slot)s;
			}
			put_error(FAIL_NOTHING);
			since = hal_now();
		} else if (strcmp(line, "info") == 0) {
			target = put_info();
		} else if (strcmp(line, "load") == 0) {
			load(target == NO_SLOT ? boot_target() : (enum slot)target);
			target = NO_SLOT;
			since = hal_now();
		} else if (strcmp(line, "help") == 0) {
			put_text("info  what is in the slots\r\n"
			         "load  receive an image by XMODEM-1K\r\n"
			         "boot  start the best image\r\n");
			since = hal_now();
		} else if (line[0] != '\0') {
			put_error(FAIL_COMMAND);
		}
	}
}
