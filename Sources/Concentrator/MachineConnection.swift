import Linux
import VSPC

/// One connection of a VM's host.
final class MachineConnection: EventHandler {
    /// More than this is not queued for a VM, and from one that does not take its answers nothing is read.
    static let limit = 256 * 1024
    /// How often there is a look ahead where the borrower has no room, in nanoseconds: each time one read's worth.
    static let lookInterval: Int64 = 100_000_000

    let stream: Stream
    let address: String
    private(set) var session = ProxySession()
    private let concentrator: Concentrator
    /// The line that this connection carries, or will once the VM has moved here.
    var line: Line?
    /// When there is a look ahead, where nothing is read because the line's borrower has no room. A host that announces a move has to
    /// be answered within seconds, and its announcement comes behind what the VM has said.
    private(set) var nextLook: Int64?

    init(_ stream: Stream, address: String, _ concentrator: Concentrator) {
        self.stream = stream
        self.address = address
        self.concentrator = concentrator
        transmit()
    }

    /// Has the session say something.
    func say(_ body: (inout ProxySession) -> Void) {
        body(&session)
        transmit()
    }

    private func transmit() {
        stream.send(session.takeOutput())
        // If it fails the loop will say so.
        _ = stream.flush()
        update()
    }

    func update() {
        let hasRoom = line?.borrower.map { $0.hasRoom } ?? true
        stream.update(reads: hasRoom && stream.pending < Self.limit, self)
        // Once a move is under way there is nothing to look for: the rest waits with the host.
        let looks = !hasRoom && line?.move == nil && !stream.isClosed
        if !looks {
            nextLook = nil
        } else if nextLook == nil {
            nextLook = Clock.monotonic() &+ Self.lookInterval
            concentrator.looksAhead(self)
        }
    }

    /// Reads a little although the borrower has no room, as far as its reserve goes.
    func lookAhead(_ now: Int64) {
        guard let due = nextLook, now >= due else { return }
        nextLook = now &+ Self.lookInterval
        guard line?.borrower?.hasReserve == true, stream.pending < Self.limit else { return }
        if !receive() { return concentrator.lost(self) }
        transmit()
    }

    func ready(role: Int32, _ event: Epoll.Event) {
        if event.isWritable, !stream.flush() { return concentrator.lost(self) }
        if event.isReadable || event.isClosedOrFailed, !receive() { return concentrator.lost(self) }
        transmit()
        line?.borrower?.update()
    }

    /// Reads once.
    /// - Returns: false when the connection is over.
    private func receive() -> Bool {
        guard let bytes = stream.read() else { return false }
        for event in session.receive(bytes[...]) {
            concentrator.take(event, self)
            if stream.isClosed { return true }
        }
        return true
    }

    /// Reads what is still there: the VM's last words on this connection.
    func drain() {
        // As much as a socket's buffers can hold, and no more than a VM can be let go on.
        for _ in 0..<512 {
            guard let bytes = stream.read(), !bytes.isEmpty else { return }
            for case .data(let data) in session.receive(bytes[...]) { line?.deliver(data) }
        }
    }
}
