/* context_x86_64.S: changing stacks on x86-64, System V ABI.
 *
 *  I1. A suspended context is its stack pointer; below what its caller uses lie
 *      the registers that a callee must preserve, in the order of SAVED.
 *  I2. The control words (rounding, masks of exceptions) belong to them; the
 *      sticky flags in MXCSR do not. They are compared and loaded only if they
 *      differ: a load costs more than all the rest.
 *  I3. No unwinder gets past yula__context_entry: it has no return address.
 * No shadow stack here: where one is on, context.h takes context_portable.c.
 *
 *   SAVED   0 MXCSR, 4 x87 control word, 8 r15, 16 r14, 24 r13, 32 r12,
 *           40 rbx, 48 rbp, 56 return address     (ORDER yula__context_frame)
 */
        .text

/* void *yula__context_jump(void **save, void *to, void *value)
 * Store the current context in *save, continue the one in to, where the call
 * that suspended it returns value. */
        .globl  yula__context_jump
        .hidden yula__context_jump
        .type   yula__context_jump, @function
        .p2align 4
yula__context_jump:
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        leaq    -8(%rsp), %rsp
        .cfi_adjust_cfa_offset 8
        stmxcsr (%rsp)
        fnstcw  4(%rsp)
        movl    (%rsp), %ecx
        movzwl  4(%rsp), %r8d
        movq    %rsp, (%rdi)
        /* The frame on the other stack has the same shape: the unwind rules
         * above hold on both sides of this instruction. */
        movq    %rsi, %rsp
        movq    %rdx, %rax
        xorl    (%rsp), %ecx
        xorw    4(%rsp), %r8w
        andl    $0xffc0, %ecx
        orl     %r8d, %ecx
        jne     2f
1:      movq    8(%rsp), %r15
        movq    16(%rsp), %r14
        movq    24(%rsp), %r13
        movq    32(%rsp), %r12
        movq    40(%rsp), %rbx
        movq    48(%rsp), %rbp
        leaq    56(%rsp), %rsp
        .cfi_def_cfa %rsp, 8
        .cfi_same_value %rbp
        .cfi_same_value %rbx
        .cfi_same_value %r12
        .cfi_same_value %r13
        .cfi_same_value %r14
        .cfi_same_value %r15
        ret
        .cfi_def_cfa_offset 64
        .cfi_rel_offset %rbp, 48
        .cfi_rel_offset %rbx, 40
        .cfi_rel_offset %r12, 32
        .cfi_rel_offset %r13, 24
        .cfi_rel_offset %r14, 16
        .cfi_rel_offset %r15, 8
2:      ldmxcsr (%rsp)
        fldcw   4(%rsp)
        jmp     1b
        .cfi_endproc
        .size   yula__context_jump, . - yula__context_jump

/* void *yula__context_make(void *high, void (*entry)(void *value, void *arg),
 *                          void *arg)
 * A context that calls entry with the value of its first jump; entry must not
 * return. It begins with the control words of the caller. Returns the context;
 * high is the end of its stack. */
        .globl  yula__context_make
        .hidden yula__context_make
        .type   yula__context_make, @function
        .p2align 4
yula__context_make:
        .cfi_startproc
        endbr64
        andq    $-16, %rdi
        leaq    -64(%rdi), %rax
        movl    $0, 4(%rax)
        stmxcsr (%rax)
        fnstcw  4(%rax)
        movq    %rsi, 32(%rax)  /* r12 */
        movq    %rdx, 40(%rax)  /* rbx */
        movq    $0, 48(%rax)    /* rbp: the end of a chain of frame pointers */
        leaq    yula__context_entry(%rip), %rcx
        movq    %rcx, 56(%rax)
        ret
        .cfi_endproc
        .size   yula__context_make, . - yula__context_make

        .type   yula__context_entry, @function
        .p2align 4
yula__context_entry:
        .cfi_startproc
        .cfi_undefined %rip
        movq    %rax, %rdi
        movq    %rbx, %rsi
        callq   *%r12
        ud2
        .cfi_endproc
        .size   yula__context_entry, . - yula__context_entry

/* int yula__context_shadowed(void)
 * Whether this thread has a shadow stack (CET). Where there is none, or the
 * processor does not know them, the instruction does nothing. */
        .globl  yula__context_shadowed
        .hidden yula__context_shadowed
        .type   yula__context_shadowed, @function
        .p2align 4
yula__context_shadowed:
        .cfi_startproc
        endbr64
        xorl    %edx, %edx
        rdsspq  %rdx
        xorl    %eax, %eax
        testq   %rdx, %rdx
        setne   %al
        ret
        .cfi_endproc
        .size   yula__context_shadowed, . - yula__context_shadowed

        .section .note.GNU-stack, "", @progbits

/* This file is fit for both halves of CET (gABI, x86-64 psABI 2.1.3). */
        .section .note.gnu.property, "a", @note
        .p2align 3
        .long   4               /* namesz */
        .long   16              /* descsz */
        .long   5               /* NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002      /* GNU_PROPERTY_X86_FEATURE_1_AND */
        .long   4
        .long   3               /* IBT | SHSTK */
        .long   0
