#ifndef CPTRACE_H
#define CPTRACE_H
int cptrace_placeholder(void);
#endif
