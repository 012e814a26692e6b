/// The VM's end of a connection to a proxy, as an ESX host has it: a model, for tests of the other end.
public struct MachineSession: Sendable {
    public enum Event: Equatable, Sendable {
        case data([UInt8])
        case proxyGranted(Bool)
        /// The move may begin; the new connection begins with `identity`.
        case moveMayBegin(identity: [UInt8])
        case moveMustWait
        case movedAccepted
    }

    private var line: TelnetLine
    private let uuid: String
    private let name: String

    /// - Parameters:
    ///   - uri: the service URI of the port's backing.
    ///   - identity: of a move whose new connection this is.
    public init(uuid: String, name: String, direction: UInt8 = UInt8(ascii: "S"), uri: String = "tether", identity: [UInt8]? = nil) {
        line = TelnetLine(
            offered: [.binary, .suppressGoAhead, .vmware], wanted: [.binary, .suppressGoAhead], begins: [.binary, .suppressGoAhead])
        line.offer(.vmware)
        self.uuid = uuid
        self.name = name
        say(.knownByMachine([0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 82, 83]))
        if let identity { say(.moved(identity: identity)) } else { say(.proxyWanted(direction: direction, uri: uri)) }
    }

    public mutating func takeOutput() -> [UInt8] { line.takeOutput() }

    public mutating func send(_ data: ArraySlice<UInt8>) { line.send(data) }

    public mutating func beginMove(_ sequence: [UInt8]) { say(.moveBegins(sequence: sequence)) }
    public mutating func completeMove(_ sequence: [UInt8]) { say(.moveComplete(sequence: sequence)) }
    public mutating func abortMove(_ sequence: [UInt8]) { say(.moveAborted(sequence: sequence)) }

    private mutating func say(_ message: ExtensionMessage) { line.send(.vmware, message.parameters) }

    public mutating func receive(_ bytes: ArraySlice<UInt8>) -> [Event] {
        var events: [Event] = []
        for item in line.decode(bytes) {
            switch item {
            case .data(let data): events.append(.data(data))
            case .negotiation(let verb, let option): line.answer(verb, option)
            case .subnegotiation(let option, let parameters):
                guard option == .vmware, let message = ExtensionMessage(parameters) else { continue }
                switch message {
                case .whichUUID: say(.uuid(uuid))
                case .whichName: say(.name(name))
                case .proxyGranted: events.append(.proxyGranted(true))
                case .proxyRefused: events.append(.proxyGranted(false))
                case .moveMayBegin(let sequence, let secret): events.append(.moveMayBegin(identity: sequence + secret))
                case .moveMustWait: events.append(.moveMustWait)
                case .movedAccepted: events.append(.movedAccepted)
                default: break
                }
            }
        }
        return events
    }
}
