int cbackdoor_placeholder(void) { return 0; }
