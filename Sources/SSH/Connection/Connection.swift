/// The connection layer of SSH (RFC 4254), for either role: channels with their windows, requests and replies.
///
/// Takes payloads of the transport and gives payloads to it, does no I/O, and decides nothing that is not the protocol's: what
/// the peer wants comes as ``ConnectionEvent``, in order. Whoever hands in a payload takes all events before the next one;
/// everything else is bounded by ``ConnectionLimits``. After an error has been thrown nothing more is to be done with it.
///
/// What would not be conform is not sent: data beyond the peer's window or after EOF, anything after CLOSE, an answer to a request
/// that had one. A channel that is gone is not known any more, and numbers are not used again for a long time, so calls that come
/// late do nothing.
public struct Connection {
    let limits: ConnectionLimits
    /// What is not permitted is refused before it becomes an event.
    public var permissions = Permissions()
    var channels: [Channel] = []
    var events: [ConnectionEvent] = []
    var outgoing = PayloadQueue()
    var owedGlobal = OwedReplies()
    var awaitedGlobal = 0
    private var lastNumber: UInt32 = .max
    /// Channels whose window grew.
    private var grantsDue: [ChannelID] = []
    /// Channels that were accepted, in this order, and whose peer has not been told.
    private var confirmations: [ChannelID] = []

    public init(_ limits: ConnectionLimits = ConnectionLimits()) { self.limits = limits }

    /// Channels in any state.
    public var channelCount: Int { channels.count }

    /// What waits in ``nextPayload()``, in bytes of memory.
    public var queuedBytes: Int { outgoing.cost }

    /// There is something for ``nextPayload()``.
    public var hasPayload: Bool { !outgoing.isEmpty || !grantsDue.isEmpty }

    /// What the peer said, one after the other.
    public mutating func nextEvent() -> ConnectionEvent? { events.isEmpty ? nil : events.removeFirst() }

    /// The next message for the peer.
    public mutating func nextPayload() -> [UInt8]? {
        // Windows first: they may wait behind data, but then the peer would wait for no reason. Not before the channel's
        // confirmation, though: until then the peer has no such channel.
        while let place = grantsDue.firstIndex(where: { !confirmations.contains($0) }) {
            let id = grantsDue.remove(at: place)
            guard let index = index(of: id), channels[index].canSend, channels[index].grantDue > 0 else { continue }
            defer { channels[index].grantDue = 0 }
            return ConnectionMessage.windowAdjust(recipient: channels[index].peer, bytes: channels[index].grantDue).encoded()
        }
        guard let payload = outgoing.popFirst() else { return nil }
        if payload.first == ConnectionMessage.openConfirmationNumber, !confirmations.isEmpty { confirmations.removeFirst() }
        return payload
    }

    // MARK: Opening

    /// Asks the peer for a channel; ``ConnectionEvent/opened(_:extra:)`` or ``ConnectionEvent/openFailed(_:reason:text:)`` follows.
    /// - Parameter window: how many bytes the peer may send before ``grant(_:bytes:)``.
    /// - Returns: nil when there are as many channels as there may be, or no message has room for `extra`.
    public mutating func openChannel(type: String, extra: [UInt8] = [], window: UInt32, maximumPacket: UInt32 = 32768) -> ChannelID? {
        guard channels.count < limits.maximumChannels else { return nil }
        var channel = Channel(id: newID(), state: .requested)
        channel.receiveWindow = window
        channel.receiveMaximum = min(maximumPacket, limits.maximumPacket)
        channels.append(channel)
        let (number, packet) = (channel.id.number, channel.receiveMaximum)
        guard post(.open(type: type, sender: number, window: window, maximumPacket: packet, extra: extra)) else {
            channels.removeLast()
            return nil
        }
        return channel.id
    }

    /// Answers ``ConnectionEvent/opening(_:type:extra:)``. Where no message has room for `extra`, the channel is rejected.
    public mutating func accept(_ id: ChannelID, window: UInt32, maximumPacket: UInt32 = 32768, extra: [UInt8] = []) {
        guard let index = index(of: id), channels[index].state == .offered else { return }
        let packet = min(maximumPacket, limits.maximumPacket)
        let peer = channels[index].peer
        guard post(.openConfirmation(recipient: peer, sender: id.number, window: window, maximumPacket: packet, extra: extra)) else {
            return reject(id, .resourceShortage, "what belongs to the answer is longer than a message")
        }
        channels[index].state = .open
        channels[index].receiveWindow = window
        channels[index].receiveMaximum = packet
        confirmations.append(id)
    }

    /// Answers ``ConnectionEvent/opening(_:type:extra:)``; the channel is gone. A long text is cut off.
    public mutating func reject(_ id: ChannelID, _ reason: OpenFailure, _ text: String) {
        guard let index = index(of: id), channels[index].state == .offered else { return }
        let text = String(decoding: text.utf8.prefix(ConnectionLimits.maximumText), as: UTF8.self)
        post(.openFailure(recipient: channels[index].peer, reason: reason.rawValue, text: text))
        channels.remove(at: index)
    }

    // MARK: Data

    /// How many bytes ``send(data:on:)`` takes now, or more, where the peer takes only small messages.
    public func room(_ id: ChannelID) -> Int {
        guard let index = index(of: id), channels[index].canSend, !channels[index].sentEOF else { return 0 }
        return min(Int(channels[index].sendWindow), max(0, limits.maximumQueuedData - outgoing.cost))
    }

    /// How many bytes the peer takes on a channel, whatever waits here; 0 where nothing can be sent.
    public func peerWindow(_ id: ChannelID) -> UInt32 {
        guard let index = index(of: id), channels[index].canSend, !channels[index].sentEOF else { return 0 }
        return channels[index].sendWindow
    }

    /// Queues data.
    /// - Returns: how many bytes of it were taken: no more than the peer's window and the queue have room for.
    @discardableResult
    public mutating func send(data: ArraySlice<UInt8>, on id: ChannelID) -> Int {
        send(data, on: id) { .data(recipient: $0, $1) }
    }

    /// Queues extended data; type 1 is standard error.
    /// - Returns: as ``send(data:on:)`` does. Both share one window.
    @discardableResult
    public mutating func sendExtended(data: ArraySlice<UInt8>, type: UInt32 = 1, on id: ChannelID) -> Int {
        send(data, on: id) { .extendedData(recipient: $0, type: type, $1) }
    }

    private mutating func send(
        _ data: ArraySlice<UInt8>, on id: ChannelID, _ message: (UInt32, ArraySlice<UInt8>) -> ConnectionMessage
    ) -> Int {
        guard let index = index(of: id) else { return 0 }
        var rest = data
        // The room is asked for anew: many small messages fill the queue before the data alone would.
        while !rest.isEmpty {
            let count = min(rest.count, room(id), Int(channels[index].sendMaximum))
            guard count > 0 else { break }
            post(message(channels[index].peer, rest.prefix(count)))
            channels[index].sendWindow -= UInt32(clamping: count)
            rest = rest.dropFirst(count)
        }
        return data.count - rest.count
    }

    /// Lets the peer send so many bytes more. A window ends at 2^32 − 1.
    public mutating func grant(_ id: ChannelID, bytes: Int) {
        guard bytes > 0, let index = index(of: id), channels[index].canSend, !channels[index].receivedEOF else { return }
        let more = min(UInt32(clamping: bytes), .max - channels[index].receiveWindow)
        guard more > 0 else { return }
        if channels[index].grantDue == 0 { grantsDue.append(id) }
        channels[index].receiveWindow += more
        channels[index].grantDue += more
    }

    /// No more data will follow; requests still may.
    public mutating func sendEOF(_ id: ChannelID) {
        guard let index = index(of: id), channels[index].canSend, !channels[index].sentEOF else { return }
        channels[index].sentEOF = true
        post(.eof(recipient: channels[index].peer))
    }

    /// Closes the channel after all that was sent on it. What still comes from the peer is dropped; ``ConnectionEvent/closed(_:)``
    /// follows when it has closed the channel, too.
    public mutating func close(_ id: ChannelID) {
        guard let index = index(of: id), !channels[index].isClosing else { return }
        switch channels[index].state {
        case .offered: reject(id, .connectFailed, "the channel is not wanted any more")
        case .requested: channels[index].isClosing = true
        case .open:
            channels[index].isClosing = true
            post(.close(recipient: channels[index].peer))
        }
    }

    // MARK: Requests

    /// Sends a request on a channel. With `wantsReply` a ``ConnectionEvent/requestReply(_:success:)`` follows, unless the channel
    /// is closed before.
    /// - Returns: whether it was queued: the channel is open, and a message has room for the data.
    @discardableResult
    public mutating func request(_ id: ChannelID, name: String, data: [UInt8] = [], wantsReply: Bool = false) -> Bool {
        guard let index = index(of: id), channels[index].canSend else { return false }
        guard post(.request(recipient: channels[index].peer, name: name, wantsReply: wantsReply, data: data)) else { return false }
        if wantsReply { channels[index].awaited += 1 }
        return true
    }

    /// Answers the oldest request on the channel that waits for an answer.
    /// - Returns: whether there was one.
    @discardableResult
    public mutating func replyToRequest(_ id: ChannelID, success: Bool) -> Bool {
        guard let index = index(of: id), channels[index].canSend, let refusals = channels[index].owed.answer() else { return false }
        let peer = channels[index].peer
        post(success ? .success(recipient: peer) : .failure(recipient: peer))
        for _ in 0..<refusals { post(.failure(recipient: peer)) }
        return true
    }

    /// Sends a global request. With `wantsReply` a ``ConnectionEvent/globalReply(success:data:)`` follows.
    /// - Returns: whether it was queued: a message has room for the data.
    @discardableResult
    public mutating func globalRequest(name: String, data: [UInt8] = [], wantsReply: Bool = false) -> Bool {
        guard post(.globalRequest(name: name, wantsReply: wantsReply, data: data)) else { return false }
        if wantsReply { awaitedGlobal += 1 }
        return true
    }

    /// The longest data that the answer to a global request carries, in bytes.
    public static let maximumReplyData = Transport.maximumPayload - 1

    /// Answers the oldest global request that waits for an answer. A failure carries no data; a success with more of it than
    /// ``maximumReplyData`` becomes one.
    /// - Returns: whether there was one.
    @discardableResult
    public mutating func replyToGlobalRequest(success: Bool, data: [UInt8] = []) -> Bool {
        guard let refusals = owedGlobal.answer() else { return false }
        if !success || !post(.requestSuccess(data: data)) { post(.requestFailure) }
        for _ in 0..<refusals { post(.requestFailure) }
        return true
    }

    // MARK: Parts

    /// - Returns: false, and nothing is queued, where the transport would not take so long a message.
    @discardableResult
    mutating func post(_ message: ConnectionMessage) -> Bool {
        let payload = message.encoded()
        guard payload.count <= Transport.maximumPayload else { return false }
        outgoing.append(payload)
        return true
    }

    func index(of id: ChannelID) -> Int? { channels.firstIndex { $0.id == id } }

    mutating func newID() -> ChannelID {
        // There are far fewer channels than numbers.
        repeat { lastNumber &+= 1 } while index(of: ChannelID(lastNumber)) != nil
        return ChannelID(lastNumber)
    }
}
