// tether-lease EVENT: what udhcpc runs when something has happened. It hands the event and what stands in its environment to PID 1,
// in one message over the socket that it has inherited, and leaves everything else to it (docs/architecture.md).
// In a function of its own: closures in top-level code are bound to the main actor.
handOn()
