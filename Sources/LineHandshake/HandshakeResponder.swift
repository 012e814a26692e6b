/// The guest's end of the handshake: waits for a client, whatever the line holds.
///
/// It has no time limit of its own. Noise is skipped in silence, but for what ends like a client's SYN or ACK, which is answered as such
/// and does no harm: a client goes by the last that it hears, and begins anew after a NAK.
public struct HandshakeResponder {
    /// What the bytes that came mean.
    public enum Decision: Equatable, Sendable {
        case nothing
        /// To be sent; the handshake is not complete.
        case reply([UInt8])
        /// To be sent, and SSH begins. `rest` is what the client sent behind its handshake, usually nothing.
        case synchronised(reply: [UInt8], rest: [UInt8])
        /// A client begins with its banner and without a handshake; these are its bytes from the banner on.
        case banner([UInt8])
    }

    /// The number that the client has to acknowledge, and until when.
    private struct Offer {
        let number: UInt8
        let deadline: Int64
    }

    /// A client sends its ACK as soon as it has ours; VIC gives up after a second and begins anew.
    private static let patience: Int64 = 5000 * LineHandshake.millisecond

    private var numbers: HandshakeNumbers
    private var finder = BannerFinder()
    private var offer: Offer?
    /// The last byte of what came before.
    private var last: UInt8?

    /// - Parameter seed: anything that differs from one responder to the next.
    public init(seed: UInt64) { numbers = HandshakeNumbers(seed: seed) }

    /// Goes on where a connection ended in which a client may have begun anew: what it has said so far is `recent`.
    ///
    /// - Parameter recent: ``RestartDetector/recent``.
    public init(seed: UInt64, recent: [UInt8]) {
        numbers = HandshakeNumbers(seed: seed)
        _ = recent.withUnsafeBytes { finder.find($0) }
        last = recent.last
    }

    /// Takes what came from the line.
    /// - Parameter now: nanoseconds on the monotonic clock.
    public mutating func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) -> Decision {
        guard let final = bytes.last else { return .nothing }
        // The client waits for our last ACK, so nothing should be behind its own. If there is, what is there is SSH.
        if let end = endOfAcknowledgement(bytes, now) {
            return .synchronised(reply: [LineHandshake.ack], rest: Array(bytes[end...]))
        }
        if let end = finder.find(bytes) { return .banner(LineHandshake.banner + Array(bytes[end...])) }
        let before = bytes.count > 1 ? bytes[bytes.count - 2] : last
        last = final
        switch before {
        case LineHandshake.syn:
            let number = numbers.next()
            offer = Offer(number: number, deadline: now &+ Self.patience)
            // The number may look like a SYN or an ACK, and must not become half of one with what comes.
            last = nil
            return .reply([LineHandshake.ack, final &+ 1, number])
        case LineHandshake.ack:
            // An ACK of what was not offered: a client in the middle of a handshake with someone who is gone.
            offer = nil
            return .reply([LineHandshake.nak])
        default:
            return .nothing
        }
    }

    /// Where the ACK of our offer ends in `bytes`, if it is in there.
    private func endOfAcknowledgement(_ bytes: UnsafeRawBufferPointer, _ now: Int64) -> Int? {
        guard let offer, now < offer.deadline else { return nil }
        let expected = offer.number &+ 1
        var previous = last
        for (index, byte) in bytes.enumerated() {
            if previous == LineHandshake.ack, byte == expected { return index + 1 }
            previous = byte
        }
        return nil
    }
}
