/* What a board gives to the loader and the application: everything that they
 * touch. Three boards implement it: host/ (unit tests, and a process on a
 * terminal), nrf51/ (the reference, in QEMU) and rp2040/ (the Pico that ships).
 *
 * The program polls, and sleeps in between: interrupts wake the processor but are
 * never taken. The M0 of the nRF51 has no vector table offset, so an image that
 * runs in place could not have its own handlers anyway, and a fault always lands
 * in the loader's, which restarts. */
#ifndef HAL_H
#define HAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "board.h" /* of the board that is built: BOARD_... */

/* Inputs, true = the state named. */
#define HAL_IN_DOOR 1u    /* the door is open */
#define HAL_IN_EXIT 2u    /* the exit button is pressed */
#define HAL_IN_TAMPER 4u  /* the enclosure is open */
#define HAL_IN_SERVICE 8u /* the service button is pressed */

/* Outputs. All are low from reset until hal_outputs is called. */
#define HAL_OUT_LOCK 1u
#define HAL_OUT_LAMP 2u
#define HAL_OUT_BUZZER 4u

/* Why the board started. */
enum hal_start {
	HAL_START_POWER = 0,
	HAL_START_RESTART = 1, /* the application asked for it */
	HAL_START_WATCHDOG = 2,
	HAL_START_FAULT = 3,
	HAL_START_LOADER = 4, /* the application asked for the loader */
};

/* Clocks, pins, UART. Once, first. */
void hal_init(void);

/* Milliseconds since the start; wraps after 49 days. */
uint32_t hal_now(void);

/* One byte that has come, or false. */
bool hal_serial_get(uint8_t *byte);

/* Sleep until a byte has come, for at most ms (not 0): less is allowed. */
void hal_sleep(uint32_t ms);

/* Send n bytes. The last of them may still be on their way; a restart that is asked for
 * and hal_run wait for them. */
void hal_serial_put(const uint8_t *bytes, size_t n);

/* HAL_IN_ bits, not debounced. */
uint8_t hal_inputs(void);

/* HAL_OUT_ bits; what is not named goes low. */
void hal_outputs(uint8_t bits);

/* Flash at an address, to read. */
const uint8_t *hal_flash(uint32_t address);

/* Erase the page that starts at an address. False: it is not blank now. */
bool hal_flash_erase(uint32_t page);

/* Write n bytes (a multiple of 4) at a multiple of 4, inside of one page, each
 * word blank before. False: they do not read back. */
bool hal_flash_write(uint32_t address, const uint8_t *bytes, size_t n);

/* The first call starts the watchdog (BOARD_WATCHDOG_MS), each call feeds it. */
void hal_watchdog(void);

/* Start again, and remember why. */
_Noreturn void hal_restart(enum hal_start why);

/* Why the board started this time. The same answer for loader and application. */
enum hal_start hal_started(void);

/* Run the image whose vector table is at an address. */
_Noreturn void hal_run(uint32_t vectors);

/* Eight bytes that no other board has. */
void hal_serial_number(uint8_t out[8]);

/* Stack used at most since the start, and all there is, in bytes. */
uint16_t hal_stack_used(void);
uint16_t hal_stack_size(void);

#endif
