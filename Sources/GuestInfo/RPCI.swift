import CLinux

/// The host's answer to a request it understood.
public enum RPCIReply: Equatable, Sendable {
    /// "1 …": done, with this result.
    case success([UInt8])
    /// "0 …": not done, with this message.
    case failure([UInt8])

    /// - Returns: nil for bytes that are neither.
    public static func parse(_ bytes: [UInt8]) -> RPCIReply? {
        guard bytes.count >= 2, bytes[1] == UInt8(ascii: " ") else { return nil }
        switch bytes[0] {
        case UInt8(ascii: "1"): return .success(Array(bytes[2...]))
        case UInt8(ascii: "0"): return .failure(Array(bytes[2...]))
        default: return nil
        }
    }
}

/// Whether a channel serves one request or many.
public enum ChannelUse: Sendable {
    /// The usual way: the host drops channels that are idle for a while.
    case perRequest
    /// For many requests in a row, until ``RPCI/close()``. A channel that fails is replaced.
    case held
}

/// How often, and after what pauses, a failed exchange is tried again.
public struct RetryPolicy {
    /// Milliseconds before each further try; their number is the number of further tries. Before one of 0 nobody sleeps.
    public var pauses: [Int64] = [10, 50, 200]
    /// Waits for so many milliseconds.
    public var sleep: (Int64) -> Void = { milliseconds in
        // poll(2) of nothing; a signal may cut it short, which does no harm to a pause.
        _ = poll(nil, 0, Int32(clamping: milliseconds))
    }

    public init() {}
}

/// Requests to the host and their replies, over a message channel.
///
/// A request whose exchange fails is sent again whole, on a new channel, a bounded number of times: after a suspend or a
/// move the host may no longer know the old one. So a request must do no harm when it is done twice; reading and setting
/// variables does none.
public final class RPCI<Port: BackdoorPort> {
    public var retry: RetryPolicy
    public var use: ChannelUse
    private let channel: MessageChannel<Port>

    public init(
        port: Port, use: ChannelUse = .perRequest, retry: RetryPolicy = RetryPolicy(),
        limits: ChannelLimits = ChannelLimits()
    ) {
        self.channel = MessageChannel(port: port, limits: limits)
        self.use = use
        self.retry = retry
    }

    /// Closes a held channel.
    public func close() { channel.close() }

    /// Sends `request`, as text without a trailing NUL, and receives its reply.
    public func perform(_ request: [UInt8]) throws(GuestInfoError.Cause) -> RPCIReply {
        var pauses = retry.pauses.makeIterator()
        while true {
            do throws(GuestInfoError.Cause) {
                let reply = try exchange(request)
                if use == .perRequest { channel.close() }
                guard let parsed = RPCIReply.parse(reply) else { throw .malformedReply(length: reply.count) }
                return parsed
            } catch {
                // The channel's state is unknown now, and one that is left open is lost to the whole VM.
                channel.close()
                guard case .channel(let failure) = error, failure.isTransient, let pause = pauses.next() else { throw error }
                if pause > 0 { retry.sleep(pause) }
            }
        }
    }

    private func exchange(_ request: [UInt8]) throws(GuestInfoError.Cause) -> [UInt8] {
        let reply: [UInt8]?
        do throws(ChannelFailure) {
            try channel.open()
            try channel.send(request)
            reply = try channel.receive()
        } catch {
            throw .channel(error)
        }
        guard let reply else { throw .noReply }
        return reply
    }
}
