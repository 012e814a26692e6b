/// The messages of VMware's telnet extension for virtual serial ports: "Using a Proxy with vSphere Virtual Serial Ports".
///
/// A VM (its host, that is) connects to the proxy, a *virtual serial port concentrator*, and says who it is. When it is moved to
/// another host, a second connection takes the place of the first one, and nothing is lost on the way.
public enum ExtensionMessage: Equatable, Sendable {
    /// The messages that the sender knows, by their codes: the VM's list, and the proxy's answer.
    case knownByMachine([UInt8])
    case knownByProxy([UInt8])
    /// The answer to a message that is not known: its code.
    case unknownToMachine(UInt8)
    case unknownToProxy(UInt8)

    /// The VM is about to be moved. All that follows of this move carries `sequence`.
    case moveBegins(sequence: [UInt8])
    /// All that was queued has been sent; the new connection shows the secret.
    case moveMayBegin(sequence: [UInt8], secret: [UInt8])
    case moveMustWait(sequence: [UInt8])
    /// The first word of the new connection: sequence and secret, one behind the other.
    case moved(identity: [UInt8])
    case movedAccepted(identity: [UInt8])
    /// From the new connection: it is the VM's from now on.
    case moveComplete(sequence: [UInt8])
    /// From the old connection: it stays the VM's.
    case moveAborted(sequence: [UInt8])

    /// What the VM wants a proxy for: in which direction it would connect otherwise ("C": to the URI; "S": it waits there).
    case proxyWanted(direction: UInt8, uri: String)
    case proxyGranted
    case proxyRefused

    /// vCenter's UUID of the VM, as it is written; and the question for it.
    case uuid(String)
    case whichUUID
    case name(String)
    case whichName

    private enum Code: UInt8 {
        case knownByMachine = 0, knownByProxy, unknownToMachine, unknownToProxy
        case moveBegins = 40, moveMayBegin, moveMustWait = 43, moved, movedAccepted, moveComplete, moveAborted = 48
        case proxyWanted = 70, proxyGranted, proxyRefused = 73
        case uuid = 80, whichUUID, name, whichName
    }

    /// The longest sequence: VMware leaves its length open.
    public static let maximumSequence = 64
    private static let maximumText = 1024

    /// What a proxy may be sent, and what a VM may be.
    static let proxyCodes: [UInt8] = [0, 1, 2, 3, 40, 41, 43, 44, 45, 46, 48, 70, 71, 73, 80, 81, 82, 83]

    /// Reads a subnegotiation's parameters.
    /// - Returns: nil for a message that is not known, or has not the form of its code.
    init?(_ parameters: [UInt8]) {
        guard let code = parameters.first.flatMap({ Code(rawValue: $0) }) else { return nil }
        let rest = Array(parameters.dropFirst())
        let isSequence = !rest.isEmpty && rest.count <= Self.maximumSequence
        let isText = rest.count <= Self.maximumText
        switch code {
        case .knownByMachine: self = .knownByMachine(rest)
        case .knownByProxy: self = .knownByProxy(rest)
        case .unknownToMachine where rest.count == 1: self = .unknownToMachine(rest[0])
        case .unknownToProxy where rest.count == 1: self = .unknownToProxy(rest[0])
        case .moveBegins where isSequence: self = .moveBegins(sequence: rest)
        // How long the sequence is, the VM knows: it was its own.
        case .moveMayBegin where rest.count > SecretLength.bytes:
            self = .moveMayBegin(sequence: Array(rest.dropLast(SecretLength.bytes)), secret: Array(rest.suffix(SecretLength.bytes)))
        case .moveMustWait where isSequence: self = .moveMustWait(sequence: rest)
        case .moved where !rest.isEmpty: self = .moved(identity: rest)
        case .movedAccepted where !rest.isEmpty: self = .movedAccepted(identity: rest)
        case .moveComplete: self = .moveComplete(sequence: rest)
        case .moveAborted: self = .moveAborted(sequence: rest)
        case .proxyWanted where !rest.isEmpty && isText:
            self = .proxyWanted(direction: rest[0], uri: Self.printable(rest.dropFirst()))
        case .proxyGranted where rest.isEmpty: self = .proxyGranted
        case .proxyRefused where rest.isEmpty: self = .proxyRefused
        // VMware writes UUIDs with blanks ("56 4d 2c … -…"), which carry nothing.
        case .uuid where isText: self = .uuid(Self.printable(rest.filter { $0 != UInt8(ascii: " ") }[...]))
        case .whichUUID where rest.isEmpty: self = .whichUUID
        case .name where isText: self = .name(Self.printable(rest[...]))
        case .whichName where rest.isEmpty: self = .whichName
        default: return nil
        }
    }

    /// The message as a subnegotiation's parameters.
    var parameters: [UInt8] {
        switch self {
        case .knownByMachine(let codes): [Code.knownByMachine.rawValue] + codes
        case .knownByProxy(let codes): [Code.knownByProxy.rawValue] + codes
        case .unknownToMachine(let code): [Code.unknownToMachine.rawValue, code]
        case .unknownToProxy(let code): [Code.unknownToProxy.rawValue, code]
        case .moveBegins(let sequence): [Code.moveBegins.rawValue] + sequence
        case .moveMayBegin(let sequence, let secret): [Code.moveMayBegin.rawValue] + sequence + secret
        case .moveMustWait(let sequence): [Code.moveMustWait.rawValue] + sequence
        case .moved(let identity): [Code.moved.rawValue] + identity
        case .movedAccepted(let identity): [Code.movedAccepted.rawValue] + identity
        case .moveComplete(let sequence): [Code.moveComplete.rawValue] + sequence
        case .moveAborted(let sequence): [Code.moveAborted.rawValue] + sequence
        case .proxyWanted(let direction, let uri): [Code.proxyWanted.rawValue, direction] + Array(uri.utf8)
        case .proxyGranted: [Code.proxyGranted.rawValue]
        case .proxyRefused: [Code.proxyRefused.rawValue]
        case .uuid(let text): [Code.uuid.rawValue] + Array(text.utf8)
        case .whichUUID: [Code.whichUUID.rawValue]
        case .name(let text): [Code.name.rawValue] + Array(text.utf8)
        case .whichName: [Code.whichName.rawValue]
        }
    }

    /// Whether `code` is one that asks or tells something.
    static func isKnown(_ code: UInt8) -> Bool { Code(rawValue: code) != nil }

    /// Text of the other side, which ends up on terminals and in JSON: what is no printable character is replaced.
    private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
        String(
            String.UnicodeScalarView(
                String(decoding: bytes, as: UTF8.self).unicodeScalars.map {
                    $0.properties.generalCategory == .control || $0.properties.generalCategory == .format ? "\u{FFFD}" : $0
                }))
    }
}

/// The proxy's secrets for moves.
public enum SecretLength {
    /// Nobody can guess a secret of so many bytes before a move is over.
    public static let bytes = 16
}
