/* The host: a board made of memory, for unit tests and for a desk without QEMU. Laid
 * out as the reference board. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_ID 1
#define BOARD_NAME "host"

#define BOARD_FLASH 0x00000000
#define BOARD_FLASH_SIZE 0x40000
#define BOARD_LOADER_INFO 0x000000C0
#define BOARD_SLOT_A 0x00008000
#define BOARD_SLOT_B 0x00020000
#define BOARD_SLOT_SIZE 0x18000
#define BOARD_STATE 0x00038000
#define BOARD_PAGE 1024
#define BOARD_WATCHDOG_MS 2000
#define BOARD_SERIAL_KEPT host_serial_kept /* as the reference board; tests take the Pico's too */

extern unsigned host_serial_kept;

#endif
