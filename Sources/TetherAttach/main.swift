// tether-attach DEVICE: serves SSH on a serial line and joins its channels to PID 1's sessions (docs/attach.md). PID 1 starts it,
// with the control socket as descriptor 3 and the settings as 4; what it has to say goes to standard error.
// In a function of its own: closures in top-level code are bound to the main actor.
runAttachServer()
