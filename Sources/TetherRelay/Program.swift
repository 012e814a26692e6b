import CLinux
import Linux

/// Where PID 1 puts the control socket.
private let controlSocket: Int32 = 3
/// A user and group that no image and no distribution uses: no process of another kind runs as it.
private let relayIdentity: UInt32 = 2_147_480_000

/// The whole program. Exit status 0: the conversation came to its end; 1: it failed; 2: it was called wrongly.
func runRelay() -> Never {
    guard let argument = clinux_argument(1), clinux_argument(2) == nil else {
        leave(2, "usage: tether-relay DEVICE, with the control socket as descriptor 3")
    }
    let path = String(cString: argument)
    let end: RelayEnd
    do throws(SyscallError) {
        try attempt("use", "the control socket, descriptor 3") { clinux_fcntl_int(controlSocket, F_GETFD, 0) }
        let socket = FileDescriptor(owning: controlSocket)
        // Whatever else came along from PID 1 is none of the relay's business.
        try attempt("close_range") { close_range(UInt32(controlSocket + 1), .max, 0) }
        try socket.setNonBlocking()
        let line = try SerialPort(path)
        try dropRights()
        var relay = Relay(line: line, socket: socket)
        end = relay.run()
    } catch { leave(1, error.description) }
    switch end {
    case .finished(let reason): leave(0, reason)
    case .failed(let reason): leave(1, reason)
    }
}

/// Leaves nothing but the two descriptors: another user without capabilities, no new descriptor, no child, no program
/// that would have more rights.
private func dropRights() throws(SyscallError) {
    // As an ordinary user (in tests) there is nothing to give up but what follows.
    if geteuid() == 0 {
        try attempt("setgroups") { clinux_clear_groups() }
        try attempt("setresgid") { setresgid(relayIdentity, relayIdentity, relayIdentity) }
        try attempt("setresuid") { setresuid(relayIdentity, relayIdentity, relayIdentity) }
    }
    try attempt("prctl PR_SET_NO_NEW_PRIVS") { clinux_set_no_new_privileges() }
    try attempt("prctl PR_SET_DUMPABLE") { clinux_set_not_dumpable() }
    // poll(2) refuses more entries than RLIMIT_NOFILE: the relay has two.
    try limit("RLIMIT_NOFILE", RLIMIT_NOFILE, to: 2)
    try limit("RLIMIT_NPROC", __RLIMIT_NPROC, to: 0)
}

private func limit(_ name: String, _ resource: __rlimit_resource, to value: rlim_t) throws(SyscallError) {
    var both = rlimit(rlim_cur: value, rlim_max: value)
    try attempt("setrlimit", name) { setrlimit(resource, &both) }
}

/// Says why on standard error, as far as that takes it, and ends.
private func leave(_ status: Int32, _ reason: String) -> Never {
    var text = Array(("tether-relay: " + reason + "\n").utf8)
    _ = text.withUnsafeMutableBytes { write(2, $0.baseAddress, $0.count) }
    exit(status)
}
