#include "textflag.h"

// In each half of a register lie two pixels of eight bytes, B G R B' G' R' and two
// that are not wanted, the primed ones of the neighbour. bg picks the blues and the
// greens of both, as words beside their neighbours'; r the reds, into the lower half
// and, sixteen bytes on, into the upper one.
DATA bg<>+0x00(SB)/8, $0x800b800880038000
DATA bg<>+0x08(SB)/8, $0x800c800980048001
DATA bg<>+0x10(SB)/8, $0x800b800880038000
DATA bg<>+0x18(SB)/8, $0x800c800980048001
GLOBL bg<>(SB), RODATA|NOPTR, $32

DATA red<>+0x00(SB)/8, $0x800d800a80058002
DATA red<>+0x08(SB)/8, $0x8080808080808080
DATA red<>+0x10(SB)/8, $0x800d800a80058002
DATA red<>+0x18(SB)/8, $0x8080808080808080
GLOBL red<>(SB), RODATA|NOPTR, $32

DATA redAbove<>+0x00(SB)/8, $0x8080808080808080
DATA redAbove<>+0x08(SB)/8, $0x800d800a80058002
DATA redAbove<>+0x10(SB)/8, $0x8080808080808080
DATA redAbove<>+0x18(SB)/8, $0x800d800a80058002
GLOBL redAbove<>(SB), RODATA|NOPTR, $32

// The products of words are signed, the words are not: they are moved down by half
// their range, and the sum, whose weights are 256, up again by 256 times that.
DATA down15<>+0(SB)/4, $0x80008000
GLOBL down15<>(SB), RODATA|NOPTR, $4
DATA up23<>+0(SB)/4, $0x00800000
GLOBL up23<>(SB), RODATA|NOPTR, $4

// PAIR takes the pixels at two of the offsets at BX into one register of each row.
#define PAIR(I, J, XU, XL) \
	MOVL    I(BX), AX                \
	MOVL    J(BX), DX                \
	VMOVQ   (SI)(AX*1), XU           \
	VMOVQ   (DI)(AX*1), XL           \
	VPINSRQ $1, (SI)(DX*1), XU, XU   \
	VPINSRQ $1, (DI)(DX*1), XL, XL

// ACROSS turns pixels 0 1 4 5 in A, and 2 3 6 7 in B, into sums of each and its neighbour
// by the weights in Y4, Y5 and Y6: the blues and greens in A and B, all reds in R.
#define ACROSS(YA, YB, YR, YT) \
	VPSHUFB  Y14, YA, YR \
	VPSHUFB  Y13, YB, YT \
	VPOR     YT, YR, YR  \
	VPSHUFB  Y15, YA, YA \
	VPSHUFB  Y15, YB, YB \
	VPMADDWD Y4, YA, YA  \
	VPMADDWD Y5, YB, YB  \
	VPMADDWD Y6, YR, YR

// DOWN turns the sums of the upper row, U, and of the lower, L, into those of both by
// the weights in W.
#define DOWN(U, L, W) \
	VPSLLD   $16, L, L \
	VPOR     L, U, U   \
	VPAND    Y12, U, U \
	VPXOR    Y8, U, U  \
	VPMADDWD W, U, U   \
	VPADDD   Y9, U, U

#define PLANE(Y, OUT) \
	VCVTDQ2PS Y, Y      \
	VMULPS    Y11, Y, Y \
	VADDPS    Y10, Y, Y \
	VMOVUPS   Y, (OUT)

// func sampleRows(upper, lower *byte, at *uint32, across, down *uint32, step, n int, keep uint32, scale, bias float32, o0, o1, o2 *float32)
TEXT ·sampleRows(SB), NOSPLIT, $0-96
	MOVQ         upper+0(FP), SI
	MOVQ         lower+8(FP), DI
	MOVQ         at+16(FP), BX
	MOVQ         across+24(FP), R8
	MOVQ         down+32(FP), R9
	MOVQ         step+40(FP), R10
	MOVQ         n+48(FP), CX
	MOVL         keep+56(FP), AX
	VMOVD        AX, X12
	VPBROADCASTD X12, Y12
	VBROADCASTSS scale+60(FP), Y11
	VBROADCASTSS bias+64(FP), Y10
	MOVQ         o0+72(FP), R11
	MOVQ         o1+80(FP), R12
	MOVQ         o2+88(FP), R13
	VMOVDQU      bg<>(SB), Y15
	VMOVDQU      red<>(SB), Y14
	VMOVDQU      redAbove<>(SB), Y13
	SHRQ         $3, CX
	JZ           done

loop:
	VMOVDQU (R8), Y6
	VPSHUFD $0x44, Y6, Y4
	VPSHUFD $0xee, Y6, Y5
	PAIR(0, 4, X0, X3)
	PAIR(16, 20, X2, X8)
	VINSERTI128 $1, X2, Y0, Y0
	VINSERTI128 $1, X8, Y3, Y3
	PAIR(8, 12, X1, X7)
	PAIR(24, 28, X2, X8)
	VINSERTI128 $1, X2, Y1, Y1
	VINSERTI128 $1, X8, Y7, Y7
	ACROSS(Y0, Y1, Y2, Y9)
	ACROSS(Y3, Y7, Y8, Y9)

	// The lower row's reds move to make room.
	VMOVDQA      Y8, Y6
	VPBROADCASTD down15<>(SB), Y8
	VPBROADCASTD up23<>(SB), Y9
	VMOVDQU      (R9), Y4
	VPSHUFD      $0x44, Y4, Y5
	DOWN(Y0, Y3, Y5)
	VPSHUFD      $0xee, Y4, Y5
	DOWN(Y1, Y7, Y5)
	DOWN(Y2, Y6, Y4)

	VPUNPCKLQDQ Y1, Y0, Y3
	VPUNPCKHQDQ Y1, Y0, Y7
	PLANE(Y3, R11)
	PLANE(Y7, R12)
	PLANE(Y2, R13)
	ADDQ        $32, BX
	ADDQ        $32, R8
	ADDQ        R10, R9
	ADDQ        $32, R11
	ADDQ        $32, R12
	ADDQ        $32, R13
	DECQ        CX
	JNZ         loop
	VZEROUPPER

done:
	RET

// func sumColumns(pix *byte, stride, rows int, sums *byte, n int)
TEXT ·sumColumns(SB), NOSPLIT, $0-40
	MOVQ pix+0(FP), SI
	MOVQ stride+8(FP), R8
	MOVQ rows+16(FP), R9
	MOVQ sums+24(FP), DI
	MOVQ n+32(FP), CX

wide:
	CMPQ  CX, $64
	JLT   narrow
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	MOVQ  SI, AX
	MOVQ  R9, DX

row:
	VPMOVZXBW (AX), Y4
	VPMOVZXBW 16(AX), Y5
	VPMOVZXBW 32(AX), Y6
	VPMOVZXBW 48(AX), Y7
	VPADDW    Y4, Y0, Y0
	VPADDW    Y5, Y1, Y1
	VPADDW    Y6, Y2, Y2
	VPADDW    Y7, Y3, Y3
	ADDQ      R8, AX
	DECQ      DX
	JNZ       row
	VMOVDQU   Y0, (DI)
	VMOVDQU   Y1, 32(DI)
	VMOVDQU   Y2, 64(DI)
	VMOVDQU   Y3, 96(DI)
	ADDQ      $64, SI
	ADDQ      $128, DI
	SUBQ      $64, CX
	JMP       wide

narrow:
	CMPQ  CX, $16
	JLT   done
	VPXOR Y0, Y0, Y0
	MOVQ  SI, AX
	MOVQ  R9, DX

narrowRow:
	VPMOVZXBW (AX), Y4
	VPADDW    Y4, Y0, Y0
	ADDQ      R8, AX
	DECQ      DX
	JNZ       narrowRow
	VMOVDQU   Y0, (DI)
	ADDQ      $16, SI
	ADDQ      $32, DI
	SUBQ      $16, CX
	JMP       narrow

done:
	VZEROUPPER
	RET

// Bytes 0 4 8 of each half.
DATA low3<>+0x00(SB)/8, $0x8080808080080400
DATA low3<>+0x08(SB)/8, $0x8080808080808080
DATA low3<>+0x10(SB)/8, $0x8080808080080400
DATA low3<>+0x18(SB)/8, $0x8080808080808080
GLOBL low3<>(SB), RODATA|NOPTR, $32

// func meanAcross(sums *byte, k, n int, half, part float32, out *byte)
TEXT ·meanAcross(SB), NOSPLIT, $0-40
	MOVQ         sums+0(FP), SI
	MOVQ         k+8(FP), R8
	MOVQ         n+16(FP), CX
	VBROADCASTSS half+24(FP), Y7
	VBROADCASTSS part+28(FP), Y6
	MOVQ         out+32(FP), DI
	VMOVDQU      low3<>(SB), Y5
	LEAQ         (R8)(R8*2), R9 // bytes of the sums of k pixels
	ADDQ         R9, R9
	SHRQ         $1, CX
	JZ           done

loop:
	VMOVQ   (SI), X0
	VPINSRQ $1, (SI)(R9*1), X0, X0
	LEAQ    6(SI), AX
	MOVQ    R8, DX
	DECQ    DX
	JZ      mean

pixel:
	VMOVQ   (AX), X1
	VPINSRQ $1, (AX)(R9*1), X1, X1
	VPADDW  X1, X0, X0
	ADDQ    $6, AX
	DECQ    DX
	JNZ     pixel

mean:
	VPMOVZXWD    X0, Y0
	VCVTDQ2PS    Y0, Y0
	VADDPS       Y7, Y0, Y0
	VMULPS       Y6, Y0, Y0
	VCVTTPS2DQ   Y0, Y0
	VPSHUFB      Y5, Y0, Y0
	VEXTRACTI128 $1, Y0, X1
	VMOVD        X0, (DI)
	VMOVD        X1, 3(DI)
	LEAQ         (SI)(R9*2), SI
	ADDQ         $6, DI
	DECQ         CX
	JNZ          loop
	VZEROUPPER

done:
	RET
