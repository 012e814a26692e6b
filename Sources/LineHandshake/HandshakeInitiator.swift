/// The host's end of the handshake: asks until a guest answers.
///
/// It never gives up by itself: a VM may take long to boot, and the line is silent until then.
public struct HandshakeInitiator {
    private enum State: Equatable {
        /// A SYN with this number is on its way; nil: none that an answer is waited for.
        case asked(UInt8?)
        /// What may be the guest's answer has come, with this number, and is the last that came.
        case answered(UInt8, number: UInt8)
        /// The guest's number has been acknowledged; its last ACK is due.
        case acknowledged
        case synchronised
    }

    private var numbers: HandshakeNumbers
    private var state = State.asked(nil)
    /// When the guest is asked again.
    private var retry: Int64 = .min
    /// When an answer counts that nothing followed.
    private var quietUntil: Int64 = .max
    private var tries = 0
    /// The end of what came: an answer may come in pieces.
    private var recent: [UInt8] = []
    private var output: [UInt8] = []

    /// A guest that still sits in the middle of an earlier client's packet notices the second SYN, which must not be late.
    private static let firstTimeout: Int64 = 500 * LineHandshake.millisecond
    private static let timeout: Int64 = 1000 * LineHandshake.millisecond
    /// A guest that has answered waits. What goes on without a pause is an earlier connection's output, which holds what looks like an
    /// answer once in 65 536 bytes: it goes on until the guest has noticed the SYN, 200 ms later.
    private static let quiet: Int64 = 20 * LineHandshake.millisecond

    /// - Parameter seed: anything that differs from one handshake to the next.
    public init(seed: UInt64, now: Int64) {
        numbers = HandshakeNumbers(seed: seed)
        ask(now)
    }

    public var isSynchronised: Bool { state == .synchronised }

    /// When ``tick(now:)`` has something to do, in nanoseconds on the monotonic clock; nil once synchronised.
    public var nextDeadline: Int64? {
        switch state {
        case .synchronised: nil
        case .answered: quietUntil
        case .asked, .acknowledged: retry
        }
    }

    /// Acknowledges an answer, or asks again, if it is time.
    public mutating func tick(now: Int64) {
        switch state {
        case .synchronised: break
        case .answered(_, let number):
            guard now >= quietUntil else { return }
            output += [LineHandshake.ack, number &+ 1]
            state = .acknowledged
            retry = now &+ Self.timeout
        case .asked, .acknowledged:
            if now >= retry { ask(now) }
        }
    }

    /// What is to be sent, which is forgotten with this call.
    public mutating func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    /// Takes what came from the line.
    ///
    /// - Parameter now: nanoseconds on the monotonic clock.
    /// - Returns: how many bytes were noise or the handshake's. What follows them is SSH, and there is such only when
    ///   ``isSynchronised``.
    public mutating func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) -> Int {
        for (index, byte) in bytes.enumerated() {
            switch state {
            case .asked(let asked?), .answered(let asked, _):
                recent = recent.suffix(2) + [byte]
                if recent.count == 3, recent[0] == LineHandshake.ack, recent[1] == asked &+ 1 {
                    state = .answered(asked, number: byte)
                    quietUntil = now &+ Self.quiet
                } else {
                    state = .asked(asked)
                }
            case .asked(nil): break
            case .acknowledged:
                if byte == LineHandshake.ack {
                    state = .synchronised
                    recent = []
                    return index + 1
                }
                if byte == LineHandshake.nak {
                    ask(now)
                } else {
                    // A guest that waits for us says nothing else: the answer was none. It is to have heard nothing for a while when it
                    // is asked again.
                    state = .asked(nil)
                    retry = now &+ Self.firstTimeout
                }
            case .synchronised: return index
            }
        }
        return bytes.count
    }

    private mutating func ask(_ now: Int64) {
        let number = numbers.next()
        output += [LineHandshake.syn, number]
        state = .asked(number)
        recent = []
        retry = now &+ (tries == 0 ? Self.firstTimeout : Self.timeout)
        tries &+= 1
    }
}
