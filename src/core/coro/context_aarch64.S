/* context_aarch64.S: changing stacks on aarch64, AAPCS64.
 *
 *  I1. A suspended context is its stack pointer; there lie the registers that a
 *      callee must preserve, in the order of SAVED.
 *  I2. FPCR (rounding and the like) belongs to them. It is compared and written
 *      only if it differs: writing it stalls the pipeline.
 *  I3. No unwinder gets past yula__context_entry: it has no return address.
 *
 *   SAVED   0 x19 ... 80 x29, 88 x30, 96 d8 ... 152 d15, 160 FPCR, 168 unused
 *           (ORDER yula__context_frame)
 */
        .text

/* void *yula__context_jump(void **save, void *to, void *value): see
 * context_x86_64.S. */
        .globl  yula__context_jump
        .hidden yula__context_jump
        .type   yula__context_jump, %function
        .p2align 4
yula__context_jump:
        .globl  yula__context_leap      /* the same here: a branch that is not */
        .hidden yula__context_leap      /* a return would need a landing pad */
        .type   yula__context_leap, %function
yula__context_leap:
        .cfi_startproc
        hint    #34             /* bti c */
        stp     x19, x20, [sp, #-176]!
        .cfi_def_cfa_offset 176
        .cfi_rel_offset x19, 0
        .cfi_rel_offset x20, 8
        stp     x21, x22, [sp, #16]
        .cfi_rel_offset x21, 16
        .cfi_rel_offset x22, 24
        stp     x23, x24, [sp, #32]
        .cfi_rel_offset x23, 32
        .cfi_rel_offset x24, 40
        stp     x25, x26, [sp, #48]
        .cfi_rel_offset x25, 48
        .cfi_rel_offset x26, 56
        stp     x27, x28, [sp, #64]
        .cfi_rel_offset x27, 64
        .cfi_rel_offset x28, 72
        stp     x29, x30, [sp, #80]
        .cfi_rel_offset x29, 80
        .cfi_rel_offset x30, 88
        stp     d8, d9, [sp, #96]
        .cfi_rel_offset d8, 96
        .cfi_rel_offset d9, 104
        stp     d10, d11, [sp, #112]
        .cfi_rel_offset d10, 112
        .cfi_rel_offset d11, 120
        stp     d12, d13, [sp, #128]
        .cfi_rel_offset d12, 128
        .cfi_rel_offset d13, 136
        stp     d14, d15, [sp, #144]
        .cfi_rel_offset d14, 144
        .cfi_rel_offset d15, 152
        mrs     x9, fpcr
        str     x9, [sp, #160]
        mov     x10, sp
        str     x10, [x0]
        /* The frame on the other stack has the same shape: the unwind rules
         * above hold on both sides of this instruction. */
        mov     sp, x1
        mov     x0, x2
        ldr     x10, [sp, #160]
        cmp     x9, x10
        b.eq    1f
        msr     fpcr, x10
1:      ldp     d14, d15, [sp, #144]
        ldp     d12, d13, [sp, #128]
        ldp     d10, d11, [sp, #112]
        ldp     d8, d9, [sp, #96]
        ldp     x29, x30, [sp, #80]
        ldp     x27, x28, [sp, #64]
        ldp     x25, x26, [sp, #48]
        ldp     x23, x24, [sp, #32]
        ldp     x21, x22, [sp, #16]
        ldp     x19, x20, [sp], #176
        .cfi_def_cfa_offset 0
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
        ret
        .cfi_endproc
        .size   yula__context_jump, . - yula__context_jump

/* uint64_t yula__context_words(void): FPCR; see context_x86_64.S. */
        .globl  yula__context_words
        .hidden yula__context_words
        .type   yula__context_words, %function
        .p2align 4
yula__context_words:
        .cfi_startproc
        hint    #34             /* bti c */
        mrs     x0, fpcr
        ret
        .cfi_endproc
        .size   yula__context_words, . - yula__context_words

/* void *yula__context_make(void *high, void (*entry)(void *value, void *arg),
 *                          void *arg, uint64_t words): see context_x86_64.S. */
        .globl  yula__context_make
        .hidden yula__context_make
        .type   yula__context_make, %function
        .p2align 4
yula__context_make:
        .cfi_startproc
        hint    #34             /* bti c */
        and     x0, x0, #-16
        sub     x0, x0, #176
        stp     x1, x2, [x0]            /* x19, x20 */
        adr     x9, yula__context_entry
        stp     xzr, x9, [x0, #80]      /* x29: the end of the frames */
        str     x3, [x0, #160]
        ret
        .cfi_endproc
        .size   yula__context_make, . - yula__context_make

        .type   yula__context_entry, %function
        .p2align 4
yula__context_entry:
        .cfi_startproc
        .cfi_undefined x30
        hint    #36             /* bti j */
        mov     x1, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   yula__context_entry, . - yula__context_entry

        .section .note.GNU-stack, "", %progbits

/* Fit for branch target identification, and for signed return addresses: what
 * our caller signed is loaded and used at the same stack pointer. */
        .section .note.gnu.property, "a", %note
        .p2align 3
        .long   4               /* namesz */
        .long   16              /* descsz */
        .long   5               /* NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000000      /* GNU_PROPERTY_AARCH64_FEATURE_1_AND */
        .long   4
        .long   3               /* BTI | PAC */
        .long   0
