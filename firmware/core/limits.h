/* Every tuned number of loader and application, from PROTOCOL.md section 8 unless
 * said otherwise. Times in milliseconds. */
#ifndef LIMITS_H
#define LIMITS_H

#define BEAT_MS 2000u      /* without a sealed frame the session ends */
#define CHALLENGE_MS 2000u /* a challenge is worth this long */
#define HOLD_MIN_MS 100u   /* a strike needs about 50 ms to move */
#define HOLD_MAX_MS 30000u /* nobody needs a door unlocked for longer */
#define EXIT_MS 5000u      /* the exit button's hold */
#define HELD_MS 30000u     /* door open after the lock shut: an alarm */
#define PRESENCE_MS 60000u /* pairing after a press of the service button */
#define WIPE_MS 10000u     /* service button held: the pairing is wiped */
#define DEBOUNCE_MS 30u    /* switches bounce for 1 to 20 ms */
#define BUZZER_MAX_MS 2000u
#define SLEEP_MS 20u       /* at most, between two looks at inputs and timers */

#define RECOVERY_MS 60000u  /* in recovery without load or help, until an image is started */
#define RECEIVE_MS 60000u   /* until the sender begins */
#define POLL_MS 1000u       /* between two C, and for a block to be whole */
#define BAD_BLOCKS_MAX 10u  /* in a row: XMODEM's customary limit */
#define LINE_MAX_LEN 32u    /* characters of a command */

#endif
