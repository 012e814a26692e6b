int cptrace_placeholder(void) { return 0; }
