import FoundationEssentials
import Linux

/// QEMU's machine protocol (QMP, docs/interop/qmp-spec in QEMU): JSON objects, one a line.
///
/// Commands are sent and not waited for: QEMU answers in order, and what matters shows in events and in the VM's end.
struct MonitorProtocol {
    enum Message: Equatable {
        /// QEMU is there and waits for `qmp_capabilities`.
        case greeting
        case event(String)
        case success
        case failure(String)
    }

    private var lines = LineBuffer(limit: 1 << 20)

    /// One command as it goes over the line.
    static func command(_ name: String) -> [UInt8] { Array("{\"execute\":\"\(name)\"}\r\n".utf8) }

    /// Takes in bytes and returns the messages they complete. What is no QMP message is ignored.
    mutating func decode(_ bytes: some Sequence<UInt8>) -> [Message] {
        lines.append(bytes).compactMap { line in
            guard let reply = try? JSONDecoder().decode(Reply.self, from: Data(line)) else { return nil }
            if reply.QMP != nil { return .greeting }
            if let event = reply.event { return .event(event) }
            if let error = reply.error { return .failure(error.desc) }
            return reply.return != nil ? .success : nil
        }
    }

    /// What QEMU sends, as far as it is of use here.
    private struct Reply: Decodable {
        struct Anything: Decodable { init(from decoder: any Decoder) {} }
        struct Failure: Decodable { let desc: String }
        let QMP: Anything?
        let event: String?
        let error: Failure?
        let `return`: Anything?
    }
}

/// Cuts a byte stream into lines, without their ends. Of a line beyond `limit` bytes the rest is dropped.
struct LineBuffer {
    private let limit: Int
    /// The line whose end has not come.
    private(set) var partial: [UInt8] = []

    init(limit: Int) { self.limit = limit }

    mutating func append(_ bytes: some Sequence<UInt8>) -> [[UInt8]] {
        var lines: [[UInt8]] = []
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                if partial.last == UInt8(ascii: "\r") { partial.removeLast() }
                lines.append(partial)
                partial = []
            } else if partial.count < limit {
                partial.append(byte)
            }
        }
        return lines
    }
}
