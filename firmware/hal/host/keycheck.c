/* Whether a production key can be one, for the Makefile: 64 hexadecimal digits on one
 * line that are a point of the curve, and not one for which anybody can sign.
 * Prints it as bytes with commas. */
#include <stdio.h>
#include <string.h>

#include "boot.h"
#include "ed25519.h"

static int refuse(const char *file, const char *why)
{
	fprintf(stderr, "%s: %s\n", file, why);
	return 1;
}

int main(int argc, char **argv)
{
	char text[66];
	uint8_t key[32];

	if (argc != 2) {
		return 2;
	}

	FILE *f = fopen(argv[1], "rb");

	if (f == NULL) {
		perror(argv[1]);
		return 1;
	}

	const size_t n = fread(text, 1, sizeof text, f);

	fclose(f);
	if (!(n == 64u || (n == 65u && text[64] == '\n')) || strspn(text, "0123456789abcdefABCDEF") < 64u) {
		return refuse(argv[1], "a production key is 64 hexadecimal digits on one line, and nothing else");
	}
	for (unsigned i = 0; i < 32u; i++) {
		const char digits[3] = { text[2u * i], text[2u * i + 1u], '\0' };
		unsigned byte;

		(void)sscanf(digits, "%2x", &byte);
		key[i] = (uint8_t)byte;
	}
	if (!key_ok(key)) {
		return refuse(argv[1], "anybody can sign for this key: it is of small order");
	}
	if (!ed25519_point(key)) {
		return refuse(argv[1], "this is no public key: no point of the curve");
	}
	for (unsigned i = 0; i < 32u; i++) {
		printf("0x%02x,", key[i]);
	}
	return 0;
}
