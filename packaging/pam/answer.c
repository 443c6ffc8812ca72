#include "answer.h"

#include <string.h>
#include <strings.h>

void answer_init(struct answer_reader *r)
{
	memset(r, 0, sizeof(*r));
}

size_t answer_room(struct answer_reader *r, char **at)
{
	*at = r->buf + r->used;
	if (r->broken || r->total >= ANSWER_TOTAL)
		return 0;
	size_t room = sizeof(r->buf) - r->used;
	size_t left = ANSWER_TOTAL - r->total;
	return room < left ? room : left;
}

void answer_took(struct answer_reader *r, size_t n)
{
	char *at;
	if (n > answer_room(r, &at)) {
		r->broken = 1;
		return;
	}
	r->used += n;
	r->total += n;
}

/* drop removes the first n bytes. */
static void drop(struct answer_reader *r, size_t n)
{
	memmove(r->buf, r->buf + n, r->used - n);
	r->used -= n;
}

static int starts(const char *s, size_t n, const char *with)
{
	size_t w = strlen(with);
	return n >= w && memcmp(s, with, w) == 0;
}

/* head checks the status line and the fields, n bytes with the empty line. */
static int head(const char *s, size_t n)
{
	if (!starts(s, n, "HTTP/1.0 200 ") && !starts(s, n, "HTTP/1.1 200 "))
		return -1;
	if (memchr(s, '\0', n) != NULL)
		return -1;
	/* A body in chunks has bytes between the lines that are none of them. */
	const char coded[] = "transfer-encoding:";
	for (size_t i = 0; i + 1 < n; i++) {
		if (s[i] == '\n' && n - i - 1 >= sizeof(coded) - 1 &&
		    strncasecmp(s + i + 1, coded, sizeof(coded) - 1) == 0)
			return -1;
	}
	return 0;
}

enum answer_found answer_next(struct answer_reader *r, struct answer *a)
{
	memset(a, 0, sizeof(*a));
	if (r->broken)
		return ANSWER_BROKEN;
	if (!r->past_head) {
		const char *end = memmem(r->buf, r->used, "\r\n\r\n", 4);
		if (end == NULL) {
			r->broken = r->used == sizeof(r->buf);
			return r->broken ? ANSWER_BROKEN : ANSWER_MORE;
		}
		size_t n = (size_t)(end - r->buf) + 4;
		if (head(r->buf, n) != 0) {
			r->broken = 1;
			return ANSWER_BROKEN;
		}
		r->past_head = 1;
		drop(r, n);
	}
	const char *newline = memchr(r->buf, '\n', r->used);
	if (newline == NULL) {
		r->broken = r->used == sizeof(r->buf) || r->total >= ANSWER_TOTAL;
		return r->broken ? ANSWER_BROKEN : ANSWER_MORE;
	}
	size_t n = (size_t)(newline - r->buf);
	if (answer_parse(r->buf, n, a) != 0) {
		r->broken = 1;
		return ANSWER_BROKEN;
	}
	drop(r, n + 1);
	return ANSWER_LINE;
}

/* quoted reads a string of JSON that has no escapes: from *i, which it moves
 * past the closing quote, into to, of size bytes. */
static int quoted(const char *s, size_t n, size_t *i, char *to, size_t size)
{
	size_t used = 0;
	if (*i >= n || s[*i] != '"')
		return -1;
	for ((*i)++; *i < n; (*i)++) {
		unsigned char c = (unsigned char)s[*i];
		if (c == '"') {
			(*i)++;
			to[used] = '\0';
			return 0;
		}
		if (c < 0x20 || c > 0x7e || c == '\\' || used + 1 >= size)
			return -1;
		to[used++] = (char)c;
	}
	return -1;
}

int answer_parse(const char *s, size_t n, struct answer *a)
{
	struct {
		const char *name;
		char *to;
		size_t size;
		int seen;
	} fields[] = {
		{"nonce", a->nonce, sizeof(a->nonce), 0},
		{"account", a->account, sizeof(a->account), 0},
		{"hint", a->hint, sizeof(a->hint), 0},
		{"outcome", a->outcome, sizeof(a->outcome), 0},
		{"reason", a->reason, sizeof(a->reason), 0},
		{"keyring", a->keyring, sizeof(a->keyring), 0},
	};
	const size_t count = sizeof(fields) / sizeof(fields[0]);
	char key[16];
	size_t i = 0;

	memset(a, 0, sizeof(*a));
	if (n == 0 || s[i++] != '{')
		goto bad;
	for (;;) {
		if (quoted(s, n, &i, key, sizeof(key)) != 0 || i >= n || s[i++] != ':')
			goto bad;
		size_t f = 0;
		while (f < count && strcmp(fields[f].name, key) != 0)
			f++;
		if (f == count || fields[f].seen)
			goto bad;
		fields[f].seen = 1;
		if (quoted(s, n, &i, fields[f].to, fields[f].size) != 0 || i >= n)
			goto bad;
		char next = s[i++];
		if (next == '}')
			break;
		if (next != ',')
			goto bad;
	}
	if (i != n || a->nonce[0] == '\0' || a->account[0] == '\0')
		goto bad;
	return 0;
bad:
	memset(a, 0, sizeof(*a));
	return -1;
}

int answer_is_ours(const struct answer *a, const char *nonce, const char *account)
{
	return nonce[0] != '\0' && account[0] != '\0' && strcmp(a->nonce, nonce) == 0 && strcmp(a->account, account) == 0;
}
