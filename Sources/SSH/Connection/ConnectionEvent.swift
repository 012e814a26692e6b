/// A channel, by the number that this side gave it.
public struct ChannelID: Hashable, Sendable {
    public let number: UInt32

    public init(_ number: UInt32) { self.number = number }
}

/// What the peer said on the connection layer (RFC 4254), in the order in which it was said.
public enum ConnectionEvent: Equatable, Sendable {
    /// A global request (4). One that wants a reply must be answered, in order, by `replyToGlobalRequest`.
    case globalRequest(name: String, data: [UInt8], wantsReply: Bool)
    /// The answer to this side's oldest global request that had none yet.
    case globalReply(success: Bool, data: [UInt8])
    /// The peer opens a channel (5.1), to be answered by `accept` or `reject`.
    case opening(ChannelID, type: String, extra: [UInt8])
    /// The peer accepted a channel that this side opened.
    case opened(ChannelID, extra: [UInt8])
    /// The peer rejected it; the number is not in use any more.
    case openFailed(ChannelID, reason: UInt32, text: String)
    case data(ChannelID, [UInt8])
    /// Type 1 is standard error.
    case extendedData(ChannelID, type: UInt32, [UInt8])
    /// The peer's window grew: so many bytes more may be sent.
    case windowAdjusted(ChannelID, bytes: UInt32)
    case eof(ChannelID)
    /// Both sides have closed the channel, or the peer has and this side's close has been queued: the number is free.
    case closed(ChannelID)
    /// A channel request (5.4). One that wants a reply must be answered, in order, by `replyToRequest`.
    case request(ChannelID, name: String, data: [UInt8], wantsReply: Bool)
    /// The answer to this side's oldest request on the channel that had none yet.
    case requestReply(ChannelID, success: Bool)
}

/// Why a channel is not opened (RFC 4254, 5.1).
public enum OpenFailure: UInt32, Sendable {
    case administrativelyProhibited = 1, connectFailed, unknownChannelType, resourceShortage
}
