#include "textflag.h"

// What the assembler has no names for; registers by number, the result last.
#define UMULL(M, N, D)    WORD $(0x2e60c000 | M<<16 | N<<5 | D) // 4 words, the lower
#define UMULL2(M, N, D)   WORD $(0x6e60c000 | M<<16 | N<<5 | D) // 4 words, the upper
#define UMLAL(M, N, D)    WORD $(0x2e608000 | M<<16 | N<<5 | D)
#define UMLAL2(M, N, D)   WORD $(0x6e608000 | M<<16 | N<<5 | D)
#define UMLALB(M, N, D)   WORD $(0x2e208000 | M<<16 | N<<5 | D) // 8 bytes, the lower
#define UMLSLB(M, N, D)   WORD $(0x2e20a000 | M<<16 | N<<5 | D)
#define UCVTF(N, D)       WORD $(0x6e21d800 | N<<5 | D)
#define FCVTZU(N, D)      WORD $(0x6ea1b800 | N<<5 | D)
#define FMUL(M, N, D)     WORD $(0x6e20dc00 | M<<16 | N<<5 | D)
#define FADD(M, N, D)     WORD $(0x4e20d400 | M<<16 | N<<5 | D)

// PIXEL takes the pixel at the next offset at R2, of eight bytes B G R B' G' R' and two
// that are not wanted, the primed ones of its neighbour, of either row.
#define PIXEL(U, L) \
	MOVWU.P 4(R2), R14  \
	ADD     R0, R14, R15 \
	VLD1    (R15), U     \
	ADD     R1, R14, R15 \
	VLD1    (R15), L

// SHUFFLE interleaves the bytes of A B with those of C D: of an index of six bits the
// first becomes the last.
#define SHUFFLE(A, B, C, D, E, F, G, H) \
	VZIP1 C.B16, A.B16, E.B16 \
	VZIP2 C.B16, A.B16, F.B16 \
	VZIP1 D.B16, B.B16, G.B16 \
	VZIP2 D.B16, B.B16, H.B16

// DOWN turns the sums of a channel in the upper row, U, and in the lower, L, into eight
// numbers at OUT.
#define DOWN(U, L, OUT) \
	UMULL(22, U, 16)   \
	UMULL2(22, U, 17)  \
	UMLAL(23, L, 16)   \
	UMLAL2(23, L, 17)  \
	UCVTF(16, 16)      \
	UCVTF(17, 17)      \
	FMUL(30, 16, 16)   \
	FMUL(30, 17, 17)   \
	FADD(29, 16, 16)   \
	FADD(29, 17, 17)   \
	VST1.P [V16.S4, V17.S4], 32(OUT)

// ACROSS turns eight pixels, four registers from A on, into sums of each and its
// neighbour by the weights in V21: blue in E, green in F, red in G; NA to NG are numbers.
// Shuffled, E has blues and greens, F reds and the neighbours' blues, G their greens and
// reds. The sum of c and its neighbour's d is 256 c + d w - c w.
#define ACROSS(A, B, C, D, E, F, G, H, NA, NB, NC, NE, NF, NG) \
	SHUFFLE(A, B, C, D, E, F, G, H)     \
	SHUFFLE(E, F, G, H, A, B, C, D)     \
	SHUFFLE(A, B, C, D, E, F, G, H)     \
	VMOV   E.B16, A.B16                 \
	VMOV   F.B16, B.B16                 \
	VMOV   G.B16, C.B16                 \
	VZIP1  A.B16, V28.B16, E.B16        \
	VZIP2  A.B16, V28.B16, F.B16        \
	VZIP1  B.B16, V28.B16, G.B16        \
	UMLSLB(21, NA, NE)                  \
	UMLSLB(21, NB, NG)                  \
	UMLALB(21, NC, NF)                  \
	VEXT   $8, A.B16, A.B16, A.B16      \
	VEXT   $8, B.B16, B.B16, B.B16      \
	VEXT   $8, C.B16, C.B16, C.B16      \
	UMLSLB(21, NA, NF)                  \
	UMLALB(21, NB, NE)                  \
	UMLALB(21, NC, NG)                  \
	VAND   V31.B16, E.B16, E.B16        \
	VAND   V31.B16, F.B16, F.B16        \
	VAND   V31.B16, G.B16, G.B16

// func sampleRows(upper, lower *byte, at, across, down *uint32, step, n int, keep uint32, scale, bias float32, o0, o1, o2 *float32)
TEXT ·sampleRows(SB), NOSPLIT, $0-96
	MOVD  upper+0(FP), R0
	MOVD  lower+8(FP), R1
	MOVD  at+16(FP), R2
	MOVD  across+24(FP), R3
	MOVD  down+32(FP), R4
	MOVD  step+40(FP), R5
	MOVD  n+48(FP), R6
	MOVWU keep+56(FP), R7
	MOVWU scale+60(FP), R8
	MOVWU bias+64(FP), R9
	MOVD  o0+72(FP), R10
	MOVD  o1+80(FP), R11
	MOVD  o2+88(FP), R12
	VDUP  R7, V31.S4
	VDUP  R8, V30.S4
	VDUP  R9, V29.S4
	VEOR  V28.B16, V28.B16, V28.B16
	LSR   $3, R6
	CBZ   R6, done

loop:
	PIXEL(V0.D[0], V4.D[0])
	PIXEL(V0.D[1], V4.D[1])
	PIXEL(V1.D[0], V5.D[0])
	PIXEL(V1.D[1], V5.D[1])
	PIXEL(V2.D[0], V6.D[0])
	PIXEL(V2.D[1], V6.D[1])
	PIXEL(V3.D[0], V7.D[0])
	PIXEL(V3.D[1], V7.D[1])

	// Of a pair of weights the second is one byte.
	VLD1.P 32(R3), [V16.S4, V17.S4]
	VUZP2  V17.H8, V16.H8, V21.H8
	VUZP1  V21.B16, V21.B16, V21.B16
	ACROSS(V0, V1, V2, V3, V24, V25, V26, V27, 0, 1, 2, 24, 25, 26)
	ACROSS(V4, V5, V6, V7, V0, V1, V2, V3, 4, 5, 6, 0, 1, 2)

	VLD1  (R4), [V16.S4, V17.S4]
	ADD   R5, R4, R4
	VUZP1 V17.H8, V16.H8, V22.H8
	VUZP2 V17.H8, V16.H8, V23.H8
	DOWN(24, 0, R10)
	DOWN(25, 1, R11)
	DOWN(26, 2, R12)
	SUB   $1, R6
	CBNZ  R6, loop

done:
	RET

// func sumColumns(pix *byte, stride, rows int, sums *byte, n int)
TEXT ·sumColumns(SB), NOSPLIT, $0-40
	MOVD pix+0(FP), R0
	MOVD stride+8(FP), R1
	MOVD rows+16(FP), R2
	MOVD sums+24(FP), R3
	MOVD n+32(FP), R4
	LSR  $4, R4
	CBZ  R4, done

loop:
	VEOR V0.B16, V0.B16, V0.B16
	VEOR V1.B16, V1.B16, V1.B16
	MOVD R0, R5
	MOVD R2, R6

row:
	VLD1    (R5), [V2.B16]
	VUADDW  V2.B8, V0.H8, V0.H8
	VUADDW2 V2.B16, V1.H8, V1.H8
	ADD     R1, R5
	SUB     $1, R6
	CBNZ    R6, row
	VST1.P  [V0.H8, V1.H8], 32(R3)
	ADD     $16, R0
	SUB     $1, R4
	CBNZ    R4, loop

done:
	RET

// func meanAcross(sums *byte, k, n int, half, part float32, out *byte)
TEXT ·meanAcross(SB), NOSPLIT, $0-40
	MOVD  sums+0(FP), R0
	MOVD  k+8(FP), R1
	MOVD  n+16(FP), R2
	MOVWU half+24(FP), R3
	MOVWU part+28(FP), R4
	MOVD  out+32(FP), R5
	VDUP  R3, V7.S4
	VDUP  R4, V6.S4
	ADD   R1<<1, R1, R6
	LSL   $1, R6        // bytes of the sums of k pixels
	LSR   $1, R2
	CBZ   R2, done

loop:
	VEOR V0.B16, V0.B16, V0.B16
	MOVD R0, R7
	ADD  R6, R0, R8
	MOVD R1, R9

pixel:
	VLD1 (R7), V1.D[0]
	VLD1 (R8), V1.D[1]
	ADD  $6, R7
	ADD  $6, R8
	VADD V1.H8, V0.H8, V0.H8
	SUB  $1, R9
	CBNZ R9, pixel

	VUXTL  V0.H4, V2.S4
	VUXTL2 V0.H8, V3.S4
	UCVTF(2, 2)
	UCVTF(3, 3)
	FADD(7, 2, 2)
	FADD(7, 3, 3)
	FMUL(6, 2, 2)
	FMUL(6, 3, 3)
	FCVTZU(2, 2)
	FCVTZU(3, 3)
	VUZP1  V3.H8, V2.H8, V2.H8
	VUZP1  V2.B16, V2.B16, V2.B16
	VST1   V2.S[0], (R5)
	ADD    $3, R5
	VST1   V2.S[1], (R5)
	ADD    $3, R5
	MOVD   R8, R0        // where the second pixel's sums end
	SUB    $1, R2
	CBNZ   R2, loop

done:
	RET
