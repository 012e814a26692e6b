import Linux
import SessionLog
import VSPC

/// A VM's serial line, whichever connection carries it.
final class Line {
    /// A move to another host that is under way.
    struct Move {
        let sequence: [UInt8]
        /// With which the new connection shows that it is this VM's.
        let identity: [UInt8]
        /// The new connection, once it is there.
        var peer: MachineConnection?
        /// When the move counts as failed.
        let deadline: Int64
    }

    var connection: MachineConnection
    var uuid = ""
    var name = ""
    var uri = ""
    /// Milliseconds since 1970.
    let since = Clock.realtime() / 1_000_000
    var move: Move?
    /// Who has the line now.
    private(set) var borrower: ClientConnection?
    private(set) var received: UInt64 = 0
    private(set) var sent: UInt64 = 0
    /// Bytes that came while nobody had the line. They are of no use later: whoever comes next begins a new connection.
    private(set) var dropped: UInt64 = 0

    init(_ connection: MachineConnection) {
        self.connection = connection
        connection.line = self
    }

    /// Whether `text` means this line.
    func matches(_ text: String) -> Bool {
        if text.isEmpty { return false }
        if text == name || text == uri || text == connection.address { return true }
        return !uuid.isEmpty && Line.digits(text) == Line.digits(uuid)
    }

    /// UUIDs are written in many ways.
    private static func digits(_ uuid: String) -> [UInt8] {
        uuid.utf8.filter { $0 != UInt8(ascii: "-") && $0 != UInt8(ascii: " ") }.map { $0 | 0x20 }
    }

    /// How long a connection may take to say who it is, in milliseconds, where there is no room for others.
    private static let introduction: Int64 = 30_000

    /// Whether it could have said who it is, and has not.
    func isStranger(now: Int64) -> Bool {
        uuid.isEmpty && name.isEmpty && uri.isEmpty && borrower == nil && now / 1_000_000 - since >= Self.introduction
    }

    /// What it is called in messages.
    var title: String { name.isEmpty ? (uuid.isEmpty ? connection.address : uuid) : name }

    func lend(to client: ClientConnection) {
        borrower = client
        connection.update()
    }

    func free() {
        borrower = nil
        updateConnections()
    }

    /// There may be room for what the VM says, by the connection that it has and the one that it moves to.
    func updateConnections() {
        connection.update()
        move?.peer?.update()
    }

    /// From the VM.
    func deliver(_ bytes: [UInt8]) {
        received &+= UInt64(bytes.count)
        if let borrower { borrower.send(bytes) } else { dropped &+= UInt64(bytes.count) }
    }

    /// Whether bytes for the VM may be taken from the borrower. During a move they stay where they are.
    var hasRoom: Bool { move == nil && connection.stream.pending < MachineConnection.limit }

    /// To the VM.
    func send(_ bytes: [UInt8]) {
        sent &+= UInt64(bytes.count)
        connection.say { $0.send(bytes[...]) }
    }

    /// One line of the list.
    var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginObject()
        writer.member("name", name)
        writer.member("uuid", uuid)
        writer.member("uri", uri)
        writer.member("address", connection.address)
        writer.member("since", since)
        writer.member("lent", borrower != nil)
        writer.member("moving", move != nil)
        for (key, value) in [("received", received), ("sent", sent), ("dropped", dropped)] {
            writer.key(key)
            writer.integer(value)
        }
        writer.endObject()
        return writer.bytes + [UInt8(ascii: "\n")]
    }
}
