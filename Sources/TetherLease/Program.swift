import CLinux
import Network

/// The whole program. Exit status 0: PID 1 has the message; 1: it has not; 2: it was called wrongly.
func handOn() -> Never {
    guard let event = clinux_argument(1), clinux_argument(2) == nil else {
        leave(2, "usage: tether-lease EVENT, as the script of udhcpc")
    }
    var environment: [String] = []
    while let entry = clinux_environment(Int32(clamping: environment.count)) { environment.append(String(cString: entry)) }
    guard let message = LeaseMessage.encode(String(cString: event), environment) else {
        leave(1, "the lease has more than \(LeaseMessage.limit) bytes")
    }
    let socket = Int32(CLINUX_DHCP_SOCKET)
    // The socket has room for many messages; where PID 1 takes none, the client shall not wait for it.
    let sent = message.withUnsafeBytes { send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT)) }
    if sent != message.count { leave(1, "send to PID 1: " + String(cString: strerror(clinux_errno()))) }
    exit(0)
}

private func leave(_ status: Int32, _ reason: String) -> Never {
    var text = Array(("tether-lease: " + reason + "\n").utf8)
    _ = text.withUnsafeMutableBytes { write(2, $0.baseAddress, $0.count) }
    exit(status)
}
