/// The proxy's end of one VM's connection (VMware's telnet extension).
///
/// It answers what can be answered without knowing of other connections; the rest it reports.
public struct ProxySession: Sendable {
    /// What a VM said, in order.
    public enum Event: Equatable, Sendable {
        case data([UInt8])
        /// The VM does not know the extension: a telnet client of another kind.
        case extensionRefused
        case uuid(String)
        case name(String)
        /// To be answered by ``grantProxy(_:)``.
        case proxyWanted(direction: UInt8, uri: String)
        /// To be answered by ``letMove(_:secret:)`` or ``refuseMove(_:)`` within five seconds.
        case moveBegins(sequence: [UInt8])
        /// This is the other connection of a VM that moves; to be answered by ``acceptMoved(_:)``, or the connection to be closed.
        case moved(identity: [UInt8])
        case moveComplete(sequence: [UInt8])
        case moveAborted(sequence: [UInt8])
    }

    private var line: TelnetLine

    public init() {
        line = TelnetLine(
            offered: [.binary, .suppressGoAhead], wanted: [.binary, .suppressGoAhead, .vmware],
            begins: [.binary, .suppressGoAhead, .vmware])
        line.offer(.binary)
        line.offer(.suppressGoAhead)
    }

    /// Bytes that wait to be sent.
    public var pendingOutput: Int { line.pendingOutput }

    /// What is to be sent, which is forgotten with this call.
    public mutating func takeOutput() -> [UInt8] { line.takeOutput() }

    /// Sends data to the VM.
    public mutating func send(_ data: ArraySlice<UInt8>) { line.send(data) }

    /// Takes what came from the VM.
    public mutating func receive(_ bytes: ArraySlice<UInt8>) -> [Event] {
        var events: [Event] = []
        for item in line.decode(bytes) {
            switch item {
            case .data(let data): events.append(.data(data))
            case .negotiation(let verb, let option):
                line.answer(verb, option)
                if verb == .wont, option == .vmware { events.append(.extensionRefused) }
            case .subnegotiation(let option, let parameters):
                if option == .vmware, let event = take(parameters) { events.append(event) }
            }
        }
        return events
    }

    private mutating func take(_ parameters: [UInt8]) -> Event? {
        guard let message = ExtensionMessage(parameters) else {
            if let code = parameters.first, !ExtensionMessage.isKnown(code) { say(.unknownToProxy(code)) }
            return nil
        }
        switch message {
        case .knownByMachine(let codes):
            say(.knownByProxy(ExtensionMessage.proxyCodes))
            if codes.contains(ExtensionMessage.whichUUID.parameters[0]) { say(.whichUUID) }
            if codes.contains(ExtensionMessage.whichName.parameters[0]) { say(.whichName) }
            return nil
        case .uuid(let text): return .uuid(text)
        case .name(let text): return .name(text)
        case .proxyWanted(let direction, let uri): return .proxyWanted(direction: direction, uri: uri)
        case .moveBegins(let sequence): return .moveBegins(sequence: sequence)
        case .moved(let identity): return .moved(identity: identity)
        case .moveComplete(let sequence): return .moveComplete(sequence: sequence)
        case .moveAborted(let sequence): return .moveAborted(sequence: sequence)
        case .knownByProxy, .unknownToMachine, .unknownToProxy, .moveMayBegin, .moveMustWait, .movedAccepted, .proxyGranted,
            .proxyRefused, .whichUUID, .whichName:
            // A proxy's own words, or a complaint about one that the VM listed itself: nothing to do.
            return nil
        }
    }

    private mutating func say(_ message: ExtensionMessage) { line.send(.vmware, message.parameters) }

    public mutating func grantProxy(_ isGranted: Bool) { say(isGranted ? .proxyGranted : .proxyRefused) }

    /// Lets the VM move. Comes behind all data in the stream, as VMware asks.
    /// - Parameter secret: ``SecretLength/bytes`` random bytes.
    public mutating func letMove(_ sequence: [UInt8], secret: [UInt8]) { say(.moveMayBegin(sequence: sequence, secret: secret)) }

    public mutating func refuseMove(_ sequence: [UInt8]) { say(.moveMustWait(sequence: sequence)) }

    /// - Parameter identity: as it came. (VMware's paper answers with the sequence alone; concentrators that have served ESX hosts for
    ///   years answer with the secret behind it.)
    public mutating func acceptMoved(_ identity: [UInt8]) { say(.movedAccepted(identity: identity)) }
}
