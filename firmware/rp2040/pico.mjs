// The Pico's own binaries, as they ship in the UF2, on an emulated RP2040 (rp2040js):
// loader, application, second stage, flash by the boot ROM's calls, watchdog, UART.
//
//   node pico.mjs RP2040JS/dist/esm guard.uf2 app.fpb loader.elf
//
// The emulator has neither boot ROM nor flash chip; here they are, as far as the
// firmware uses them and as strict as the datasheets: the ROM checks the second stage's
// CRC, flash is programmed in pages and loses ones only, and while it does not answer
// reads, between exit_xip and enter_xip, every access to it ends the test. Erasing and
// programming take the typical times of the Pico's chip, and the line's bytes theirs.
import { createHash, createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [lib, uf2File, bundleFile, elfFile] = process.argv.slice(2);
const { RP2040 } = await import(pathToFileURL(lib + '/rp2040.js'));
const { SimulationClock } = await import(pathToFileURL(lib + '/clock/simulation-clock.js'));
const { ConsoleLogger, LogLevel } = await import(pathToFileURL(lib + '/utils/logging.js'));
const { BasePeripheral } = await import(pathToFileURL(lib + '/peripherals/peripheral.js'));

const FLASH = 0x10000000, FLASH_SIZE = 2 << 20, RAM_STAGE2 = 0x20041f00;
const NS = 8; // a cycle at 125 MHz
const BYTE = 10e9 / 115200; // ns on the wire
const NUMBER = [0xe6, 0x61, 0x38, 0x52, 0x83, 0x11, 0x22, 0x33]; // of the flash chip
const LOCK = 2, EXIT = 5;
const ERASE = 45e6, PROGRAM = 0.4e6; // ns: W25Q16JV, a sector of 4 KiB and a page of 256 bytes, typical

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
	leaving: [], // bytes on their way from the board, with when they are there
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
		// The emulator's UART sends at once, and does not ask for DMA at what it receives. The
		// chip's has 32 bytes and the one that is being sent (datasheet 4.2.2).
		const uart = chip.uart[0], FR = 0x18, DMACR = 0x48, RX = 21, FIFO = 32;
		this.leaving = [];
		uart.onByte = (b) => {
			check(this.leaving.length <= FIFO, 'a byte is lost: the transmit FIFO is full');
			this.leaving.push([Math.max(this.ns, this.leaving.at(-1)?.[0] ?? 0) + BYTE, b]);
		};
		const [read, write] = [uart.readUint32.bind(uart), uart.writeUint32.bind(uart)];
		uart.readUint32 = (at) => {
			const value = read(at);
			if (at === FR) {
				const n = this.leaving.length;
				return (value & ~0x80) | (n > FIFO ? 1 << 5 : 0) | (n > 0 ? 1 << 3 : 0) | (n > 1 ? 0 : 0x80);
			}
			if (at === 0 && uart.rxFIFO.empty) chip.dma.clearDREQ(RX);
			return value;
		};
		uart.writeUint32 = (at, value) => {
			if (at === DMACR) return void (this.dma = (value & 1) !== 0);
			check(at < 0x24 || at > 0x30 || !this.leaving.length, `the UART is set up while it sends: ${this.leaving.length} bytes are cut`);
			write(at, value);
		};
		this.dma = false;
		this.receive = (b) => {
			check(!uart.rxFIFO.full, 'a byte is lost: the receive FIFO is full');
			uart.feedByte(b);
			if (this.dma) chip.dma.setDREQ(RX);
		};
		const dog = chip.peripherals[0x40058];
		if (scratch) dog.scratchData.set(scratch);
		dog.reason = reason;
		dog.onWatchdogTrigger = () => {
			dog.alarm.enable = false; // the emulator's would go off again at once, for ever
			this.again = { scratch: dog.scratchData.slice(), reason: dog.reason };
		};
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
				this.chip.flash.set(flash.subarray(at, at + r[1]), at);
				this.spend((ERASE * r[1]) / 4096);
				break;
			case 'RP': {
				const [from, size] = [r[1] >>> 0, r[2]];
				check(!this.xip && at % 256 === 0 && size % 256 === 0 && at + size <= FLASH_SIZE, 'a bad program');
				check(from >= 0x20000000 && from + size <= 0x20042000, 'programmed from elsewhere than RAM');
				for (let i = 0; i < size; i++) flash[at + i] &= this.chip.sram[from - 0x20000000 + i];
				this.chip.flash.set(flash.subarray(at, at + size), at);
				this.spend((PROGRAM * size) / 256);
				break;
			}
		}
	},
	// Time passes on the line and in the chip.
	pass(ns) {
		this.chip.clock.tick(ns);
		this.ns += ns;
		if (this.toSend.length && this.ns >= this.nextByte) {
			this.receive(this.toSend.shift());
			this.nextByte = Math.max(this.ns, this.nextByte + BYTE);
		}
		while (this.leaving.length && this.leaving[0][0] <= this.ns) {
			const byte = this.leaving.shift()[1];
			this.heard.push(byte);
			this.answer?.(byte); // also in the middle of an erase
		}
	},
	spend(ns) {
		for (const end = this.ns + ns; this.ns < end && !this.again; ) this.pass(Math.min(20e3, end - this.ns));
	},
	// Let it run until something is so; ms of its own time at most.
	run(until, ms, what) {
		for (const end = this.ns + ms * 1e6; !until(); ) {
			check(this.ns < end, `not within ${ms} ms: ${what}; it said ${JSON.stringify(this.text().slice(-300))}`);
			for (let i = 0; i < 200 && !this.again; i++) {
				const { core, clock } = this.chip;
				let ns, idle = false;
				if (core.waiting) {
					ns = Math.min(clock.nanosToNextAlarm || 1e6, 1e6);
					if (this.toSend.length) ns = Math.min(ns, Math.max(this.nextByte - this.ns, 1));
					if (this.leaving.length) ns = Math.min(ns, Math.max(this.leaving[0][0] - this.ns, 1));
				} else {
					const at = core.PC;
					ns = core.executeInstruction() * NS;
					idle = core.PC === at; // a branch to itself
					if (idle) ns = 1e5;
				}
				this.pass(ns);
				if ((core.waiting || idle) && this.toSend.length === 0) break;
			}
			if (this.again) {
				check(!this.leaving.length, `a restart cuts ${this.leaving.length} bytes`);
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
// As faceprint flash does it: the one image for the slot, each block at the ACK of the
// one before. The wire's time is that of the blocks, of the end, and of their answers;
// the upload's is from the command to the prompt behind its ok, so the check of the
// signature, erasing, programming, the digest and every turn of the line are in it.
function upload(file, slot) {
	const since = board.ns;
	board.heard = [];
	board.send([...Buffer.from('load\r')]);
	board.run(() => board.text().endsWith('C'), 10000, 'the loader asks for a file');
	check(board.text().endsWith(`ready ${slot}\r\nC`), board.text());
	const blocks = Math.ceil(file.length / 1024);
	let n = 0;
	board.answer = (byte) => {
		check(byte === 6, `block ${n} got ${byte}`);
		if (n++ >= blocks) board.answer = undefined;
		if (n > blocks + 1) return;
		const data = [...file.subarray(1024 * (n - 1), 1024 * n)];
		let crc = 0;
		for (const b of data) {
			crc ^= b << 8;
			for (let i = 0; i < 8; i++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
		}
		board.heard = [];
		board.send(n > blocks ? [4] : [2, n & 255, ~n & 255, ...data, crc >> 8, crc & 255]);
	};
	board.answer(6);
	board.run(() => board.answer === undefined && /^\x06\r\nok [AB] [0-9.]+\r\n> $/.test(board.text()), 60000, 'the end of the upload');
	const wire = (blocks * (1024 + 5 + 1) + 2) * BYTE;
	console.log(`upload of ${file.length} bytes ${ms(since)} ms, ${((board.ns - since) / wire).toFixed(3)} x the wire's`);
}
// The image of a bundle for a slot.
function imageFor(bundle, link) {
	for (let at = 0; at < bundle.length; ) {
		const size = 256 + bundle.readUInt32LE(at + 16), end = at + Math.ceil(size / 1024) * 1024;
		if (bundle.readUInt32LE(at + 20) === link) return bundle.subarray(at, end);
		at = end;
	}
	fail('no image for the slot');
}
// An image signed with the development key, whose seed is public: 32 times F.
function image(body, link, version) {
	const h = Buffer.alloc(256), file = Buffer.alloc(Math.ceil((256 + body.length) / 1024) * 1024, 0xff);
	h.write('FPGUARD1');
	h.writeUInt16LE(256, 8);
	for (const [at, v] of [[12, 3], [16, body.length], [20, link], [24, version << 24]]) h.writeUInt32LE(v >>> 0, at);
	createHash('sha256').update(body).digest().copy(h, 32);
	const key = createPrivateKey({ format: 'der', type: 'pkcs8', key: Buffer.from('302e020100300506032b657004220420' + '46'.repeat(32), 'hex') });
	sign(null, Buffer.concat([Buffer.from('faceprint image v1'), h.subarray(0, 96)]), key).copy(h, 96);
	h.copy(file);
	body.copy(file, 256);
	return file;
}

function info() {
	const i = ask(1);
	check(i[0] === 1 && i[4] === 3, 'another protocol, or another board');
	check(NUMBER.every((b, n) => i[8 + n] === b), `the chip's number is read as ${i.slice(8, 16)}`);
	return { slot: String.fromCharCode(i[1]), confirmed: (i[2] & 2) !== 0 };
}
const ms = (since) => ((board.ns - since) / 1e6).toFixed(0);

// --- the loader's arithmetic --------------------------------------------------------------

// Of the loader as it is linked, against numbers of any size: hal/row.S runs nowhere else
// but on a Cortex-M0.
function arithmetic() {
	const elf = readFileSync(elfFile), at = {};
	const section = (i) => elf.readUInt32LE(32) + i * elf.readUInt16LE(46);
	for (let i = 0; i < elf.readUInt16LE(48); i++) {
		if (elf.readUInt32LE(section(i) + 4) !== 2) continue; // SYMTAB
		const [from, size, names] = [16, 20, 24].map((o) => elf.readUInt32LE(section(i) + o));
		const text = elf.readUInt32LE(section(names) + 16);
		for (let s = from; s < from + size; s += 16) {
			const name = elf.subarray(text + elf.readUInt32LE(s)), value = elf.readUInt32LE(s + 4);
			at[name.subarray(0, name.indexOf(0)).toString()] = value & ~1;
		}
	}
	const { chip } = board, p = (1n << 255n) - 19n, [A, B, R, BACK] = [0x20020000, 0x20020020, 0x20020040, 0x20020100];
	const put = (to, v) => { for (let i = 0; i < 8; i++) chip.writeUint32(to + 4 * i, Number((v >> BigInt(32 * i)) & 0xffffffffn)); };
	const get = (from) => { let v = 0n; for (let i = 7; i >= 0; i--) v = (v << 32n) | BigInt(chip.readUint32(from + 4 * i) >>> 0); return v; };
	const call = (name, ...args) => {
		check(at[name], `no ${name} in ${elfFile}`);
		args.forEach((v, i) => (chip.core.registers[i] = v));
		chip.core.registers[14] = BACK | 1;
		chip.core.SP = 0x20040000;
		chip.core.PC = at[name];
		for (let n = 0; chip.core.PC !== BACK; n++) {
			check(n < 100000, `${name} does not come back`);
			chip.core.executeInstruction();
		}
	};
	let state = 1;
	const number = () => { state ^= state << 13; state ^= state >>> 17; state ^= state << 5; return state >>> 0; };
	// Words of ones and zeros, and what lies beside p, 2p and 2^256: where the carries are.
	const edges = [0n, 1n, p - 1n, p, p + 1n, 2n * p - 1n, 2n * p, 2n * p + 1n, (1n << 256n) - 1n, (1n << 255n) - 1n, 1n << 255n];
	const draw = (n) => {
		if (n < edges.length) return edges[n];
		let v = 0n;
		for (let i = 0; i < 8; i++) v = (v << 32n) | BigInt([0, 0xffffffff, number(), number() % 2 ? 0xffff0000 : 0xffff][number() % 4]);
		return v;
	};
	let cases = 0;
	for (let i = 0; i < 60; i++) {
		for (let k = 0; k < (i < edges.length ? edges.length : 12); k++) {
			const a = draw(i), b = draw(i < edges.length ? k : 99), mod = (v) => ((v % p) + p) % p;
			for (const [name, want] of [['field_mul', a * b], ['field_add', a + b], ['field_sub', a - b], ['field_square', a * a]]) {
				put(A, a);
				put(B, b);
				call(name, R, A, B);
				check(mod(get(R)) === mod(want), `${name} of ${a.toString(16)} and ${b.toString(16)}`);
				cases++;
			}
		}
	}
	console.log(`${cases} products, squares, sums and differences modulo 2^255 - 19 are right`);
}

// --- the test ------------------------------------------------------------------------------

board.start(undefined, 0);
arithmetic();
board.start(undefined, 0);
let since = board.ns;
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

const A = 0x10010000, B = 0x10080000, bundle = readFileSync(bundleFile);
const inLoader = (ms, what) => board.run(() => board.text().endsWith('> '), ms, what);
// An application sleeps, which lies in this slot.
const listens = (slot, what) => board.run(() => board.chip.core.waiting && board.chip.core.PC >>> 16 === slot >>> 16, 5000, what);

// A program that hangs: the watchdog, which the loader started, bites; the next start is
// that of the confirmed image.
const hangs = Buffer.alloc(60 * 1024 - 256, 0x5a);
hangs.writeUInt32LE(0x20003000, 0);
hangs.writeUInt32LE(B + 256 + 9, 4);
hangs.writeUInt16LE(0xe7fe, 8); // b .
upload(image(hangs, B, 9), 'B 0x10080000');
since = board.ns;
type('info', '\r\n> ', 10000);
console.log(`info with two whole images ${ms(since)} ms`);
check(/slot B 9\.0\.0 rollback=0 sequence=\d+ new\r\n/.test(board.text()), board.text());
check(board.restarts.length === 1, `the watchdog bit: ${board.restarts}`);
type('boot', 'boot B 9.0.0\r\n', 3000);
since = board.ns;
board.run(() => board.restarts.length === 2, 2500, 'the bite of the watchdog');
console.log(`a program that hangs is bitten after ${ms(since)} ms`);
check(board.restarts[1] === 1, `the reason is ${board.restarts[1]}`); // TIMER
check(!board.pin(LOCK), 'the lock line is high at the bite');
listens(A, 'the start behind the bite');
i = info();
check(i.slot === 'A' && i.confirmed, 'what was confirmed does not run after the bite');

// The other slot: upload, boot, confirm; it stays.
ask(5);
inLoader(5000, "the loader's prompt");
check(/slot B 9\.0\.0 \S+ \S+ tried\r\ntarget B/.test(board.text()), board.text());
upload(imageFor(bundle, B), 'B 0x10080000');
type('boot', 'boot B', 3000);
listens(B, 'slot B');
i = info();
check(i.slot === 'B' && !i.confirmed, `slot ${i.slot} runs`);
ask(4);
check(info().confirmed, 'CONFIRM does not confirm slot B');
ask(5);
inLoader(5000, "the loader's prompt");
check(/slot A \S+ \S+ \S+ confirmed\r\nslot B \S+ \S+ \S+ confirmed\r\ntarget A 0x10010000\r\n> $/.test(board.text()), board.text());
type('boot', 'boot B', 3000);
listens(B, 'slot B again');
check(info().slot === 'B', 'the newer confirmed image does not start');
console.log('pico: well');
process.exit(0);
