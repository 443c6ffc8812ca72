// Package sensor drives the UART fingerprint modules of the ZFM/R30x/R503/
// AS608/FPM10A family.
//
// The wire (Grow R503 manual V1.2.2, section 4): 8N1, half duplex, 9600*N
// baud, 57600 at the factory. A packet is
//
//	EF 01 | address (4) | PID (1) | length (2) | content | sum (2)
//
// big-endian; length counts content and sum; sum is the low 16 bits of the sum
// of PID, length and content. The host speaks first and waits for the answer.
//
// Names of instructions and codes are the manual's. Three kinds of no are kept
// apart: *RetryError is what the person can mend (no finger, smudged), a score
// of 0 is the module's "not this finger", and every other error is a fault.
//
// After a time-out or a cancellation a late answer may still be on its way,
// and would be taken for the answer to the next instruction; the driver
// therefore drains the line until it is quiet before it speaks again.
package sensor
