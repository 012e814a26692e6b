import CLinux
import GuestInfo
import Linux

private let usage = """
    usage: guestinfo [--held] get KEY...          print values
           guestinfo [--held] decode KEY...       print values, unpacked as KEY.encoding says
           guestinfo [--held] set KEY VALUE|-     set a value; - takes it from standard input
           guestinfo platform                     say whether this is a VMware machine
           guestinfo probe                        ask the backdoor for its version, in a child process
    Exit status: 0 done, 1 refused or absent, 2 usage, 3 no VMware backdoor.

    """

/// Runs the command line's command.
/// - Returns: the exit status.
func runGuestInfoTool() -> Int32 {
    // Embedded Swift has no CommandLine, and the full runtime's reads the same file.
    guard var arguments = commandLine()?.dropFirst() else { return complain("guestinfo: cannot read /proc/self/cmdline\n", 1) }
    var use = ChannelUse.perRequest
    if arguments.first == "--held" {
        use = .held
        arguments.removeFirst()
    }
    guard let command = arguments.popFirst() else { return complain(usage, 2) }
    switch command {
    case "platform":
        let verdict = Platform.current().verdict
        print(verdict.description)
        if case .vmware = verdict { return 0 }
        return 3
    case "probe":
        let outcome = Probe.run()
        print(outcome.description)
        return outcome == .answered ? 0 : 3
    case "get" where !arguments.isEmpty, "decode" where !arguments.isEmpty:
        return withClient(use) { (client) throws(GuestInfoError) in
            for key in arguments {
                guard let value = try command == "get" ? client.get(key) : client.getDecoded(key) else {
                    return complain("guestinfo: \(key): no value\n", 1)
                }
                if !write(value, to: 1) { return complain("guestinfo: cannot write standard output\n", 1) }
            }
            return 0
        }
    case "set" where arguments.count == 2:
        let (key, text) = (arguments[arguments.startIndex], arguments[arguments.startIndex + 1])
        guard let value = text == "-" ? readInput() : Array(text.utf8) else {
            return complain("guestinfo: cannot read standard input\n", 1)
        }
        return withClient(use) { (client) throws(GuestInfoError) in
            try client.set(key, value)
            return 0
        }
    default:
        return complain(usage, 2)
    }
}

/// Runs `body` with a client of the real port, if there is one. The port is probed first, so that a machine without it
/// gives a message and not a SIGSEGV.
private func withClient(
    _ use: ChannelUse, _ body: (GuestInfoClient<HardwarePort>) throws(GuestInfoError) -> Int32
) -> Int32 {
    let outcome = Probe.run()
    guard outcome == .answered else { return complain("guestinfo: \(outcome.description)\n", 3) }
    do throws(GuestInfoError) {
        return try body(GuestInfoClient(RPCI(port: HardwarePort(), use: use)))
    } catch {
        return complain("guestinfo: \(error.description)\n", 1)
    }
}

private func complain(_ text: String, _ status: Int32) -> Int32 {
    _ = write(Array(text.utf8), to: 2)
    return status
}

private func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var offset = 0
    while offset < bytes.count {
        let count = bytes.withUnsafeBytes { CLinux.write(descriptor, $0.baseAddress.map { $0 + offset }, $0.count - offset) }
        if count > 0 { offset += count } else if count == 0 || clinux_errno() != EINTR { return false }
    }
    return true
}

/// Standard input, up to a little more than can be set: the client says what the limit is.
private func readInput() -> [UInt8]? {
    var content: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while content.count <= GuestInfoClient<HardwarePort>.maximumValue {
        let count = chunk.withUnsafeMutableBytes { CLinux.read(0, $0.baseAddress, $0.count) }
        if count == 0 { break }
        if count > 0 { content.append(contentsOf: chunk[..<count]) } else if clinux_errno() != EINTR { return nil }
    }
    return content
}

private func commandLine() -> [String]? {
    do throws(SyscallError) {
        let bytes = try Files.read("/proc/self/cmdline", limit: 4 << 20)
        return bytes.dropLast().split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    } catch {
        return nil
    }
}
