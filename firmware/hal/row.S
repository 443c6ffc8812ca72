/* void field_row(uint32_t *t, uint32_t a, const uint32_t *b, uint32_t n), see boot/field.c:
 * t[0..n) += a * b[0..n), and t[n] = what is carried; n from 1 to 8. 29 cycles a word on a Cortex-M0,
 * where gcc's best is 51; four in five cycles of a signature are spent here. The C
 * beside its call is the same, and what the unit tests run. */
	.syntax unified
	.cpu cortex-m0
	.thumb

/* r0: t, r2: b, r3: carry, r8 and r12: low and high half of a. */
	.macro step
	ldmia r2!, {r1}
	lsrs r4, r1, #16 /* high half of b */
	uxth r1, r1      /* low */
	mov r5, r8
	mov r6, r12
	mov r7, r8
	muls r5, r1      /* low low */
	muls r1, r6      /* high of a, low of b */
	muls r6, r4      /* high high */
	muls r4, r7      /* low of a, high of b */
	ldr r7, [r0]
	adds r5, r5, r3
	movs r3, #0      /* leaves the carry flag alone */
	adcs r6, r3
	adds r5, r5, r7
	adcs r6, r3
	lsls r7, r1, #16
	lsrs r3, r1, #16
	adds r5, r5, r7
	adcs r3, r6
	lsls r7, r4, #16
	lsrs r4, r4, #16
	adds r5, r5, r7
	adcs r3, r4
	stmia r0!, {r5}
	.endm

	.section .text.field_row, "ax", %progbits
	.global field_row
	.thumb_func
	.type field_row, %function
field_row:
	push {r4-r7, lr}
	mov r7, r8
	push {r7}
	uxth r4, r1
	mov r8, r4       /* low half of a */
	lsrs r1, r1, #16
	mov r12, r1      /* high */
	/* Begin n steps before the end. */
	movs r4, #8
	subs r4, r4, r3
	movs r3, #50     /* bytes of a step */
	muls r4, r3
	adr r3, 1f
	adds r4, r4, r3
	adds r4, #1      /* Thumb */
	movs r3, #0      /* carry */
	bx r4
	.balign 4
1:	.rept 8
	step
	.endr
	.if . - 1b != 8 * 50
	.error "a step has another size"
	.endif
	str r3, [r0]
	pop {r7}
	mov r8, r7
	pop {r4-r7, pc}
	.size field_row, . - field_row

/* void field_diagonal(uint32_t *t, const uint32_t *a): t = 2 t + the square of each word of
 * a in its place, 16 words. */
	.section .text.field_diagonal, "ax", %progbits
	.global field_diagonal
	.thumb_func
	.type field_diagonal, %function
field_diagonal:
	push {r4-r7, lr}
	movs r4, #0
	adds r4, r4, #0  /* clears the carry flag */
	mov r2, r0
	mov r3, r0
	.rept 4
	ldmia r3!, {r4-r7}
	adcs r4, r4
	adcs r5, r5
	adcs r6, r6
	adcs r7, r7
	stmia r2!, {r4-r7}
	.endr
	mov r12, r2      /* end of t */
	movs r7, #0      /* carry */
1:	ldmia r1!, {r2}
	uxth r3, r2      /* low half */
	lsrs r4, r2, #16 /* high */
	movs r5, r3
	muls r5, r5
	muls r3, r4      /* twice of it, 17 bits up, belongs to the square */
	muls r4, r4
	lsls r6, r3, #17
	lsrs r3, r3, #15
	adds r5, r5, r6
	adcs r4, r3
	adds r5, r5, r7
	movs r7, #0
	adcs r4, r7
	ldr r2, [r0]
	ldr r3, [r0, #4]
	adds r5, r5, r2
	adcs r4, r3
	adcs r7, r7
	str r5, [r0]
	str r4, [r0, #4]
	adds r0, #8
	cmp r0, r12
	bne 1b
	pop {r4-r7, pc}
	.size field_diagonal, . - field_diagonal

/* void field_rows(uint32_t *t, const uint32_t *a, const uint32_t *b): t[0..16) = a * b, of 8
 * words each; t[0..8) comes as zeros. */
	.section .text.field_rows, "ax", %progbits
	.global field_rows
	.thumb_func
	.type field_rows, %function
field_rows:
	push {r4-r7, lr}
	mov r4, r8
	mov r5, r9
	mov r6, r10
	push {r4-r6}
	mov r9, r1
	movs r3, #32
	adds r3, r3, r1
	mov r10, r3      /* end of a */
1:	mov r1, r9
	ldmia r1!, {r4}
	mov r9, r1
	uxth r5, r4
	mov r8, r5
	lsrs r4, r4, #16
	mov r12, r4
	movs r3, #0
	.rept 8
	step
	.endr
	str r3, [r0]
	subs r0, #28
	subs r2, #32
	mov r1, r9
	cmp r1, r10
	beq 2f
	b 1b
2:	pop {r4-r6}
	mov r8, r4
	mov r9, r5
	mov r10, r6
	pop {r4-r7, pc}
	.size field_rows, . - field_rows

/* uint32_t field_sum(uint32_t *out, const uint32_t *a, const uint32_t *b): out = a + b; the carry. */
	.section .text.field_sum, "ax", %progbits
	.global field_sum
	.thumb_func
	.type field_sum, %function
field_sum:
	push {r4, lr}
	movs r3, #0
	adds r3, r3, #0  /* clears the carry flag */
	.rept 8
	ldmia r1!, {r3}
	ldmia r2!, {r4}
	adcs r3, r4
	stmia r0!, {r3}
	.endr
	movs r0, #0
	adcs r0, r0
	pop {r4, pc}
	.size field_sum, . - field_sum

/* uint32_t field_rest(uint32_t *out, const uint32_t *a, const uint32_t *b): out = a - b; the borrow. */
	.section .text.field_rest, "ax", %progbits
	.global field_rest
	.thumb_func
	.type field_rest, %function
field_rest:
	push {r4, lr}
	movs r3, #0
	subs r3, r3, #0  /* sets the carry flag: nothing borrowed */
	.rept 8
	ldmia r1!, {r3}
	ldmia r2!, {r4}
	sbcs r3, r4
	stmia r0!, {r3}
	.endr
	sbcs r0, r0      /* 0, or -1 where something is */
	rsbs r0, r0, #0
	pop {r4, pc}
	.size field_rest, . - field_rest
