/*
 * The daemon's answer to POST /v1/login, read strictly and without the heap.
 *
 * It is an HTTP/1.0 head, then lines, each a JSON object of strings as
 * device/api/client.LoginLine makes them: no blanks, no escapes, the keys below
 * and each at most once. Whatever else comes is no answer, and no answer is a
 * no. Nothing here does I/O, so that all of it can be fuzzed.
 */
#ifndef FACEPRINT_ANSWER_H
#define FACEPRINT_ANSWER_H

#include <stddef.h>

/* Limits in bytes; the strings' with their terminators. */
#define ANSWER_NONCE 129
#define ANSWER_ACCOUNT 256
#define ANSWER_WORD 64
#define ANSWER_BUFFER 4096      /* of the head, and of a line */
#define ANSWER_TOTAL (64 * 1024) /* of everything */

/* One line; a string that it does not have is empty. */
struct answer {
	char nonce[ANSWER_NONCE];
	char account[ANSWER_ACCOUNT];
	char hint[ANSWER_WORD];
	char outcome[ANSWER_WORD];
	char reason[ANSWER_WORD];
	char keyring[ANSWER_WORD]; /* a password; whoever has the answer wipes it */
};

struct answer_reader {
	char buf[ANSWER_BUFFER];
	size_t used;   /* bytes in buf */
	size_t total;  /* bytes that came so far */
	int past_head; /* the head was read and says 200 */
	int broken;    /* it was no answer; it stays broken */
};

/* What answer_next found. */
enum answer_found { ANSWER_BROKEN = -1, ANSWER_MORE = 0, ANSWER_LINE = 1 };

void answer_init(struct answer_reader *r);

/* answer_room says where the next bytes go, and how many at most: 0 when the
 * reader is broken or full. answer_took tells how many came. */
size_t answer_room(struct answer_reader *r, char **at);
void answer_took(struct answer_reader *r, size_t n);

/* answer_next takes the next line out of what came. */
enum answer_found answer_next(struct answer_reader *r, struct answer *a);

/* answer_parse reads one line without its newline; 0, or -1 for no answer. */
int answer_parse(const char *line, size_t n, struct answer *a);

/* answer_is_ours tells whether a line answers the question of that nonce and
 * account. */
int answer_is_ours(const struct answer *a, const char *nonce, const char *account);

#endif
