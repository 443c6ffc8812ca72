#include <stddef.h>

#include "boot.h"
#include "hal.h"

/* The development key is public (its seed is in PROTOCOL.md): it lets anybody build
 * for a board on the desk, and a production loader does not have it. */
#ifndef PRODUCTION
static const uint8_t development[32] = {
	0xee, 0x93, 0xa4, 0xf6, 0x6f, 0x8d, 0x16, 0xb8, 0x19, 0xbb, 0x9b, 0xeb, 0x9f, 0xfc, 0xcd, 0xfc,
	0xdc, 0x14, 0x12, 0xe8, 0x7f, 0xee, 0x6a, 0x32, 0x4c, 0x2a, 0x99, 0xa1, 0xe0, 0xe6, 0x71, 0x48,
};
#endif

/* Bytes with commas, out of the file that the build was given. */
#ifdef PRODUCTION_KEY
_Static_assert(sizeof((const uint8_t[]){ PRODUCTION_KEY }) == 32, "a public key has 32 bytes");
static const uint8_t production[32] = { PRODUCTION_KEY };
#elif defined(PRODUCTION)
#error "a production loader needs a key: make PRODUCTION_KEY=FILE"
#endif

const uint8_t *boot_key(uint16_t kind)
{
#ifdef PRODUCTION_KEY
	if (kind == KEY_PRODUCTION) {
		return production;
	}
#endif
#ifndef PRODUCTION
	if (kind == KEY_DEVELOPMENT) {
		return development;
	}
#endif
	(void)kind;
	return NULL;
}

__attribute__((section(".loader_info"), used)) const struct loader_info boot_info = {
	.magic = LOADER_MAGIC,
	.version = LOADER_VERSION,
#ifdef PRODUCTION
	.production = 1,
#endif
};
