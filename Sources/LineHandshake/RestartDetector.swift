/// Notices, in the bytes of a connection, that its client is gone and another one begins anew on the same line.
///
/// Nothing else tells: a serial line does not hang up. What a new client says first would otherwise be taken for a part of the
/// old one's next packet, and waited on for ever. Two things are looked for:
///
/// * the beginning of a banner, `SSH-2.0-`, wherever it comes. It is never part of a packet but by chance, once in 2^64 bytes,
///   since packets are encrypted, and the few that come before the keys do not hold it;
/// * a SYN: two bytes, the first of them 16 hexadecimal, followed by 200 ms of silence, where
///   - the connection is between two packets; a client that works writes a packet at once, and a packet is longer;
///   - or it is within a packet, and 250 ms of silence came before: a client was cut off in the middle of one. (Where no silence
///     was, as on a line that passes from one client to the next, the client's next SYN is seen.)
///
/// In either case the two bytes must not have completed a packet: a packet that is whole and authentic is no SYN. What is left is
/// a line that stalls for 200 ms behind exactly two bytes of a packet the first of which happens to be 16: with the ciphers that
/// do not encrypt the length (AES-GCM) never, as that byte is 0 there; with the others once in 256 such stalls.
public struct RestartDetector {
    /// How a new client begins, with what it has said so far: to be given to a new ``HandshakeResponder``, or, after a banner, to
    /// a new connection.
    public enum Restart: Equatable, Sendable {
        case synchronisation([UInt8])
        case banner([UInt8])
    }

    /// The silence after a SYN, and before one in the middle of a packet, in nanoseconds.
    static let silenceAfter = 200 * LineHandshake.millisecond
    static let silenceBefore = 250 * LineHandshake.millisecond

    private var finder = BannerFinder()
    /// Whether the connection's own banner is still to come.
    private var isBannerDue: Bool
    /// The bytes that may be a SYN, at most three: since the last packet was complete, or since the last silence.
    private var burst: [UInt8] = []
    /// Whether what comes next begins a burst.
    private var isAtStart = true
    private var lastArrival: Int64
    /// The last bytes that came, with which another client's beginning may begin: for a ``HandshakeResponder`` that takes over
    /// when the connection has failed.
    public private(set) var recent: [UInt8] = []

    /// - Parameters:
    ///   - isBannerDue: whether the connection's own banner has not come yet, as after a handshake.
    ///   - now: nanoseconds on the monotonic clock.
    public init(isBannerDue: Bool = true, now: Int64) {
        self.isBannerDue = isBannerDue
        lastArrival = now
    }

    /// Takes what came from the line, before the connection does.
    public mutating func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) -> Restart? {
        if bytes.isEmpty { return nil }
        recent = Array((recent + bytes.suffix(LineHandshake.banner.count - 1)).suffix(LineHandshake.banner.count - 1))
        var start = 0
        while let end = finder.find(UnsafeRawBufferPointer(rebasing: bytes[start...])) {
            start += end
            if !isBannerDue { return .banner(LineHandshake.banner + Array(bytes[start...])) }
            isBannerDue = false
        }
        let silence = now &- lastArrival
        lastArrival = now
        if isAtStart || silence >= Self.silenceBefore {
            burst = []
            isAtStart = false
        }
        // Three are as many as a thousand: too many for a SYN.
        if burst.count < 3 { burst += bytes.prefix(3 - burst.count) }
        return nil
    }

    /// The connection's own banner will not come any more: the next one is another client's.
    public mutating func bannerIsOverdue() { isBannerDue = false }

    /// What has come since is not known yet: the silence begins anew.
    public mutating func lineWasNotRead(now: Int64) { lastArrival = now }

    /// Says where the connection stands after it has taken the bytes.
    ///
    /// - Parameter isBetweenPackets: whether all bytes so far belong to packets that were complete and authentic (to lines of
    ///   the banner, before the first).
    public mutating func connection(isBetweenPackets: Bool) {
        if isBetweenPackets { isAtStart = true }
    }

    /// When ``tick(now:)`` has to be called, in nanoseconds on the monotonic clock; nil while there is nothing to wait for.
    public var nextDeadline: Int64? { isSuspicious ? lastArrival &+ Self.silenceAfter : nil }

    /// Looks whether the silence behind a SYN is over.
    public mutating func tick(now: Int64) -> Restart? {
        guard isSuspicious, now &- lastArrival >= Self.silenceAfter else { return nil }
        defer { burst = [] }
        return .synchronisation(burst)
    }

    private var isSuspicious: Bool { !isAtStart && burst.count == 2 && burst[0] == LineHandshake.syn }
}
