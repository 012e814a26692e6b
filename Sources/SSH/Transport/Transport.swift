/// SSH's transport layer (RFC 4253): keys, packets, and nothing that reads or writes a descriptor.
///
/// Bytes that were read go into ``receive(_:now:)``, what came of them is taken by ``nextEvent()``, and what there is to be written
/// by ``withOutput(_:)``. Times are nanoseconds of a clock that never goes back.
///
/// A failure (an error of ``receive(_:now:)``, or the event `failed`) is final: what is pending as output then ends with an
/// SSH_MSG_DISCONNECT for the peer, and nothing is sent or received any more.
public final class Transport {
    /// The longest message that ``send(_:)`` takes.
    public static let maximumPayload = 34_000
    /// The longest `packet_length` and the longest message, decompressed, that are received (RFC 4253, 6.1).
    public static let maximumPacket = 35_000
    /// How many bytes of messages may wait to be taken until no more packets are opened.
    static let maximumEventBytes = 256 << 10
    /// How many bytes may wait to be opened when more come.
    static let maximumBacklog = 1 << 20

    /// How many bytes may wait to be written when this side answers of its own accord.
    static let maximumOutput = 4 << 20

    let configuration: TransportConfiguration
    let random: RandomSource
    var isServer: Bool { configuration.role == .server }
    var now: Int64
    /// When the key exchange that is in progress, or waits for its beginning, has to be complete.
    var exchangeDeadline: Int64

    var output = ByteBuffer()
    var sending = TransportDirection()
    var compressor: Compressor?
    /// Messages that wait for the end of a key exchange.
    var held = FIFO<[UInt8]>()
    /// The bytes of messages given to ``send(_:)`` that wait for the end of a key exchange. Whoever sends bounds them, and those of
    /// ``pendingOutput``.
    public internal(set) var queuedPayloadBytes = 0
    /// Random bytes for padding, and how many of them have been used.
    var paddingBytes: [UInt8] = []
    var paddingUsed = 0

    var input = ByteBuffer()
    var receiving = TransportDirection()
    var decompressor: Decompressor?
    /// The size of the packet that is being received, with its length field, once that is known.
    var packetSize: Int?
    var events = FIFO<TransportEvent>()
    var eventBytes = 0

    let identification: [UInt8]
    var peerIdentification: [UInt8]?
    /// Bytes before the server's identification.
    var skippedBytes = 0
    var exchange: KeyExchange?
    var keysReplaced: Int64
    var isStrict = false
    var peerTakesExtensions = false
    var hostKey: PublicKey?
    /// SSH_MSG_USERAUTH_SUCCESS went by.
    var isAuthenticated = false
    var failure: SSHError?
    /// Nothing is sent or received any more.
    public internal(set) var isClosed = false

    /// The first exchange's hash (RFC 4253, 7.2); empty before.
    public internal(set) var sessionID: [UInt8] = []
    /// The first key exchange is complete.
    public internal(set) var isReady = false
    /// What the peer calls itself: its identification string without `SSH-2.0-`.
    public internal(set) var peerSoftware = ""
    /// What the peer announced (RFC 8308).
    public internal(set) var peerExtensions: [PeerExtension] = []
    /// What the last key exchange agreed on.
    public internal(set) var negotiated = NegotiatedAlgorithms()
    /// The sequence number of the message that ``nextEvent()`` gave last.
    var lastMessageSequence: UInt32 = 0
    var messageSequences = FIFO<UInt32>()

    /// The identification string is pending as output at once.
    public init(_ configuration: TransportConfiguration, random: RandomSource, now: Int64) {
        self.configuration = configuration
        self.random = random
        self.now = now
        exchangeDeadline = Self.later(now, milliseconds: configuration.handshakeMilliseconds)
        keysReplaced = now
        identification = Self.identification(software: configuration.software)
        append(identification + [0x0d, 0x0a])
    }

    // MARK: What arrives

    /// Takes bytes that were read. What is not a whole packet yet, and what cannot be processed yet, is kept.
    ///
    /// - Throws: why the connection cannot go on; the same again if it is called again.
    public func receive(_ bytes: UnsafeRawBufferPointer, now: Int64) throws(SSHError) {
        self.now = max(now, self.now)
        if let failure { throw failure }
        if isClosed { return }
        do throws(SSHError) {
            guard input.count <= Self.maximumBacklog else {
                throw SSHError(.byApplication, "receive", "", "more than \(Self.maximumBacklog) bytes wait to be processed")
            }
            input.append(bytes)
            try process()
        } catch {
            fail(error)
            throw error
        }
    }

    /// What happened next, or nil until more is received.
    public func nextEvent() -> TransportEvent? {
        let wasFull = eventBytes >= Self.maximumEventBytes
        guard let event = events.popFirst() else { return nil }
        eventBytes -= Self.size(event)
        if case .message = event { lastMessageSequence = messageSequences.popFirst() ?? 0 }
        if wasFull { resume() }
        return event
    }

    /// Goes on after the event `hostKey`: the key is the right one.
    public func acceptHostKey() {
        guard !isClosed, exchange?.stage == .hostKey else { return }
        do throws(SSHError) {
            try takeNewKeysIntoUse()
        } catch {
            return failLater(error)
        }
        resume()
    }

    /// Bytes of a packet have been received, but not all of it. Wherever this is false, a connection can end without having lost
    /// anything.
    public var isInsidePacket: Bool { input.count > 0 }

    /// Opens packets as far as there is room for what they hold.
    func process() throws(SSHError) {
        if peerIdentification == nil { try readIdentification() }
        guard peerIdentification != nil else { return }
        while !isClosed, eventBytes < Self.maximumEventBytes, exchange?.stage != .hostKey, let (payload, sequence) = try nextPayload() {
            try handle(payload, sequence)
            try replaceKeysIfDue()
        }
    }

    private func resume() {
        guard !isClosed else { return }
        do throws(SSHError) {
            try process()
        } catch {
            failLater(error)
        }
    }

    // MARK: What is sent

    /// Sends a message: of a layer above, with a number from 50 on, or of SSH_MSG_SERVICE_REQUEST and its like. While keys are being
    /// exchanged it waits; nothing is sent after the end of the connection.
    public func send(_ payload: [UInt8]) {
        guard !isClosed else { return }
        guard let number = payload.first, payload.count <= Self.maximumPayload else {
            let object = payload.first.map { "message \($0)" } ?? "message"
            return failLater(SSHError(.byApplication, "send", object, "\(payload.count) bytes are not sent as one message"))
        }
        if isHolding {
            held.append(payload)
            queuedPayloadBytes += payload.count
            return
        }
        do throws(SSHError) {
            try seal(payload, number)
            try replaceKeysIfDue()
        } catch {
            failLater(error)
        }
    }

    /// Answers the message that ``nextEvent()`` gave last by SSH_MSG_UNIMPLEMENTED (RFC 4253, 11.4): its number means nothing here.
    public func answerUnimplemented() {
        guard !isClosed else { return }
        do throws(SSHError) { try sendUnimplemented(lastMessageSequence) } catch { failLater(error) }
    }

    /// Replaces the keys now. OpenSSH's client does not understand it before the user is authenticated.
    public func rekey() {
        guard !isClosed, isReady, exchange == nil else { return }
        do throws(SSHError) { try beginExchange() } catch { failLater(error) }
    }

    /// Ends the connection, and tells the peer why (RFC 4253, 11.1). Messages that still wait are not sent.
    public func disconnect(_ error: SSHError) {
        guard !isClosed else { return }
        var message = WireWriter(message: Message.disconnect)
        message.uint32(error.reason.rawValue)
        message.string(error.description.utf8.prefix(1024))
        message.text("")
        // An error here would say that there is no way to tell the peer.
        try? seal(message.bytes, Message.disconnect)
        isClosed = true
        held.removeAll()
        queuedPayloadBytes = 0
    }

    /// How many bytes there are to be written.
    public var pendingOutput: Int { output.count }

    /// Gives what there is to be written.
    ///
    /// - Parameter body: writes from the front, and returns how many bytes it has written; the rest is given again.
    public func withOutput(_ body: (UnsafeRawBufferPointer) -> Int) {
        guard output.count > 0 else { return }
        output.removeFirst(body(output.bytes))
    }

    // MARK: Time

    /// When ``tick(now:)`` is to be called, if nothing else happens before.
    public var nextDeadline: Int64? {
        if isClosed { return nil }
        if isExchanging { return exchangeDeadline }
        return isAuthenticated && hasUsedKeys ? rekeyDeadline : nil
    }

    public func tick(now: Int64) {
        self.now = max(now, self.now)
        guard !isClosed else { return }
        if isExchanging, self.now >= exchangeDeadline {
            let time = configuration.handshakeMilliseconds
            return failLater(SSHError(.connectionLost, "exchange keys", "", "it is not complete after \(time) ms"))
        }
        do throws(SSHError) { try replaceKeysIfDue() } catch { failLater(error) }
    }

    private var isExchanging: Bool { !isReady || exchange != nil }
    private var hasUsedKeys: Bool { sending.packets + receiving.packets > 0 }
    private var rekeyDeadline: Int64 { Self.later(keysReplaced, milliseconds: configuration.rekeyMilliseconds) }

    /// Begins a key exchange when the keys have been used for long enough (RFC 4253, 9; RFC 4344, 3). Not before the user is
    /// authenticated: OpenSSH's client takes a key exchange in the middle of that for an error.
    private func replaceKeysIfDue() throws(SSHError) {
        guard isAuthenticated, !isClosed, exchange == nil else { return }
        let limit = configuration.rekeyBytes
        if max(sending.bytes, receiving.bytes) >= limit || max(sending.packets, receiving.packets) >= TransportDirection.rekeyPackets
            || (now >= rekeyDeadline && hasUsedKeys)
        {
            try beginExchange()
        }
    }

    static func later(_ time: Int64, milliseconds: Int64) -> Int64 {
        let (nanoseconds, isLong) = milliseconds.multipliedReportingOverflow(by: 1_000_000)
        let (result, isLate) = time.addingReportingOverflow(nanoseconds)
        return isLong || isLate ? .max : result
    }

    // MARK: The end

    /// Ends the connection because of an error that whoever called gets.
    private func fail(_ error: SSHError) {
        disconnect(error)
        failure = error
    }

    /// Ends the connection because of an error that is told as an event.
    func failLater(_ error: SSHError) {
        guard failure == nil else { return }
        fail(error)
        announce(.failed(error))
    }
}

/// An extension that the peer announced (RFC 8308, 2.5).
public struct PeerExtension: Equatable, Sendable {
    public let name: String
    public let value: [UInt8]
}

extension Transport {
    /// The algorithms by which a client may sign in the authentication, as the server announced them (`server-sig-algs`); nil if it
    /// did not.
    public var peerSignatureAlgorithms: [String]? {
        guard let value = peerExtensions.first(where: { $0.name == "server-sig-algs" })?.value else { return nil }
        return value.split(separator: UInt8(ascii: ",")).map { String(decoding: $0, as: UTF8.self) }
    }
}
