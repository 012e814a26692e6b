import Attach
import CLinux
import Control
import Linux
import SSH

/// Where PID 1 puts the control socket, and the settings.
private let controlSocket: Int32 = 3
private let settingsFile: Int32 = 4
/// A user and group that no image and no distribution uses, and no other helper: no process of another kind runs as it.
private let serverIdentity: UInt32 = 2_147_480_001

/// The whole program. Exit status 0: PID 1 closed the control interface; 1: it failed; 2: it was called wrongly.
func runAttachServer() -> Never {
    guard let argument = clinux_argument(1), clinux_argument(2) == nil else {
        leave(2, "usage: tether-attach DEVICE, with the control socket as descriptor 3 and the settings as 4")
    }
    let path = String(cString: argument)
    let cause: String
    do throws(SyscallError) {
        try attempt("use", "the control socket, descriptor 3") { clinux_fcntl_int(controlSocket, F_GETFD, 0) }
        let socket = FileDescriptor(owning: controlSocket)
        // Read before anything that a client could have a say in, and closed for good.
        let settings = try readSettings()
        try attempt("close_range") { close_range(UInt32(settingsFile), .max, 0) }
        try socket.setNonBlocking()
        let line = try SerialPort(path)
        let configuration = makeConfiguration(settings)
        try lockIn()
        let loop = AttachLoop(line: line, socket: socket, configuration: configuration, boot: settings.boot)
        cause = try loop.run()
    } catch { leave(1, error.description) }
    leave(0, cause)
}

private func readSettings() throws(SyscallError) -> AttachServerSettings {
    let file = FileDescriptor(owning: settingsFile)
    var bytes: [UInt8] = []
    while bytes.count <= AttachServerSettings.maximumSize {
        guard let more = try file.read(atMost: 65_536, object: "the settings, descriptor 4"), !more.isEmpty else { break }
        bytes += more
    }
    guard let settings = AttachServerSettings(bytes) else { leave(1, "read the settings, descriptor 4: they are not what PID 1 writes") }
    return settings
}

/// Makes keys of texts. A key that is none is left out, and said to be; without a host key of its own the server makes one.
private func makeConfiguration(_ settings: AttachServerSettings) -> LineServer.Configuration {
    var hostKeys: [PrivateKey] = []
    for (index, text) in settings.hostKeys.enumerated() {
        do throws(SSHError) { hostKeys.append(try PrivateKey(text: text)) } catch { tell("attach.hostKeys[\(index)]: \(error)") }
    }
    // The seed is there where no key is configured, and for VIC's VCH, which looks at no host key: a configured key that cannot be used
    // is not replaced by one that nobody expects.
    if settings.seed.count == 64 {
        do throws(SSHError) {
            hostKeys.append(try PrivateKey(ed25519Seed: Array(settings.seed[..<32])))
            hostKeys.append(try PrivateKey(ecdsaP256Scalar: Array(settings.seed[32...])))
        } catch {
            tell("make a host key: \(error)")
        }
    }
    var rules = AuthenticationRules()
    rules.allowsNone = settings.allowsNone
    rules.openUser = settings.allowsVIC ? "daemon" : nil
    for (index, line) in settings.authorizedKeys.enumerated() {
        do throws(SSHError) { rules.authorizedKeys.append(try AuthorizedKey(line: line)) } catch {
            tell("attach.authorizedKeys[\(index)]: \(error)")
        }
    }
    if hostKeys.isEmpty { leave(1, "no host key can be used") }
    if rules.authorizedKeys.isEmpty && !rules.allowsNone && rules.openUser == nil {
        tell("nobody can log in: no authorized key can be used")
    }
    var configuration = LineServer.Configuration(hostKeys: hostKeys, rules: rules, compresses: settings.compresses)
    configuration.log = tell
    return configuration
}

/// Leaves nothing but the two descriptors and what moves bytes between them: another user without capabilities, no new descriptor,
/// no child, no program, no other system call (docs/security.md).
private func lockIn() throws(SyscallError) {
    // As an ordinary user (in tests) there is nothing to give up but what follows.
    if geteuid() == 0 {
        try attempt("setgroups") { clinux_clear_groups() }
        try attempt("setresgid") { setresgid(serverIdentity, serverIdentity, serverIdentity) }
        try attempt("setresuid") { setresuid(serverIdentity, serverIdentity, serverIdentity) }
    }
    try attempt("prctl PR_SET_NO_NEW_PRIVS") { clinux_set_no_new_privileges() }
    try attempt("prctl PR_SET_DUMPABLE") { clinux_set_not_dumpable() }
    // poll(2) refuses more entries than RLIMIT_NOFILE: there are two.
    try limit("RLIMIT_NOFILE", RLIMIT_NOFILE, to: 2)
    try limit("RLIMIT_NPROC", __RLIMIT_NPROC, to: 0)
    try limit("RLIMIT_DATA", RLIMIT_DATA, to: 64 << 20)
    try attempt("prctl PR_SET_SECCOMP") { clinux_allow_only_io() }
}

private func limit(_ name: String, _ resource: __rlimit_resource, to value: rlim_t) throws(SyscallError) {
    var both = rlimit(rlim_cur: value, rlim_max: value)
    try attempt("setrlimit", name) { setrlimit(resource, &both) }
}

/// A line for the diagnostics, as far as they take it.
private func tell(_ text: String) {
    var line = Array(text.utf8.map { $0 == UInt8(ascii: "\n") ? UInt8(ascii: " ") : $0 }.prefix(500))
    line.append(UInt8(ascii: "\n"))
    _ = line.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
}

/// Says why, and ends.
private func leave(_ status: Int32, _ reason: String) -> Never {
    tell(reason)
    exit(status)
}
