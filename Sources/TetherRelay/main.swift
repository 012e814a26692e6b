// tether-relay DEVICE: serves PID 1's control interface on a serial line (docs/control.md). PID 1 starts it, with the control
// socket as descriptor 3; what it has to say goes to standard error.
// In a function of its own: closures in top-level code are bound to the main actor.
runRelay()
