/* context_x86_64.S: changing stacks on x86-64, System V ABI.
 *
 *  I1. A suspended context is its stack pointer; below what its caller uses lie
 *      the registers that a callee must preserve, in the order of SAVED.
 *  I2. The control words (rounding, masks of exceptions) belong to them. They
 *      are loaded only if they differ: that costs more than all the rest.
 *  I3. No unwinder gets past yula__context_entry: it has no return address.
 * No shadow stack here: where one is on, context.h takes context_portable.c.
 *
 *   SAVED   0 MXCSR, 4 x87 control word, 8 r15, 16 r14, 24 r13, 32 r12,
 *           40 rbx, 48 rbp, 56 return address     (ORDER yula__context_frame)
 */
        .text

/* ecx and r8 hold the words of the context that is left. */
        .macro  read_words at
        stmxcsr \at(%rsp)
        fnstcw  \at+4(%rsp)
        movl    \at(%rsp), %ecx
        movzwl  \at+4(%rsp), %r8d
        .endm

        .macro  save
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
        read_words 0
        movq    %rsp, (%rdi)
        .endm

        /* The frame on the other stack has the same shape as the one saved: the
         * unwind rules from above hold after the first instruction, too. */
        .macro  restore
        movq    %rsi, %rsp
        movq    %rdx, %rax
        cmpl    (%rsp), %ecx
        jne     2f
        cmpw    4(%rsp), %r8w
        je      3f
2:      ldmxcsr (%rsp)
        fldcw   4(%rsp)
3:      leaq    8(%rsp), %rsp
        .cfi_adjust_cfa_offset -8
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_same_value %rbp
        .endm

        .macro  go_by_jump
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        notrack jmp *%rcx
        .endm

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
        save
        restore
        ret
        .cfi_endproc
        .size   yula__context_jump, . - yula__context_jump

/* void *yula__context_leap(void **save, void *to, void *value)
 * The same for the processor's prediction of where it goes: a return is expected
 * to go where the call came from, which is right if all contexts are suspended
 * by the same call. Where two places continue each other in turn it never is. */
        .globl  yula__context_leap
        .hidden yula__context_leap
        .type   yula__context_leap, @function
        .p2align 4
yula__context_leap:
        .cfi_startproc
        endbr64
        save
        restore
        go_by_jump
        .cfi_endproc
        .size   yula__context_leap, . - yula__context_leap

/* Continue the context in rsi with the value in rdx and keep nothing; jumped to,
 * by yula__context_exit. */
        .globl  yula__context_last
        .hidden yula__context_last
        .type   yula__context_last, @function
        .p2align 4
yula__context_last:
        .cfi_startproc
        .cfi_undefined %rip
        read_words -8
        restore
        popq    %rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   yula__context_last, . - yula__context_last

/* uint64_t yula__context_words(void)
 * The control words of the caller, as a context begins with them. */
        .globl  yula__context_words
        .hidden yula__context_words
        .type   yula__context_words, @function
        .p2align 4
yula__context_words:
        .cfi_startproc
        endbr64
        movq    $0, -8(%rsp)
        stmxcsr -8(%rsp)
        fnstcw  -4(%rsp)
        movq    -8(%rsp), %rax
        ret
        .cfi_endproc
        .size   yula__context_words, . - yula__context_words

/* void *yula__context_make(void *high, void (*entry)(void *value, void *arg),
 *                          void *arg, uint64_t words)
 * A context that calls entry with the value of its first switch. Returns the
 * context; high is the end of its stack. */
        .globl  yula__context_make
        .hidden yula__context_make
        .type   yula__context_make, @function
        .p2align 4
yula__context_make:
        .cfi_startproc
        endbr64
        andq    $-16, %rdi
        leaq    -64(%rdi), %rax
        movl    %ecx, (%rax)            /* not in one: they are loaded apart */
        shrq    $32, %rcx
        movl    %ecx, 4(%rax)
        movq    %rsi, 32(%rax)          /* r12 */
        movq    %rdx, 40(%rax)          /* rbx */
        movq    $0, 48(%rax)            /* rbp: the end of the frames */
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
        /* Not a call: entry does not return, and a return address that the
         * processor keeps for it would be one too many for all that follow. */
        leaq    1f(%rip), %rcx
        pushq   %rcx
        notrack jmp *%r12
        nop                     /* an unwinder looks up the byte before */
1:      ud2
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
