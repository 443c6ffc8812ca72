/*
 * pam_faceprint: asks the faceprint daemon of this machine whether the person
 * whose account it is, is here.
 *
 * It says yes only where the daemon, whose uid the kernel vouches for, answered
 * "granted" to this very question (its nonce and account). Everything else is a
 * no that leaves the stack to the password. It keeps nothing, starts nothing and
 * takes no word from the environment; memory is on the stack and bounded.
 * See pam_faceprint(8).
 */
#include "answer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include <security/pam_ext.h>
#include <security/pam_modules.h>
#include <systemd/sd-login.h>

#define DEFAULT_SOCKET "/run/faceprint/api.sock"
#define DEFAULT_OWNER "faceprint" /* and root, always */
#define DEFAULT_TIMEOUT 15        /* seconds that an attempt may take */
#define MOST_TIMEOUT 120          /* the daemon takes no more */
#define MOST_PIN 12               /* digits; the daemon gives out none that is longer */
#define CONNECT_MS 2000           /* for a daemon that does not take the call */
/* Login screens and screen locks of this machine. What raises somebody's rights
 * within their session (sudo, su, polkit-1) is not among them: there an empty
 * line of any program would be the answer while its user sits at the camera. */
#define DEFAULT_SERVICES                                                                                               \
	"login:greetd:gdm-password:lightdm:sddm:lxdm:xdm:swaylock:gtklock:waylock:hyprlock:i3lock:kde:xscreensaver:" \
	"cinnamon-screensaver:mate-screensaver:xfce4-screensaver:vlock:physlock"
#define BEGIN_MS 5000             /* until it says that it has begun, or why not: two
				   * commits to what may be a slow card */
#define GRACE_MS 2000             /* what it may take longer than it was given */

struct options {
	const char *socket;
	const char *owner;
	const char *services; /* that are looked at, with a colon between */
	int timeout;	      /* seconds */
	int wait;    /* look first, ask for the password after; else both at once */
	int pin;     /* ask for the device's PIN after a look without a yes */
	int keyring; /* leave its password, where the daemon tells one, to the modules that follow */
	int debug;
};

static int number(const char *s, int least, int most, int *out)
{
	char *end;
	errno = 0;
	long n = strtol(s, &end, 10);
	if (errno != 0 || end == s || *end != '\0' || n < least || n > most)
		return -1;
	*out = (int)n;
	return 0;
}

static int read_options(pam_handle_t *pamh, int argc, const char **argv, struct options *o)
{
	*o = (struct options){DEFAULT_SOCKET, DEFAULT_OWNER, DEFAULT_SERVICES, DEFAULT_TIMEOUT, 0, 0, 0, 0};
	for (int i = 0; i < argc; i++) {
		const char *a = argv[i];
		if (strncmp(a, "socket=/", 8) == 0)
			o->socket = a + 7;
		else if (strncmp(a, "owner=", 6) == 0 && a[6] != '\0')
			o->owner = a + 6;
		else if (strncmp(a, "services=", 9) == 0 && a[9] != '\0')
			o->services = a + 9;
		else if (strncmp(a, "timeout=", 8) == 0 && number(a + 8, 1, MOST_TIMEOUT, &o->timeout) == 0)
			;
		else if (strcmp(a, "wait") == 0)
			o->wait = 1;
		else if (strcmp(a, "pin") == 0)
			o->pin = 1;
		else if (strcmp(a, "keyring") == 0)
			o->keyring = 1;
		else if (strcmp(a, "debug") == 0)
			o->debug = 1;
		else {
			pam_syslog(pamh, LOG_ERR, "option not understood, so nobody is let in: %s", a);
			return -1;
		}
	}
	return 0;
}

/* invoker is the uid that asks: PAM_RUSER's where sudo or su names one, else the
 * process's own; -1 where that account does not exist. */
static int64_t invoker(pam_handle_t *pamh)
{
	const void *item = NULL;
	if (pam_get_item(pamh, PAM_RUSER, &item) != PAM_SUCCESS)
		return -1;
	const char *name = item;
	if (name == NULL || name[0] == '\0')
		return getuid();
	struct passwd pw, *found = NULL;
	char buf[1024];
	if (getpwnam_r(name, &pw, buf, sizeof(buf), &found) != 0 || found == NULL)
		return -1;
	return found->pw_uid;
}

/* item is a text item of the conversation; "" where it is not set, NULL where it
 * cannot be had. */
static const char *item(pam_handle_t *pamh, int which)
{
	const void *text = NULL;
	if (pam_get_item(pamh, which, &text) != PAM_SUCCESS)
		return NULL;
	return text == NULL ? "" : text;
}

/* named tells whether the word is in the list, which has colons between. */
static int named(const char *list, const char *word)
{
	size_t n = strlen(word);
	if (n == 0 || strchr(word, ':') != NULL)
		return 0;
	for (const char *p = list; p != NULL; p = strchr(p, ':')) {
		p += *p == ':';
		if (strncmp(p, word, n) == 0 && (p[n] == ':' || p[n] == '\0'))
			return 1;
	}
	return 0;
}

/* screen tells whether a terminal is a screen of this machine: a virtual console
 * or an X display. */
static int screen(const char *tty)
{
	if (strncmp(tty, "/dev/", 5) == 0)
		tty += 5;
	if (strncmp(tty, "tty", 3) == 0)
		tty += 3;
	else if (tty[0] == ':')
		tty++;
	else
		return 0;
	return tty[0] != '\0' && strspn(tty, "0123456789.") == strlen(tty);
}

/* seated tells whether the session that this process is in is a local one, at
 * a seat, and in front. */
static int seated(void)
{
	char *seat = NULL;
	int ok = sd_session_is_remote(NULL) == 0 && sd_session_is_active(NULL) > 0 && sd_session_get_seat(NULL, &seat) >= 0 &&
		 seat != NULL && seat[0] != '\0';
	free(seat);
	return ok;
}

/* here tells whether whoever logs in certainly sits at a screen of this machine,
 * and the service is one that is looked at. What is not known is no. */
static int here(pam_handle_t *pamh, const struct options *o)
{
	const char *rhost = item(pamh, PAM_RHOST), *name = item(pamh, PAM_SERVICE), *tty = item(pamh, PAM_TTY);
	if (rhost == NULL || name == NULL || tty == NULL)
		return 0;
	if (rhost[0] != '\0' && strcmp(rhost, "localhost") != 0)
		return 0;
	if (!named(o->services, name) || strcmp(name, "sshd") == 0)
		return 0;
	if (sd_session_is_remote(NULL) >= 0) /* in a session: a screen lock, sudo */
		return seated();
	int64_t uid = invoker(pamh);
	if (uid != 0) /* something that a person started outside of theirs */
		return uid > 0 && sd_uid_get_seats((uid_t)uid, 1, NULL) > 0;
	/* A login screen. greetd names its terminal only after the login, and has
	 * virtual consoles and nothing else. */
	return tty[0] == '\0' ? strcmp(name, "greetd") == 0 : screen(tty);
}

/* plain tells whether the account's name goes into JSON as it is. */
static int plain(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.@+-$");
	return n > 0 && n < ANSWER_ACCOUNT && s[n] == '\0';
}

static int64_t now_ms(void)
{
	struct timespec t;
	if (clock_gettime(CLOCK_MONOTONIC, &t) != 0)
		return -1;
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* wait_for waits for events on the socket until the moment; 0 when there are
 * some. */
static int wait_for(int fd, short events, int64_t until)
{
	for (;;) {
		int64_t now = now_ms();
		if (now < 0 || now >= until)
			return -1;
		struct pollfd p = {.fd = fd, .events = events};
		int n = poll(&p, 1, (int)(until - now));
		if (n > 0)
			return 0;
		if (n == 0 || (errno != EINTR && errno != EAGAIN))
			return -1;
	}
}

/* trusted tells whether the process that listens is the daemon: root's, or the
 * owner's. The kernel recorded its uid when it began to listen. */
static int trusted(pam_handle_t *pamh, int fd, const char *owner)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 || n != sizeof(peer))
		return 0;
	if (peer.uid == 0)
		return 1;
	struct passwd pw, *found = NULL;
	char buf[1024];
	if (getpwnam_r(owner, &pw, buf, sizeof(buf), &found) == 0 && found != NULL && found->pw_uid == peer.uid)
		return 1;
	pam_syslog(pamh, LOG_ALERT, "the program that listens belongs to uid %u, not to %s or root", (unsigned)peer.uid, owner);
	return 0;
}

static int dial(pam_handle_t *pamh, const struct options *o)
{
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	size_t n = strlen(o->socket);
	if (n >= sizeof(to.sun_path)) {
		pam_syslog(pamh, LOG_ERR, "the socket's path is too long");
		return -1;
	}
	memcpy(to.sun_path, o->socket, n + 1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	int64_t until = now_ms() + CONNECT_MS;
	while (connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
		/* EAGAIN: the queue is full, which nothing tells the end of. */
		struct timespec pause = {.tv_nsec = 10 * 1000000};
		if ((errno != EAGAIN && errno != EINTR) || now_ms() >= until || now_ms() < 0) {
			pam_syslog(pamh, LOG_INFO, "the daemon does not answer on %s: %m", o->socket);
			goto bad;
		}
		(void)nanosleep(&pause, NULL);
	}
	if (!trusted(pamh, fd, o->owner))
		goto bad;
	return fd;
bad:
	(void)close(fd);
	return -1;
}

static int send_all(int fd, const char *s, size_t n)
{
	int64_t until = now_ms() + CONNECT_MS;
	while (n > 0) {
		ssize_t m = send(fd, s, n, MSG_NOSIGNAL);
		if (m > 0) {
			s += m;
			n -= (size_t)m;
		} else if (m < 0 && errno != EAGAIN && errno != EINTR) {
			return -1;
		} else if (wait_for(fd, POLLOUT, until) != 0) {
			return -1;
		}
	}
	return 0;
}

/* question is one attempt under way. */
struct question {
	int fd; /* -1 when there is none */
	int64_t until;
	char nonce[33];
	const char *account;
	struct answer_reader in;
};

static void hang_up(struct question *q)
{
	if (q->fd >= 0)
		(void)close(q->fd);
	q->fd = -1;
}

/* service is the name of the PAM service, where it is a plain one. */
static const char *service(pam_handle_t *pamh)
{
	const void *item = NULL;
	if (pam_get_item(pamh, PAM_SERVICE, &item) != PAM_SUCCESS || item == NULL || !plain(item) || strlen(item) >= ANSWER_WORD)
		return "unknown";
	return item;
}

/* ask sends the question: whether the person is here, or with a PIN, of digits
 * alone, whether it is theirs. */
static int ask(pam_handle_t *pamh, const struct options *o, const char *account, const char *pin, struct question *q)
{
	uint8_t random[16];
	char body[512], head[256];

	memset(q, 0, sizeof(*q));
	q->fd = -1;
	q->account = account;
	answer_init(&q->in);
	if (getrandom(random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
		return -1;
	for (size_t i = 0; i < sizeof(random); i++)
		(void)snprintf(q->nonce + 2 * i, 3, "%02x", random[i]);
	int n = snprintf(body, sizeof(body), "{\"account\":\"%s\",\"nonce\":\"%s\",\"service\":\"%s\",\"timeout_ms\":%d%s%s%s%s}",
			 account, q->nonce, service(pamh), o->timeout * 1000, o->keyring && getuid() == 0 ? ",\"keyring\":true" : "",
			 pin != NULL ? ",\"pin\":\"" : "", pin != NULL ? pin : "", pin != NULL ? "\"" : "");
	if (n < 0 || (size_t)n >= sizeof(body))
		return -1;
	int h = snprintf(head, sizeof(head),
			 "POST /v1/login HTTP/1.0\r\nHost: faceprint\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", n);
	if (h < 0 || (size_t)h >= sizeof(head))
		return -1;
	int64_t start = now_ms();
	if (start < 0)
		return -1;
	q->until = start + (int64_t)o->timeout * 1000 + GRACE_MS;
	q->fd = dial(pamh, o);
	int sent = q->fd >= 0 && send_all(q->fd, head, (size_t)h) == 0 && send_all(q->fd, body, (size_t)n) == 0;
	explicit_bzero(body, sizeof(body));
	if (!sent) {
		hang_up(q);
		return -1;
	}
	return 0;
}

/* line reads the next line of the answer, until the moment. It refuses what does
 * not answer this question. */
static int line(struct question *q, int64_t until, struct answer *a)
{
	for (;;) {
		switch (answer_next(&q->in, a)) {
		case ANSWER_LINE:
			if (!answer_is_ours(a, q->nonce, q->account))
				goto bad;
			return 0;
		case ANSWER_BROKEN:
			goto bad;
		case ANSWER_MORE:
			break;
		}
		char *at;
		size_t room = answer_room(&q->in, &at);
		if (room == 0 || wait_for(q->fd, POLLIN, until) != 0)
			goto bad;
		ssize_t n = recv(q->fd, at, room, 0);
		if (n > 0)
			answer_took(&q->in, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			goto bad;
	}
bad:
	memset(a, 0, sizeof(*a));
	hang_up(q);
	return -1;
}

/* What the daemon's words mean for the person. A word that is not here is not
 * shown: nothing of the daemon's reaches the screen as it is. */
static const struct {
	const char *word, *text;
} texts[] = {
	{"no-face", "Look at the camera."},
	{"one-person", "One person at a time, please."},
	{"closer", "Come closer."},
	{"farther", "Move back a little."},
	{"move-to-centre", "Move to the middle of the picture."},
	{"turn-to-camera", "Turn to the camera."},
	{"too-dark", "It is too dark."},
	{"too-bright", "It is too bright."},
	{"hold-still", "Hold still."},
	{"look-straight", "Look straight at the camera."},
	{"turn-left", "Turn your head a little to your left."},
	{"turn-right", "Turn your head a little to your right."},
	{"nearer", "Come a little nearer."},
	{"backlit", "There is too much light behind you."},
	{"colour-cast", "The light is too coloured."},
	{"uncover-face", "Take off what covers your face."},
	{"open-eyes", "Open your eyes."},
	{"blink", "Shut both eyes for a moment."},
	{"press-finger", "Place your finger on the reader."},
	{"press-again", "Place your finger on the reader again."},
	{"press-flat", "Place your finger flat, in the middle of the reader."},
	{"press-longer", "Leave your finger on the reader a little longer."},
	{"clean-finger", "Clean your finger and try again."},
	{"lift-finger", "Lift your finger."},
	{"locked-out", "Locked for now after too many failures; use your password."},
	{"not-enrolled", "This account has no face or finger."},
	{"pin-no-match", "That is not your PIN."},
	{"pin-forbidden", "This device takes no PIN."},
};

static const char *text_of(const char *word)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (strcmp(texts[i].word, word) == 0)
			return texts[i].text;
	return NULL;
}

static void tell(pam_handle_t *pamh, int flags, const char *text)
{
	if (text != NULL && ((unsigned)flags & PAM_SILENT) == 0)
		(void)pam_info(pamh, "%s", text);
}

/* verdict is what an outcome means for the stack. */
static int verdict(pam_handle_t *pamh, int flags, const char *account, const struct answer *a)
{
	if (strcmp(a->outcome, "granted") == 0) {
		pam_syslog(pamh, LOG_NOTICE, "granted for %s", account);
		/* pam_gnome_keyring takes it from there; libpam wipes it when
		 * the authentication ends. */
		if (a->keyring[0] != '\0' && pam_set_item(pamh, PAM_AUTHTOK, a->keyring) != PAM_SUCCESS)
			pam_syslog(pamh, LOG_WARNING, "the keyring of %s stays locked", account);
		return PAM_SUCCESS;
	}
	pam_syslog(pamh, LOG_NOTICE, "%s for %s%s%s", a->outcome, account, a->reason[0] ? ": " : "", a->reason);
	if (strcmp(a->outcome, "refused") == 0 && strcmp(a->reason, "not-enrolled") == 0)
		return PAM_USER_UNKNOWN;
	tell(pamh, flags, text_of(a->reason));
	if (strcmp(a->outcome, "refused") == 0 || strcmp(a->outcome, "retry") == 0)
		return PAM_AUTH_ERR;
	return PAM_AUTHINFO_UNAVAIL;
}

/* follow reads to the end of the answer and shows hints. */
static int follow(pam_handle_t *pamh, int flags, struct question *q)
{
	struct answer a;
	while (line(q, q->until, &a) == 0) {
		if (a.outcome[0] != '\0') {
			int result = verdict(pamh, flags, q->account, &a);
			explicit_bzero(&a, sizeof(a));
			return result;
		}
		tell(pamh, flags, text_of(a.hint));
	}
	pam_syslog(pamh, LOG_WARNING, "the daemon gave no answer");
	return PAM_AUTHINFO_UNAVAIL;
}

/* offer asks for the password while the daemon looks. A password that was
 * typed ends the look and is left to the modules after this one. */
static int offer(pam_handle_t *pamh, int flags, struct question *q)
{
	char *typed = NULL;
	int e = pam_prompt(pamh, PAM_PROMPT_ECHO_OFF, &typed, "Look at the camera and press Enter, or type your password: ");
	if (e != PAM_SUCCESS || typed == NULL) {
		free(typed);
		return e == PAM_SUCCESS ? PAM_CONV_ERR : e;
	}
	if (typed[0] == '\0') {
		free(typed);
		if (now_ms() < q->until)
			return follow(pamh, flags, q);
		/* Whoever was looked at may have gone since, and a yes was theirs. */
		pam_syslog(pamh, LOG_NOTICE, "Enter came too late for %s: what the device saw is not taken", q->account);
		tell(pamh, flags, "That took too long; please try again.");
		return PAM_AUTH_ERR;
	}
	hang_up(q);
	e = pam_set_item(pamh, PAM_AUTHTOK, typed);
	explicit_bzero(typed, strlen(typed));
	free(typed);
	return e == PAM_SUCCESS ? PAM_IGNORE : e;
}

/* by_pin asks for the PIN that the device keeps. What is none is left to the
 * modules after this one, as a password. */
static int by_pin(pam_handle_t *pamh, int flags, const struct options *o, const char *account)
{
	char *typed = NULL;
	struct question q;
	int result = PAM_IGNORE;
	int e = pam_prompt(pamh, PAM_PROMPT_ECHO_OFF, &typed, "PIN, or your password: ");
	if (e != PAM_SUCCESS || typed == NULL) {
		free(typed);
		return e == PAM_SUCCESS ? PAM_CONV_ERR : e;
	}
	size_t n = strlen(typed);
	if (n > 0 && n <= MOST_PIN && strspn(typed, "0123456789") == n && ask(pamh, o, account, typed, &q) == 0) {
		result = follow(pamh, flags, &q);
		hang_up(&q);
	}
	if (n > 0 && result != PAM_SUCCESS && pam_set_item(pamh, PAM_AUTHTOK, typed) != PAM_SUCCESS)
		result = PAM_AUTH_ERR;
	explicit_bzero(typed, n);
	free(typed);
	return result;
}

PAM_EXTERN __attribute__((visibility("default"))) int pam_sm_authenticate(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	struct options o;
	const char *account = NULL;
	if (read_options(pamh, argc, argv, &o) != 0)
		return PAM_SERVICE_ERR;
	if (pam_get_user(pamh, &account, NULL) != PAM_SUCCESS || account == NULL || !plain(account))
		return PAM_USER_UNKNOWN;
	if (!here(pamh, &o)) {
		if (o.debug)
			pam_syslog(pamh, LOG_DEBUG, "not looked at: the service is not named, or this is not a screen of this machine");
		return PAM_AUTHINFO_UNAVAIL;
	}
	struct question q;
	if (ask(pamh, &o, account, NULL, &q) != 0)
		return PAM_AUTHINFO_UNAVAIL;

	/* The first line says that the daemon looks, or at once why it does not:
	 * then nobody is asked to look. */
	struct answer a;
	int result;
	if (line(&q, now_ms() + BEGIN_MS, &a) != 0) {
		pam_syslog(pamh, LOG_WARNING, "the daemon does not begin");
		result = PAM_AUTHINFO_UNAVAIL;
	} else if (a.outcome[0] != '\0') {
		result = verdict(pamh, flags, account, &a);
	} else if (o.wait) {
		tell(pamh, flags, "Look at the camera.");
		tell(pamh, flags, text_of(a.hint));
		result = follow(pamh, flags, &q);
	} else {
		result = offer(pamh, flags, &q);
	}
	hang_up(&q);
	explicit_bzero(&a, sizeof(a));
	explicit_bzero(&q, sizeof(q));
	if (o.pin && (result == PAM_AUTH_ERR || result == PAM_AUTHINFO_UNAVAIL))
		result = by_pin(pamh, flags, &o, account);
	return result;
}

PAM_EXTERN __attribute__((visibility("default"))) int pam_sm_setcred(pam_handle_t *pamh, int flags, int argc, const char **argv)
{
	(void)pamh, (void)flags, (void)argc, (void)argv;
	return PAM_SUCCESS;
}
