/// What a ``Connection`` holds at most, whatever the peer does.
public struct ConnectionLimits: Sendable {
    /// Channels in any state. One more that the peer opens is refused for want of resources.
    public var maximumChannels = 64
    /// The most data that one message carries, in bytes: what this side takes, and the most that it sends.
    public var maximumPacket: UInt32 = 32768
    /// Requests of the peer, global ones or those of one channel, that wait for an answer. One more ends the connection.
    public var maximumPendingReplies = 64
    /// Bytes of messages that wait to be sent: as soon as there are as many, no more data is taken.
    public var maximumQueuedData = 128 * 1024
    /// As many bytes wait to be sent, and the peer asks for another answer: the connection ends. Enough for what a patient peer
    /// leaves unread, and far above ``maximumQueuedData``.
    public var maximumQueued = 1024 * 1024

    public init() {}

    /// What a name may have of characters (RFC 4250, 4.6.1).
    static let maximumName = 64
    /// The text of an ``ConnectionEvent/openFailed(_:reason:text:)`` is cut here, in bytes.
    static let maximumText = 1024
    /// What a queued message costs beside its bytes.
    static let messageOverhead = 64
}
