/* The board that ships: Raspberry Pi Pico (RP2040, 2 MiB flash, 264 KiB RAM). Plain
 * numbers: the linker script reads this file too. */
#ifndef BOARD_H
#define BOARD_H

#define BOARD_ID 3
#define BOARD_NAME "pico"

#define BOARD_FLASH 0x10000000
#define BOARD_VECTORS 0x10000100 /* behind the second stage, boot2.S */
#define BOARD_LOADER_INFO 0x100001C0
#define BOARD_LOADER_SIZE 0x10000
#define BOARD_SLOT_A 0x10010000
#define BOARD_SLOT_B 0x10080000
#define BOARD_SLOT_SIZE 0x70000
#define BOARD_STATE 0x100F0000
#define BOARD_PAGE 4096

#define BOARD_RAM 0x20000000
#define BOARD_RAM_SIZE 0x42000
#define BOARD_RAM_BUDGET 0x3000 /* as on the reference */
#define BOARD_RING 0x20010000 /* bytes from the wire, by DMA; of loader and application */
#define BOARD_RING_BITS 11
#define BOARD_SERIAL_KEPT 2048 /* bytes that are not lost while flash is erased or written */
#define BOARD_KEPT 0x4005800C /* four words that a restart leaves alone: watchdog scratch registers */

/* At 125 MHz a signature takes 0.06 s and the digest of a full slot 0.5 s. */
#define BOARD_WATCHDOG_MS 2000

#endif
