/* See CBackdoor.h.  System V AMD64 ABI: RBX and RBP belong to the caller, RDI holds the pointer on entry. */

        .text

        .macro  BACKDOOR name, instruction:vararg
        .globl  \name
        .type   \name, @function
        .p2align 4
\name:
        .cfi_startproc
        push    %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        push    %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        push    %rdi
        .cfi_adjust_cfa_offset 8
        mov     0(%rdi), %rax
        mov     8(%rdi), %rbx
        mov     16(%rdi), %rcx
        mov     24(%rdi), %rdx
        mov     32(%rdi), %rsi
        mov     48(%rdi), %rbp
        mov     40(%rdi), %rdi          /* last: it held the pointer */
        cld
        \instruction
        xchg    %rdi, (%rsp)            /* the pointer again; the result waits in its slot */
        mov     %rax, 0(%rdi)
        mov     %rbx, 8(%rdi)
        mov     %rcx, 16(%rdi)
        mov     %rdx, 24(%rdi)
        mov     %rsi, 32(%rdi)
        mov     %rbp, 48(%rdi)
        pop     %rax
        .cfi_adjust_cfa_offset -8
        mov     %rax, 40(%rdi)
        pop     %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        pop     %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        ret
        .cfi_endproc
        .size   \name, . - \name
        .endm

        BACKDOOR cbackdoor_in, in %dx, %eax
        BACKDOOR cbackdoor_rep_outsb, rep outsb
        BACKDOOR cbackdoor_rep_insb, rep insb

        .globl  cbackdoor_cpuid
        .type   cbackdoor_cpuid, @function
        .p2align 4
cbackdoor_cpuid:
        .cfi_startproc
        push    %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        mov     %rsi, %r8               /* cpuid writes RBX, RCX and RDX */
        mov     %edi, %eax
        xor     %ecx, %ecx
        cpuid
        mov     %eax, 0(%r8)
        mov     %ebx, 4(%r8)
        mov     %ecx, 8(%r8)
        mov     %edx, 12(%r8)
        pop     %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        ret
        .cfi_endproc
        .size   cbackdoor_cpuid, . - cbackdoor_cpuid

        .section .note.GNU-stack, "", @progbits
