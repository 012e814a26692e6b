import CLinux
import Glibc
import LineHandshake
import Linux

extension LineConnection {
    /// Has the guest begin a connection (docs/attach.md, "Handshake"), and waits until it has.
    ///
    /// - Parameters:
    ///   - milliseconds: how long to try; nil: for ever.
    ///   - isOver: asked after every event and ten times a second; ends the wait.
    /// - Returns: what the guest sent behind the handshake; nil when `isOver` said so.
    public func synchronise(
        milliseconds: Int64?, watching other: Int32 = -1, isOver: () -> Bool = { false }
    ) throws(EndpointError) -> [UInt8]? {
        let deadline = milliseconds.map { Deadline.after(milliseconds: $0) }
        var handshake = HandshakeInitiator(seed: UInt64.random(in: .min ... .max), now: Clock.monotonic())
        var asked: UInt64 = 0
        while true {
            handshake.tick(now: Clock.monotonic())
            // Questions must not pile up before a guest that does not read. What telnet has to say beside them does not count.
            let output = handshake.takeOutput()
            if !output.isEmpty, hasSent(asked) {
                send(output[...])
                asked = queuedEnd
            }
            try system { () throws(SyscallError) in try flush() }
            if isOver() { return nil }
            if let deadline, deadline.hasPassed {
                let cause = "nobody answered in time: the guest is not ready, or another client has the line"
                throw EndpointError("begin a connection over", name, cause)
            }
            let next = min(handshake.nextDeadline ?? .max, deadline?.nanoseconds ?? .max, Clock.monotonic() &+ 100_000_000)
            try wait(until: Deadline(nanoseconds: next), watching: other)
            switch try system({ () throws(SyscallError) in try read() }) {
            case .nothing: break
            case .closed: throw EndpointError("begin a connection over", name, "the other end closed it")
            case .bytes(let bytes):
                let taken = bytes.withUnsafeBytes { handshake.receive($0, now: Clock.monotonic()) }
                if handshake.isSynchronised { return Array(bytes[taken...]) }
            }
        }
    }

    /// Waits until the line has something to read, or takes what waits, or `other` reports an error or a hang-up.
    private func wait(until deadline: Deadline, watching other: Int32) throws(EndpointError) {
        var watched = [
            pollfd(fd: rawValue, events: Int16(POLLIN | (pendingOutput > 0 ? POLLOUT : 0)), revents: 0),
            pollfd(fd: other, events: 0, revents: 0),
        ]
        try system { () throws(SyscallError) in _ = try attempt("poll") { poll(&watched, 2, deadline.pollTimeout) } }
    }
}
