import SSH

/// A connection whose peer says what libFuzzer makes up, and a second opinion on all that goes in and out: windows, the order of
/// messages, and how much is kept.
struct HostilePeer {
    /// A channel as the messages on the wire say it is.
    private struct Channel {
        var id: ChannelID
        /// The peer's number.
        var peer: UInt32?
        /// What may still be sent to the peer, and what it may still send.
        var sendWindow = 0
        var receiveWindow = 0
        var sendMaximum = 0
        /// The peer asked for it, and nobody has answered.
        var isOffered = false
        /// The peer knows of it.
        var isConfirmed = true
        /// This side's EOF and CLOSE were sent.
        var isEnded = false
        var isClosed = false
        /// Requests of the peer that no reply was sent to.
        var owed = 0
    }

    private var connection: Connection
    private var channels: [Channel] = []
    private var owedGlobal = 0
    /// What the peer's last SSH_MSG_CHANNEL_OPEN said.
    private var offer: (peer: UInt32, window: Int, maximum: Int) = (0, 0, 0)
    private static let limits = {
        var limits = ConnectionLimits()
        limits.maximumChannels = 4
        limits.maximumPendingReplies = 4
        limits.maximumPacket = 1000
        limits.maximumQueuedData = 4000
        limits.maximumQueued = 20_000
        return limits
    }()

    init() { connection = Connection(Self.limits) }

    /// Each payload is the peer's, but for those that begin with a number that no message has: they are what this side does.
    mutating func run(_ bytes: [UInt8]) {
        for payload in payloads(bytes) {
            if let number = payload.first, number >= 200 {
                act(number, payload)
            } else {
                note(payload)
                let before = connection.queuedBytes
                do throws(SSHError) {
                    try connection.receive(payload)
                } catch {
                    precondition(!error.cause.isEmpty && !error.operation.isEmpty, "an error that says nothing")
                    return
                }
                takeEvents()
                precondition(connection.queuedBytes <= max(before, Self.limits.maximumQueued) + 1000, "the peer can fill the memory")
            }
            precondition(connection.channelCount <= Self.limits.maximumChannels, "too many channels")
        }
        drain()
    }

    /// Counts what the peer asks for, as the wire has it.
    private mutating func note(_ payload: [UInt8]) {
        var reader = WireReader(payload, from: 1)
        switch payload.first {
        case 80:
            _ = reader.string()
            if reader.boolean(), !reader.hasFailed { owedGlobal += 1 }
        case 90:
            _ = reader.string()
            offer = (reader.uint32(), Int(reader.uint32()), Int(reader.uint32()))
        case 93:
            let (number, bytes) = (reader.uint32(), reader.uint32())
            if reader.isComplete, let index = index(number) { channels[index].sendWindow += Int(bytes) }
        case 98:
            let number = reader.uint32()
            _ = reader.string()
            if reader.boolean(), !reader.hasFailed, let index = index(number) { channels[index].owed += 1 }
        case 91:
            let (number, peer, window, packet) = (reader.uint32(), reader.uint32(), reader.uint32(), reader.uint32())
            guard !reader.hasFailed, let index = index(number), channels[index].peer == nil else { return }
            channels[index].peer = peer
            channels[index].sendWindow = Int(window)
            channels[index].sendMaximum = Int(packet)
        default: break
        }
    }

    private func index(_ number: UInt32) -> Int? { channels.firstIndex { $0.id.number == number } }

    private mutating func takeEvents() {
        var events = 0
        while let event = connection.nextEvent() {
            events += 1
            switch event {
            case .opening(let id, let type, _):
                precondition(type.utf8.count <= 64, "a type without end")
                precondition(index(id.number) == nil, "a number that is in use")
                channels.append(
                    Channel(
                        id: id, peer: offer.peer, sendWindow: offer.window, sendMaximum: offer.maximum, isOffered: true,
                        isConfirmed: false))
            case .data(let id, let data): received(id, data.count)
            case .extendedData(let id, _, let data): received(id, data.count)
            case .closed(let id): precondition(index(id.number) != nil, "a channel that there is not is closed")
            case .openFailed(_, _, let text): precondition(text.utf8.count <= 3100, "a text without end")
            case .request(_, let name, _, _): precondition(name.utf8.count <= 64, "a name without end")
            default: break
            }
        }
        // With a forced command, what was asked for comes before it.
        precondition(events <= (connection.permissions.forcedCommand == nil ? 1 : 2), "too many events of a message")
    }

    private mutating func received(_ id: ChannelID, _ count: Int) {
        guard let index = index(id.number) else { preconditionFailure("data of a channel that there is not") }
        channels[index].receiveWindow -= count
        precondition(count > 0 && channels[index].receiveWindow >= 0, "more data than the window had room for")
    }

    /// What this side does, on a channel that the second byte chooses.
    private mutating func act(_ number: UInt8, _ payload: [UInt8]) {
        if number == 200 { return drain() }
        if number == 201 {
            _ = connection.replyToGlobalRequest(success: payload.count % 2 == 0, data: payload)
            return
        }
        if number == 202 {
            if let id = connection.openChannel(type: "session", window: UInt32(payload.count)) {
                precondition(index(id.number) == nil, "a number that is in use")
                var channel = Channel(id: id)
                channel.receiveWindow = payload.count
                channels.append(channel)
            }
            return
        }
        guard payload.count > 1, !channels.isEmpty else { return }
        let index = Int(payload[1]) % channels.count
        let id = channels[index].id
        switch number {
        case 203:
            connection.accept(id, window: UInt32(payload.count) * 50)
            // The window counts from here on: a peer that guesses the number may use it before it is told.
            if channels[index].isOffered { channels[index].receiveWindow = payload.count * 50 }
            channels[index].isOffered = false
        case 204:
            connection.reject(id, .connectFailed, "no")
            channels[index].isOffered = false
        case 205, 206:
            let room = connection.room(id)
            let data = [UInt8](repeating: 5, count: payload.count * 30)
            let taken = number == 205 ? connection.send(data: data[...], on: id) : connection.sendExtended(data: data[...], on: id)
            precondition(taken <= room, "more was taken than there was room for")
        case 207:
            connection.grant(id, bytes: payload.count)
            channels[index].receiveWindow += payload.count
        case 208: connection.sendEOF(id)
        case 209:
            connection.close(id)
            channels[index].isOffered = false
        case 210: connection.request(id, .exitStatus(1), wantsReply: payload.count % 2 == 0)
        case 211: connection.replyToRequest(id, success: payload.count % 2 == 0)
        case 212: connection.permissions.forcedCommand = payload.count % 2 == 0 ? Array(payload) : nil
        default: connection.permissions.allowsTerminal = false
        }
    }

    /// Takes all that is to be sent, and reads it as a peer would.
    private mutating func drain() {
        while let payload = connection.nextPayload() { checkSent(payload) }
        precondition(connection.queuedBytes == 0 && !connection.hasPayload, "something is left that is never sent")
    }

    private mutating func checkSent(_ payload: [UInt8]) {
        var reader = WireReader(payload, from: 1)
        switch payload.first {
        case 80, 90, 92: return
        case 81, 82:
            owedGlobal -= 1
            return precondition(owedGlobal >= 0, "a reply that nobody asked for")
        case 91:
            let (peer, number) = (reader.uint32(), reader.uint32())
            guard let index = index(number), channels[index].peer == peer else { preconditionFailure("a channel that nobody opened") }
            channels[index].isConfirmed = true
        default: checkOnChannel(payload.first ?? 0, reader.uint32(), &reader)
        }
    }

    /// A message on a channel: one of those that have the peer's number must be allowed to send it. The peer may have given several
    /// channels the same number; then it is its own fault, and nothing can be said.
    private mutating func checkOnChannel(_ number: UInt8, _ peer: UInt32, _ reader: inout WireReader) {
        let candidates = channels.indices.filter { channels[$0].peer == peer }
        precondition(!candidates.isEmpty, "a message on a channel that there is not")
        guard candidates.count == 1, let index = candidates.first else { return }
        precondition(channels[index].isConfirmed, "a message on a channel that the peer has not been told of")
        precondition(!channels[index].isClosed, "something follows CLOSE")
        switch number {
        case 93, 98: break
        case 94, 95:
            if number == 95 { _ = reader.uint32() }
            let count = reader.string().count
            precondition(reader.isComplete && count > 0 && !channels[index].isEnded, "data after EOF, or none")
            precondition(count <= min(1000, channels[index].sendMaximum), "more data than a message may have")
            channels[index].sendWindow -= count
            precondition(channels[index].sendWindow >= 0, "more data than the window has room for")
        case 96: channels[index].isEnded = true
        case 97: channels[index].isClosed = true
        case 99, 100:
            channels[index].owed -= 1
            precondition(channels[index].owed >= 0, "a reply that nobody asked for")
        default: preconditionFailure("a message that nobody sends")
        }
    }
}
