import LineEndpoint
import Linux
import Logging

/// A client on the concentrator's own socket: asks for the list, or for a line.
final class ClientConnection: EventHandler {
    private static let limit = 256 * 1024

    private let stream: Stream
    private let concentrator: Concentrator
    private var request: [UInt8] = []
    private(set) var line: Line?
    /// Everything has been said; what waits is sent, and then it is over.
    private var isEnding = false

    init(_ stream: Stream, _ concentrator: Concentrator) {
        self.stream = stream
        self.concentrator = concentrator
        update()
    }

    /// Whether more can be taken from the VM.
    var hasRoom: Bool { stream.pending < Self.limit }

    /// Whether a little more can be taken where there is no room, to see what is behind it.
    var hasReserve: Bool { stream.pending < concentrator.reserve }

    func update() {
        stream.update(reads: !isEnding && (line?.hasRoom ?? true), self)
    }

    func send(_ bytes: [UInt8]) {
        stream.send(bytes)
        // If it fails the loop will say so.
        _ = stream.flush()
        update()
    }

    func ready(role: Int32, _ event: Epoll.Event) {
        if event.isWritable, !stream.flush() { return end() }
        if line.map({ !$0.hasRoom }) ?? false {
            // What the client has to say waits for the VM; that it is gone does not.
            if event.isClosedOrFailed { return end() }
        } else if event.isReadable || event.isClosedOrFailed {
            guard let bytes = stream.read() else { return end() }
            take(bytes)
        }
        if stream.isClosed { return }
        if isEnding, stream.pending == 0 { return end() }
        update()
        line?.updateConnections()
    }

    private func take(_ bytes: [UInt8]) {
        if let line {
            if !bytes.isEmpty { line.send(bytes) }
            return
        }
        if isEnding { return }
        request += bytes
        guard let end = request.firstIndex(of: UInt8(ascii: "\n")) else {
            if request.count > ConcentratorProtocol.maximumLine { refuse("the request is too long") }
            return
        }
        let question = String(decoding: request[..<end], as: UTF8.self)
        let rest = Array(request[(end + 1)...])
        request = []
        if question == ConcentratorProtocol.list {
            for line in concentrator.lines { stream.send(line.json) }
            isEnding = true
        } else if question.hasPrefix(ConcentratorProtocol.lend) {
            borrow(String(question.dropFirst(ConcentratorProtocol.lend.count)), rest)
        } else {
            refuse("the request is neither list nor lend")
        }
    }

    private func borrow(_ machine: String, _ rest: [UInt8]) {
        let lines = concentrator.lines.filter { $0.matches(machine) }
        guard let line = lines.first else { return refuse("no VM of this name, UUID, URI or address is connected") }
        if lines.count > 1 {
            let addresses = lines.prefix(8).map { $0.connection.address }.joined(separator: ", ")
            return refuse("\(lines.count) lines have this name; take one by its address: \(addresses)")
        }
        // While the VM does not read, its client is not watched: whether it is still there is asked for now.
        if let other = line.borrower, other.stream.isPeerGone { other.end() }
        if line.borrower != nil { return refuse("another client has the line") }
        self.line = line
        stream.send(Array((ConcentratorProtocol.granted + "\n").utf8))
        line.lend(to: self)
        concentrator.log.info("\(line.title): lent")
        if !rest.isEmpty { line.send(rest) }
    }

    /// Says why nothing is to be had here, and ends.
    func refuse(_ why: String) {
        stream.send(Array((ConcentratorProtocol.refused + why + "\n").utf8))
        isEnding = true
        update()
    }

    /// The line is gone. What came from it is still delivered.
    func lose() {
        line = nil
        isEnding = true
        if stream.pending == 0 { end() } else { update() }
    }

    private func end() {
        if let line {
            concentrator.log.info("\(line.title): given back")
            line.free()
        }
        line = nil
        stream.close()
        concentrator.forget(self)
    }
}
