/* The host board as a process: loader and application in one, for a desk without
 * QEMU. Its serial line is a terminal or a socket, its flash a file. An image only
 * has to verify: the application that starts is the one linked here.
 *
 *   guard-host --pty LINK | --socket PATH  --flash FILE [--image BUNDLE]
 *
 * Commands on standard input: door open|close, exit press|release, service
 * press|release, tamper open|close, power cycle, quit. Standard output has a line
 * for each change: lock 1, lamp 0, buzzer 1, start loader, start application A. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "boot.h"
#include "guard.h"
#include "host.h"

static int line = -1;     /* the serial line */
static int listening = -1; /* for the next client of a socket */
static bool commands = true;
static int saved = -1; /* the flash file */

static _Noreturn void fail(const char *what, const char *which)
{
	fprintf(stderr, "guard-host: %s %s: %s\n", what, which, strerror(errno));
	exit(1);
}

static void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

/* --- flash file --------------------------------------------------------------- */

static void keep_flash(uint32_t address, size_t n)
{
	if (pwrite(saved, host.flash + address, n, (off_t)address) != (ssize_t)n) {
		fail("write", "the flash file");
	}
}

static void open_flash(const char *path)
{
	struct stat st;

	saved = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (saved < 0 || fstat(saved, &st) != 0) {
		fail("open", path);
	}
	if (st.st_size == 0) {
		keep_flash(0, sizeof host.flash);
	} else if (st.st_size != (off_t)sizeof host.flash) {
		fprintf(stderr, "guard-host: %s has %lld bytes, a flash has %zu; name another file\n", path,
		        (long long)st.st_size, sizeof host.flash);
		exit(1);
	} else if (pread(saved, host.flash, sizeof host.flash, 0) != (ssize_t)sizeof host.flash) {
		fail("read", path);
	}
	memcpy(host.flash + BOARD_LOADER_INFO, &boot_info, sizeof boot_info);
}

/* The file follows an operation late by one: what is lost is the newest operation,
 * which a power cut may lose too. */
static uint32_t dirty = BOARD_FLASH_SIZE;

static void flush_flash(void)
{
	if (dirty < BOARD_FLASH_SIZE) {
		keep_flash(dirty - dirty % BOARD_PAGE, BOARD_PAGE);
		dirty = BOARD_FLASH_SIZE;
	}
}

static void note_operation(enum host_operation what, uint32_t address, uint32_t word)
{
	(void)what;
	(void)word;
	if (dirty < BOARD_FLASH_SIZE && dirty / BOARD_PAGE != address / BOARD_PAGE) {
		flush_flash();
	}
	dirty = address;
}

/* --- commands ----------------------------------------------------------------- */

static void set_input(uint8_t bit, bool on)
{
	host.inputs = (uint8_t)(on ? host.inputs | bit : host.inputs & ~bit);
}

static void obey(const char *text)
{
	static const struct {
		const char *text;
		uint8_t bit;
		bool on;
	} inputs[] = {
		{ "door open", HAL_IN_DOOR, true },         { "door close", HAL_IN_DOOR, false },
		{ "exit press", HAL_IN_EXIT, true },        { "exit release", HAL_IN_EXIT, false },
		{ "service press", HAL_IN_SERVICE, true },  { "service release", HAL_IN_SERVICE, false },
		{ "tamper open", HAL_IN_TAMPER, true },     { "tamper close", HAL_IN_TAMPER, false },
	};

	for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
		if (strcmp(text, inputs[i].text) == 0) {
			set_input(inputs[i].bit, inputs[i].on);
			return;
		}
	}
	if (strcmp(text, "quit") == 0) {
		flush_flash();
		exit(0);
	}
	if (strcmp(text, "power cycle") == 0) {
		hal_restart(HAL_START_POWER);
	}
	printf("error %s: commands are door open|close, exit press|release, service press|release, "
	       "tamper open|close, power cycle, quit\n", text);
	fflush(stdout);
}

static void take_commands(void)
{
	static char text[128];
	static size_t n;
	char c;

	for (;;) {
		const ssize_t got = read(STDIN_FILENO, &c, 1);

		if (got == 0) {
			commands = false; /* go on without */
			return;
		}
		if (got < 0) {
			return;
		}
		if (c == '\n') {
			text[n] = '\0';
			n = 0;
			if (text[0] != '\0') {
				obey(text);
			}
			return; /* one a turn: a power cycle does not come back */
		}
		if (n + 1u < sizeof text) {
			text[n++] = c;
		}
	}
}

/* --- the wire ------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* What came on the line and was not taken yet. */
static struct {
	uint8_t bytes[512];
	size_t at;
	size_t n;
} input;

/* Look at line and commands, for at most ms. */
static void look(int ms)
{
	static uint64_t start;
	struct pollfd fds[2] = {
		{ .fd = input.at < input.n ? -1 : line >= 0 ? line : listening, .events = POLLIN },
		{ .fd = commands ? STDIN_FILENO : -1, .events = POLLIN },
	};

	if (start == 0u) {
		start = now_ms();
	}
	flush_flash();
	(void)poll(fds, 2, input.at < input.n ? 0 : ms);
	host.now = (uint32_t)(now_ms() - start);
	if ((fds[1].revents & (POLLIN | POLLHUP)) != 0) {
		take_commands();
	}
	if (input.at < input.n || (fds[0].revents & (POLLIN | POLLHUP)) == 0) {
		return;
	}
	if (line < 0) {
		line = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		return;
	}

	const ssize_t got = read(line, input.bytes, sizeof input.bytes);

	input.at = 0;
	input.n = got > 0 ? (size_t)got : 0u;
	if (got == 0 && listening >= 0) {
		close(line);
		line = -1;
	}
}

static bool get(uint8_t *byte)
{
	look(0);
	if (input.at == input.n) {
		return false;
	}
	*byte = input.bytes[input.at++];
	return true;
}

static void nap(uint32_t ms)
{
	look((int)ms);
}

static void put(const uint8_t *bytes, size_t n)
{
	while (line >= 0 && n > 0u) {
		const ssize_t sent = send(line, bytes, n, MSG_NOSIGNAL);
		const ssize_t did = sent >= 0 || errno != ENOTSOCK ? sent : write(line, bytes, n);

		if (did < 0) {
			struct pollfd room = { .fd = line, .events = POLLOUT };

			/* A terminal that nobody reads fills up; a UART would send into nothing. */
			if (errno != EAGAIN || poll(&room, 1, 100) <= 0) {
				return;
			}
			continue;
		}
		bytes += did;
		n -= (size_t)did;
	}
}

static void changed(uint8_t outputs)
{
	static uint8_t before;
	static const struct {
		uint8_t bit;
		const char *name;
	} names[] = { { HAL_OUT_LOCK, "lock" }, { HAL_OUT_LAMP, "lamp" }, { HAL_OUT_BUZZER, "buzzer" } };

	for (size_t i = 0; i < 3u; i++) {
		if (((before ^ outputs) & names[i].bit) != 0u) {
			printf("%s %d\n", names[i].name, (outputs & names[i].bit) != 0u);
		}
	}
	fflush(stdout);
	before = outputs;
}

static void open_pty(const char *path)
{
	struct termios t;

	line = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (line < 0 || grantpt(line) != 0 || unlockpt(line) != 0) {
		fail("open", "a pseudo-terminal");
	}

	const char *name = ptsname(line);
	/* Held open, so that the line lives on without a client. */
	const int other = name != NULL ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;

	if (other < 0 || tcgetattr(other, &t) != 0) {
		fail("open", "a pseudo-terminal");
	}
	cfmakeraw(&t);
	(void)tcsetattr(other, TCSANOW, &t);
	(void)fcntl(line, F_SETFL, O_NONBLOCK);
	(void)unlink(path);
	if (symlink(name, path) != 0) {
		fail("link", path);
	}
}

static void open_socket(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof a.sun_path) {
		errno = ENAMETOOLONG;
		fail("listen at", path);
	}
	strcpy(a.sun_path, path);
	(void)unlink(path);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listening < 0 || bind(listening, (struct sockaddr *)&a, sizeof a) != 0 || listen(listening, 4) != 0) {
		fail("listen at", path);
	}
}

/* Install a bundle as the loader would, when no image is there. */
static void install_file(const char *path)
{
	static struct install in;
	uint8_t block[128];
	FILE *f = fopen(path, "rb");
	enum fail failed = FAIL_NONE;
	size_t n;
	struct image image;

	if (f == NULL) {
		fail("open", path);
	}
	if (image_check(SLOT_A, 0, &image) == FAIL_NONE || image_check(SLOT_B, 0, &image) == FAIL_NONE) {
		fclose(f);
		return;
	}
	in.target = SLOT_A;
	while (failed == FAIL_NONE && (n = fread(block, 1, sizeof block, f)) > 0u) {
		memset(block + n, 0x1A, sizeof block - n);
		failed = install_take(&in, block, sizeof block);
	}
	fclose(f);
	if (failed == FAIL_NONE) {
		failed = install_end(&in);
	}
	if (failed != FAIL_NONE) {
		fprintf(stderr, "guard-host: %s is not an image for this board (%d)\n", path, (int)failed);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	const char *pty = NULL;
	const char *path = NULL;
	const char *flash = NULL;
	const char *image = NULL;

	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--pty") == 0) {
			pty = argv[i + 1];
		} else if (strcmp(argv[i], "--socket") == 0) {
			path = argv[i + 1];
		} else if (strcmp(argv[i], "--flash") == 0) {
			flash = argv[i + 1];
		} else if (strcmp(argv[i], "--image") == 0) {
			image = argv[i + 1];
		} else {
			flash = NULL;
			break;
		}
	}
	if (argc % 2 == 0 || flash == NULL || (pty == NULL) == (path == NULL)) {
		fprintf(stderr, "usage: guard-host --pty LINK | --socket PATH  --flash FILE [--image BUNDLE]\n");
		return 2;
	}
	host_reset();
	open_flash(flash);
	host.operation = note_operation;
	if (image != NULL) {
		install_file(image);
	}
	if (pty != NULL) {
		open_pty(pty);
	} else {
		open_socket(path);
	}
	(void)fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
	host.get = get;
	host.put = put;
	host.sleep = nap;
	host.changed = changed;
	printf("ready %s\n", pty != NULL ? pty : path);
	fflush(stdout);

	switch (setjmp(host.leave)) {
	case HOST_RUNS:
		say(host.run < BOARD_SLOT_B ? "start application A" : "start application B");
		guard_main(host.run < BOARD_SLOT_B ? SLOT_A : SLOT_B);
	case HOST_RESTARTS:
		host.started = host.restart;
		/* fall through */
	default:
		hal_outputs(0);
		flush_flash();
		say("start loader");
		boot();
	}
}
