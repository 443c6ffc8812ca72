/*
 * Fuzzes the reader of the daemon's answer (libFuzzer, or main below for one
 * file). The first byte says in pieces of which size the rest arrives. What is
 * checked beside memory: pieces do not matter, a line that was accepted is what
 * would be written, and nothing that was refused leaves a yes behind.
 */
#include "answer.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(c) do { if (!(c)) { fprintf(stderr, "fuzz_answer: %s\n", #c); abort(); } } while (0)

/* write makes the line that would be read as a. */
static size_t write_line(const struct answer *a, const char *line, size_t n, char *to, size_t size)
{
	/* The order of the keys is free: follow the order in which they came. */
	const char *names[] = {"nonce", "account", "hint", "outcome", "reason", "keyring"};
	const char *values[] = {a->nonce, a->account, a->hint, a->outcome, a->reason, a->keyring};
	const size_t count = sizeof(names) / sizeof(names[0]);
	/* A field that is added there is added here. */
	_Static_assert(sizeof(*a) == sizeof(a->nonce) + sizeof(a->account) + sizeof(a->hint) + sizeof(a->outcome) +
				     sizeof(a->reason) + sizeof(a->keyring), "a field of struct answer is missing here");
	char key[24];
	size_t used = 0;
	to[used++] = '{';
	for (size_t i = 1; i < n;) {
		size_t f = 0;
		for (; f < count; f++) {
			int k = snprintf(key, sizeof(key), "\"%s\":", names[f]);
			if (n - i >= (size_t)k && memcmp(line + i, key, (size_t)k) == 0)
				break;
		}
		MUST(f < count);
		int k = snprintf(to + used, size - used, "\"%s\":\"%s\"", names[f], values[f]);
		MUST(k > 0 && (size_t)k < size - used);
		used += (size_t)k;
		i += (size_t)k;
		MUST(i < n);
		to[used++] = line[i++];
	}
	return used;
}

static size_t run(const uint8_t *data, size_t n, size_t piece, struct answer *last, enum answer_found *end)
{
	struct answer_reader r;
	size_t lines = 0, i = 0;
	answer_init(&r);
	*end = ANSWER_MORE;
	memset(last, 0, sizeof(*last));
	for (;;) {
		struct answer a;
		enum answer_found found = answer_next(&r, &a);
		if (found == ANSWER_LINE) {
			MUST(a.nonce[0] != '\0' && a.account[0] != '\0');
			MUST(answer_is_ours(&a, a.nonce, a.account));
			*last = a;
			lines++;
			continue;
		}
		struct answer none;
		memset(&none, 0, sizeof(none));
		MUST(memcmp(&a, &none, sizeof(a)) == 0);
		if (found == ANSWER_BROKEN) {
			MUST(answer_next(&r, &a) == ANSWER_BROKEN);
			*end = found;
			return lines;
		}
		char *at;
		size_t room = answer_room(&r, &at);
		MUST(at >= r.buf && at + room <= r.buf + sizeof(r.buf));
		if (i == n || room == 0)
			return lines;
		size_t take = n - i < piece ? n - i : piece;
		if (take > room)
			take = room;
		memcpy(at, data + i, take);
		answer_took(&r, take);
		i += take;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	size_t piece = (size_t)data[0] + 1;
	data++;
	n--;
	struct answer a, b;
	enum answer_found enda, endb;
	size_t lines = run(data, n, piece, &a, &enda);
	MUST(run(data, n, ANSWER_BUFFER, &b, &endb) == lines);
	MUST(enda == endb && memcmp(&a, &b, sizeof(a)) == 0);

	struct answer c;
	if (answer_parse((const char *)data, n, &c) == 0) {
		char again[2048];
		MUST(n < sizeof(again));
		size_t m = write_line(&c, (const char *)data, n, again, sizeof(again));
		MUST(m == n && memcmp(again, data, n) == 0);
	}
	return 0;
}

#ifdef FUZZ_MAIN
/* main runs the files that it is given, for a corpus without libFuzzer. */
int main(int argc, char **argv)
{
	static uint8_t buf[1 << 20];
	for (int i = 1; i < argc; i++) {
		FILE *f = fopen(argv[i], "rb");
		if (f == NULL) {
			perror(argv[i]);
			return 2;
		}
		size_t n = fread(buf, 1, sizeof(buf), f);
		fclose(f);
		LLVMFuzzerTestOneInput(buf, n);
	}
	return 0;
}
#endif
