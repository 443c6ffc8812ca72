// The Pico's own binaries, as they ship in the UF2, on an emulated RP2040 (rp2040js):
// loader, application, second stage, flash by the boot ROM's calls, watchdog, UART.
//
//   node pico.mjs RP2040JS/dist/esm guard.uf2 app.fpb
//
// The emulator has neither boot ROM nor flash chip; here they are, as far as the
// firmware uses them and as strict as the datasheets: the ROM checks the second stage's
// CRC, flash is programmed in pages and loses ones only, and while it does not answer
// reads, between exit_xip and enter_xip, every access to it ends the test.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [lib, uf2File, bundleFile] = process.argv.slice(2);
const { RP2040 } = await import(pathToFileURL(lib + '/rp2040.js'));
const { SimulationClock } = await import(pathToFileURL(lib + '/clock/simulation-clock.js'));
const { ConsoleLogger, LogLevel } = await import(pathToFileURL(lib + '/utils/logging.js'));
const { BasePeripheral } = await import(pathToFileURL(lib + '/peripherals/peripheral.js'));

const FLASH = 0x10000000, FLASH_SIZE = 2 << 20, RAM_STAGE2 = 0x20041f00;
const NS = 8; // a cycle at 125 MHz
const BYTE = 10e9 / 115200; // ns on the wire
const NUMBER = [0xe6, 0x61, 0x38, 0x52, 0x83, 0x11, 0x22, 0x33]; // of the flash chip
const LOCK = 2, EXIT = 5;

function fail(text) {
	console.error('pico: ' + text);
	process.exit(1);
}
function check(ok, text) {
	if (!ok) fail(text);
}

// --- flash chip and boot ROM ---------------------------------------------------------

const flash = new Uint8Array(FLASH_SIZE).fill(0xff);
for (let uf2 = readFileSync(uf2File), at = 0; at < uf2.length; at += 512) {
	check(uf2.readUInt32LE(at) === 0x0a324655 && uf2.readUInt32LE(at + 28) === 0xe48bff56, 'no UF2 of an RP2040');
	flash.set(uf2.subarray(at + 32, at + 32 + uf2.readUInt32LE(at + 16)), uf2.readUInt32LE(at + 12) - FLASH);
}

function stage2() {
	let crc = 0xffffffff;
	for (const b of flash.subarray(0, 252)) {
		crc ^= b << 24;
		for (let i = 0; i < 8; i++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
	}
	check(crc >>> 0 === new DataView(flash.buffer).getUint32(252, true), "the second stage's CRC is wrong: the ROM would stay in its USB drive");
	return flash.subarray(0, 256);
}

// Each function of the ROM is a breakpoint and a return.
const calls = ['IF', 'EX', 'RE', 'RP', 'FC', 'CX'];
function rom() {
	const words = new Uint32Array(4096), half = new Uint16Array(words.buffer);
	half[0x14 / 2] = 0x100; // the table, which only find looks at
	half[0x18 / 2] = 0x201;
	for (let i = 0; i <= calls.length; i++) {
		half[0x100 + 2 * i] = 0xbe00 | i; // BKPT i
		half[0x101 + 2 * i] = 0x4770; // BX LR
	}
	return words;
}

// The chip's serial interface: only command 4Bh is spoken by hand.
class SSI extends BasePeripheral {
	sent = 0;
	got = [];
	command = 0;
	control = new Map();
	readUint32(at) {
		if (at === 0x28) return this.got.length ? 0xe : 0x6; // SR
		if (at === 0x60) return this.got.shift() ?? fail('the empty receive FIFO is read');
		return this.control.get(at) ?? 0;
	}
	writeUint32(at, value) {
		if (at !== 0x60) return void this.control.set(at, value);
		check(!board.xip && board.selected, 'the chip is spoken to while it is not selected, or is read from');
		if (this.sent === 0) this.command = value;
		this.got.push(this.command === 0x4b && this.sent >= 5 ? NUMBER[this.sent - 5] ?? 0xff : 0xff);
		this.sent++;
	}
}
class QSPI extends BasePeripheral {
	ss = 0;
	readUint32(at) {
		return at === 0x0c ? this.ss : 0;
	}
	writeUint32(at, value) {
		if (at !== 0x0c) return;
		this.ss = value;
		board.selected = ((value >> 8) & 3) === 2;
		board.chip.peripherals[0x18000].sent = 0;
	}
}

// --- the board ------------------------------------------------------------------------

const board = {
	ns: 0, // since the power came
	heard: [], // bytes
	toSend: [],
	nextByte: 0,
	restarts: [],
	pins: { [EXIT]: true }, // pulled up
	start(scratch, reason) {
		const chip = (this.chip = new RP2040(new SimulationClock()));
		chip.logger = new ConsoleLogger(LogLevel.Error);
		chip.peripherals[0x18000] = new SSI(chip, 'SSI');
		chip.peripherals[0x40018] = new QSPI(chip, 'IO_QSPI');
		this.xip = true;
		this.connected = false;
		this.again = undefined;
		for (const [name, bytes] of [['readUint32', 4], ['readUint16', 2], ['readUint8', 1]]) {
			const read = chip[name].bind(chip);
			chip[name] = (at) => {
				at >>>= 0;
				if (at >= FLASH && at < 0x18000000) {
					check(this.xip, `${bytes} bytes at ${at.toString(16)} are read while flash does not answer, at ${chip.core.PC.toString(16)}`);
					check(at < FLASH + FLASH_SIZE, 'a read behind the flash');
				}
				return read(at);
			};
		}
		for (const name of ['writeUint32', 'writeUint16', 'writeUint8']) {
			const write = chip[name].bind(chip);
			chip[name] = (at, value) => {
				at >>>= 0;
				if (at >= FLASH && at < 0x14000000) fail(`a write to flash, past the ROM, at ${chip.core.PC.toString(16)}`);
				write(at, value);
			};
		}
		chip.loadBootrom(rom()); // which erases the flash
		chip.flash.set(flash);
		// With PRIMASK set an interrupt ends a WFI and is not taken (ARMv6-M B1.5.19);
		// the emulator takes it.
		const enter = chip.core.exceptionEntry.bind(chip.core);
		chip.core.exceptionEntry = (n) => {
			if (!chip.core.PM || n < 16) enter(n);
		};
		chip.onBreak = (n) => this.call(n);
		chip.uart[0].onByte = (b) => this.heard.push(b);
		const dog = chip.peripherals[0x40058];
		if (scratch) dog.scratchData.set(scratch);
		dog.reason = reason;
		dog.onWatchdogTrigger = () => (this.again = { scratch: dog.scratchData.slice(), reason: dog.reason });
		for (const [pin, level] of Object.entries(this.pins)) chip.gpio[pin].setInputValue(level);
		for (const pin of [4, 6]) chip.gpio[pin].setInputValue(false); // door and enclosure shut
		chip.gpio[7].setInputValue(true);
		chip.sram.set(stage2(), RAM_STAGE2 - 0x20000000);
		chip.core.PC = RAM_STAGE2;
		chip.core.SP = 0x20042000;
	},
	call(n) {
		const r = this.chip.core.registers;
		if (n === 0) {
			const i = calls.indexOf(String.fromCharCode(r[1] & 0xff, (r[1] >> 8) & 0xff));
			check(i >= 0 && r[0] === 0x100, `a function that the ROM does not have, from ${r[14].toString(16)}`);
			r[0] = 0x200 + 4 * (i + 1) + 1;
			return;
		}
		const name = calls[n - 1], at = r[0] >>> 0;
		switch (name) {
			case 'IF': this.connected = true; break;
			case 'EX': check(this.connected, 'exit_xip before connect'); this.xip = false; break;
			case 'FC': this.connected = false; break;
			case 'CX': check(!this.connected, 'enter_xip before flush'); this.xip = true; break;
			case 'RE':
				check(!this.xip && at % 4096 === 0 && r[1] % 4096 === 0 && at + r[1] <= FLASH_SIZE, 'a bad erase');
				flash.fill(0xff, at, at + r[1]);
				break;
			case 'RP': {
				const [from, size] = [r[1] >>> 0, r[2]];
				check(!this.xip && at % 256 === 0 && size % 256 === 0 && at + size <= FLASH_SIZE, 'a bad program');
				check(from >= 0x20000000 && from + size <= 0x20042000, 'programmed from elsewhere than RAM');
				for (let i = 0; i < size; i++) flash[at + i] &= this.chip.sram[from - 0x20000000 + i];
				break;
			}
		}
		this.chip.flash.set(flash);
	},
	// Let it run until something is so; ms of its own time at most.
	run(until, ms, what) {
		for (const end = this.ns + ms * 1e6; !until(); ) {
			check(this.ns < end, `not within ${ms} ms: ${what}; it said ${JSON.stringify(this.text().slice(-300))}`);
			for (let i = 0; i < 200 && !this.again; i++) {
				const { core, clock } = this.chip;
				let ns;
				if (core.waiting) {
					ns = Math.min(clock.nanosToNextAlarm || 1e6, 1e6, this.toSend.length ? Math.max(this.nextByte - this.ns, 1) : 1e6);
				} else {
					ns = core.executeInstruction() * NS;
				}
				clock.tick(ns);
				this.ns += ns;
				if (this.toSend.length && this.ns >= this.nextByte) {
					this.chip.uart[0].feedByte(this.toSend.shift());
					this.nextByte = this.ns + BYTE;
				}
				if (core.waiting && this.toSend.length === 0) break;
			}
			if (this.again) {
				this.restarts.push(this.again.reason);
				this.start(this.again.scratch, this.again.reason);
			}
		}
	},
	send(bytes) {
		this.toSend.push(...bytes);
		this.nextByte = Math.max(this.nextByte, this.ns);
	},
	text() {
		return String.fromCharCode(...this.heard.slice(-4000));
	},
	pin(n) {
		return this.chip.gpio[n].value === 1; // GPIOPinState.High
	},
};

// --- the wire ----------------------------------------------------------------------------

function crc32(bytes) {
	let crc = -1;
	for (const b of bytes) {
		crc ^= b;
		for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
	}
	return ~crc >>> 0;
}
function frame(raw) {
	const out = [0];
	for (let at = 0; at <= raw.length; ) {
		const zero = raw.indexOf(0, at), end = zero < 0 ? raw.length : zero;
		out.push(end - at + 1, ...raw.slice(at, end));
		at = end + 1;
	}
	return [...out, 0];
}
function unframe(bytes) {
	const raw = [];
	for (let at = 0; at < bytes.length; at += bytes[at]) {
		if (at > 0) raw.push(0);
		raw.push(...bytes.slice(at + 1, at + bytes[at]));
	}
	return raw;
}
function ask(kind) {
	const c = crc32([kind]);
	board.heard = [];
	board.send(frame([kind, c & 255, (c >> 8) & 255, (c >> 16) & 255, c >>> 24]));
	board.run(() => board.heard.filter((b) => b === 0).length >= 2, 200, `an answer to question ${kind}`);
	const raw = unframe(board.heard.slice(board.heard.indexOf(0) + 1, board.heard.lastIndexOf(0)));
	check(crc32(raw.slice(0, -4)) === (raw.at(-4) | (raw.at(-3) << 8) | (raw.at(-2) << 16) | (raw.at(-1) << 24)) >>> 0, 'a garbled answer');
	check(raw[0] === (kind | 0x80), `question ${kind} is refused: ${raw}`);
	return raw.slice(1, -4);
}
function type(line, until, ms) {
	board.heard = [];
	board.send([...Buffer.from(line + '\r')]);
	board.run(() => board.text().includes(until), ms, `${JSON.stringify(until)} after ${line}`);
	return board.text();
}
function upload(file) {
	type('load', 'ready B 0x10080000\r\nC', 10000);
	for (let at = 0, n = 1; at < file.length; at += 1024, n++) {
		const data = [...file.subarray(at, at + 1024)];
		let crc = 0;
		for (const b of data) {
			crc ^= b << 8;
			for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
		}
		board.heard = [];
		board.send([2, n & 255, ~n & 255, ...data, crc >> 8, crc & 255]);
		board.run(() => board.heard.length > 0, 10000, `block ${n}`);
		check(board.heard[0] === 6, `block ${n} got ${board.heard}`);
	}
	board.heard = [];
	board.send([4]);
	board.run(() => /ok B [0-9.]+\r\n> $/.test(board.text()), 10000, 'the end of the upload');
	check(board.heard[0] === 6, 'the end of the file is not acknowledged');
}
function info() {
	const i = ask(1);
	check(i[0] === 1 && i[4] === 3, 'another protocol, or another board');
	check(NUMBER.every((b, n) => i[8 + n] === b), `the chip's number is read as ${i.slice(8, 16)}`);
	return { slot: String.fromCharCode(i[1]), confirmed: (i[2] & 2) !== 0 };
}
const ms = (since) => ((board.ns - since) / 1e6).toFixed(0);

// --- the test ------------------------------------------------------------------------------

let since = board.ns;
board.start(undefined, 0);
check(!board.pin(LOCK), 'the lock line is high at reset');
board.send([...frame([])]);
board.run(() => board.chip.core.waiting && board.chip.peripherals[0x40058].enable, 3000, 'a start of the application');
console.log(`start to listening ${ms(since)} ms (one signature, one digest)`);
let i = info();
check(i.slot === 'A' && !i.confirmed, 'not the image of the UF2');
ask(4);
check(info().confirmed, 'CONFIRM does not confirm');

// The exit button, pulled to ground, opens for 5 s.
board.chip.gpio[EXIT].setInputValue(false);
board.pins[EXIT] = false;
board.run(() => board.pin(LOCK), 100, 'the lock line after the exit button');
board.pins[EXIT] = true;
board.chip.gpio[EXIT].setInputValue(true);
since = board.ns;
board.run(() => !board.pin(LOCK), 5100, 'the end of the exit time');
check(board.ns - since > 4.8e9, 'the exit button opens too short');

// Into the loader by the watchdog's trigger; its check of images is never bitten.
ask(5);
board.run(() => board.text().endsWith('> '), 5000, "the loader's prompt");
check(board.restarts.length === 1, `restarts ${board.restarts}`);
check(/faceprint-loader \S+ board=3 serial=e661385283112233 key=development floor=0\r\nslot A \S+ rollback=0 sequence=\d+ confirmed\r\nslot B empty\r\ntarget B 0x10080000\r\n> $/.test(board.text()), board.text());
since = board.ns;
upload(readFileSync(bundleFile));
console.log(`upload of ${readFileSync(bundleFile).length} bytes ${ms(since)} ms`);
since = board.ns;
type('info', '\r\n> ', 10000);
console.log(`info with two whole images ${ms(since)} ms`);
check(/slot B \S+ rollback=0 sequence=\d+ new\r\n/.test(board.text()), board.text());
check(board.restarts.length === 1, `the watchdog bit: ${board.restarts}`);
console.log('pico: well');
process.exit(0);
