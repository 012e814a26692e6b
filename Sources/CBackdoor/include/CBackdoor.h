#ifndef CBACKDOOR_H
#define CBACKDOOR_H
int cbackdoor_placeholder(void);
#endif
