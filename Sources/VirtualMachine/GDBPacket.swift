/// The packet layer of the gdb remote serial protocol ("Overview" in gdb's manual, appendix E).
enum GDBPacket {
    private static let escape = UInt8(ascii: "}")

    /// `payload` as it goes over the line: `$`, the payload with `#`, `$`, `}` and `*` escaped, `#` and its checksum.
    static func encode(_ payload: some Sequence<UInt8>) -> [UInt8] {
        var packet: [UInt8] = [UInt8(ascii: "$")]
        var sum: UInt8 = 0
        for byte in payload {
            switch byte {
            case UInt8(ascii: "#"), UInt8(ascii: "$"), escape, UInt8(ascii: "*"):
                packet.append(escape)
                packet.append(byte ^ 0x20)
                sum = sum &+ escape &+ (byte ^ 0x20)
            default:
                packet.append(byte)
                sum = sum &+ byte
            }
        }
        packet.append(UInt8(ascii: "#"))
        packet += Hexadecimal.encode(CollectionOfOne(sum))
        return packet
    }
}

/// Finds the packets in what a gdb stub sends. Bytes in, events out; it does no I/O.
struct GDBPacketDecoder {
    enum Event: Equatable {
        /// `+`: the stub took our packet.
        case acknowledgement
        /// `-`: the stub wants our packet again.
        case retransmissionRequest
        /// A packet's payload, with escapes and run lengths resolved.
        case packet([UInt8])
        /// `%…`: news that answers no command.
        case notification([UInt8])
    }

    enum Failure: Error, Equatable, CustomStringConvertible {
        case checksum(expected: UInt8, computed: UInt8)
        case malformed
        case tooLong

        var description: String {
            switch self {
            case .checksum(let expected, let computed):
                "the packet's checksum is \(String(expected, radix: 16)), its content gives \(String(computed, radix: 16))"
            case .malformed: "the packet is malformed"
            case .tooLong: "the packet is longer than \(GDBPacketDecoder.limit) bytes"
            }
        }
    }

    /// The longest payload taken. QEMU's packets have at most 4096 bytes; its description of the registers has more.
    static let limit = 1 << 20

    private enum State {
        case idle
        case body
        case escaped
        case runLength
        case checksumHigh
        case checksumLow(UInt8)
    }

    private var state = State.idle
    private var isNotification = false
    private var payload: [UInt8] = []
    private var sum: UInt8 = 0
    private var pending: [UInt8] = []
    private var position = 0

    /// Adds bytes as they came.
    mutating func append(_ bytes: some Sequence<UInt8>) {
        if position == pending.count {
            pending.removeAll(keepingCapacity: true)
            position = 0
        }
        pending.append(contentsOf: bytes)
    }

    /// The next event that the bytes so far complete, or nil.
    mutating func next() throws(Failure) -> Event? {
        while position < pending.count {
            let byte = pending[position]
            position += 1
            if let event = try take(byte) { return event }
        }
        return nil
    }

    private mutating func take(_ byte: UInt8) throws(Failure) -> Event? {
        switch state {
        case .idle:
            switch byte {
            case UInt8(ascii: "+"): return .acknowledgement
            case UInt8(ascii: "-"): return .retransmissionRequest
            case UInt8(ascii: "$"), UInt8(ascii: "%"):
                isNotification = byte == UInt8(ascii: "%")
                payload = []
                sum = 0
                state = .body
            default: break  // The protocol says: what stands between packets is ignored.
            }
        case .body:
            switch byte {
            case UInt8(ascii: "#"):
                state = .checksumHigh
                return nil
            case UInt8(ascii: "}"): state = .escaped
            case UInt8(ascii: "*"): state = .runLength
            default: try add(byte, times: 1)
            }
            sum = sum &+ byte
        case .escaped:
            sum = sum &+ byte
            state = .body
            try add(byte ^ 0x20, times: 1)
        case .runLength:
            sum = sum &+ byte
            state = .body
            // The count is sent as a printable character: 29 more than the number of further repetitions.
            guard let last = payload.last, byte >= 32, byte <= 126 else { throw .malformed }
            try add(last, times: Int(byte) - 29)
        case .checksumHigh:
            guard let high = Hexadecimal.value(byte) else { throw .malformed }
            state = .checksumLow(high)
        case .checksumLow(let high):
            guard let low = Hexadecimal.value(byte) else { throw .malformed }
            state = .idle
            let expected = high << 4 | low
            guard expected == sum else { throw .checksum(expected: expected, computed: sum) }
            return isNotification ? .notification(payload) : .packet(payload)
        }
        return nil
    }

    private mutating func add(_ byte: UInt8, times: Int) throws(Failure) {
        guard payload.count + times <= Self.limit else { throw .tooLong }
        payload.append(contentsOf: repeatElement(byte, count: times))
    }
}
