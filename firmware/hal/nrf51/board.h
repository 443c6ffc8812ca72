/* The reference board: BBC micro:bit (nRF51822, 256 KiB flash, 16 KiB RAM), as QEMU
 * has it. Plain numbers: the linker script reads this file too. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_ID 2
#define BOARD_NAME "microbit"

#define BOARD_FLASH 0x00000000
#define BOARD_VECTORS 0x00000000
#define BOARD_LOADER_INFO 0x000000C0
#define BOARD_LOADER_SIZE 0x8000
#define BOARD_SLOT_A 0x00008000
#define BOARD_SLOT_B 0x00020000
#define BOARD_SLOT_SIZE 0x18000
#define BOARD_STATE 0x00038000
#define BOARD_PAGE 1024

#define BOARD_RAM 0x20000000
#define BOARD_RAM_SIZE 0x4000
#define BOARD_RAM_BUDGET 0x3000 /* of it, for stack and data */
#define BOARD_SERIAL_KEPT 6 /* bytes that are not lost while the processor is busy: the UART's */
#define BOARD_KEPT 0x20003FE0 /* four words that a restart leaves alone: the end of the RAM */

/* At 16 MHz a signature takes 0.5 s and the digest of a full slot 0.8 s. */
#define BOARD_WATCHDOG_MS 2000

#endif
