/* Leads to count_target.dll: by a forwarder (see the .def), and by a stub that jumps there. */
asm(".globl stub\n"
    "stub:\n"
    "  jmp *__imp_by_name(%rip)\n");
