/// Telnet as far as a byte line needs it (RFC 854, 855, 856, 858).
public enum Telnet {
    static let interpretAsCommand: UInt8 = 255
    static let subnegotiation: UInt8 = 250
    static let subnegotiationEnd: UInt8 = 240

    /// A side says what it does itself (will, won't) or what the other one is to do (do, don't).
    public enum Verb: UInt8, Sendable { case will = 251, wont, perform, dont }

    /// An option by its number.
    public struct Option: RawRepresentable, Hashable, Sendable {
        public let rawValue: UInt8
        public init(rawValue: UInt8) { self.rawValue = rawValue }

        /// Bytes mean themselves, and a carriage return stands alone.
        public static let binary = Option(rawValue: 0)
        public static let echo = Option(rawValue: 1)
        /// Nobody waits for a "go ahead": both send when they like.
        public static let suppressGoAhead = Option(rawValue: 3)
        /// VMware's extension for virtual serial ports.
        public static let vmware = Option(rawValue: 232)
    }

    /// What was understood in a stream.
    public enum Item: Equatable, Sendable {
        case data([UInt8])
        case negotiation(Verb, Option)
        case subnegotiation(Option, [UInt8])
    }

    static func encode(_ verb: Verb, _ option: Option) -> [UInt8] { [interpretAsCommand, verb.rawValue, option.rawValue] }

    static func encode(_ option: Option, _ parameters: [UInt8]) -> [UInt8] {
        var bytes = [interpretAsCommand, subnegotiation, option.rawValue]
        escape(parameters[...], into: &bytes)
        return bytes + [interpretAsCommand, subnegotiationEnd]
    }

    /// Appends data with the one byte doubled that begins a command.
    static func escape(_ data: ArraySlice<UInt8>, into bytes: inout [UInt8]) {
        var rest = data
        while let position = rest.firstIndex(of: interpretAsCommand) {
            bytes += rest[...position]
            bytes.append(interpretAsCommand)
            rest = rest[(position + 1)...]
        }
        bytes += rest
    }
}

/// Takes a telnet stream apart.
public struct TelnetDecoder: Sendable {
    /// More parameters than any subnegotiation has that is understood here: a longer one is passed over.
    public static let maximumParameters = 4096

    private enum State: Equatable {
        case data
        case command
        case option(Telnet.Verb)
        /// The number of a subnegotiation's option is due.
        case begun
        case parameters
        /// A command within a subnegotiation, which should be its end.
        case parameterCommand
    }

    private var state = State.data
    private var option = Telnet.Option.binary
    private var parameters: [UInt8] = []

    public init() {}

    /// - Returns: what `bytes` complete, in order. Data is handed out at once.
    public mutating func decode(_ bytes: ArraySlice<UInt8>) -> [Telnet.Item] {
        var items: [Telnet.Item] = []
        var data: [UInt8] = []
        func flush() {
            if !data.isEmpty { items.append(.data(data)) }
            data = []
        }
        var position = bytes.startIndex
        while position < bytes.endIndex {
            if state == .data {
                let end = bytes[position...].firstIndex(of: Telnet.interpretAsCommand) ?? bytes.endIndex
                data += bytes[position..<end]
                if end < bytes.endIndex { state = .command }
                position = end + 1
                continue
            }
            let byte = bytes[position]
            position += 1
            switch state {
            case .data: break
            case .command:
                state = .data
                if byte == Telnet.interpretAsCommand {
                    data.append(byte)
                } else if byte == Telnet.subnegotiation {
                    state = .begun
                } else if let verb = Telnet.Verb(rawValue: byte) {
                    state = .option(verb)
                }
            // Any other command (NOP, GA, break) means nothing on a line.
            case .option(let verb):
                flush()
                items.append(.negotiation(verb, Telnet.Option(rawValue: byte)))
                state = .data
            case .begun:
                option = Telnet.Option(rawValue: byte)
                parameters = []
                state = .parameters
            case .parameters:
                if byte == Telnet.interpretAsCommand { state = .parameterCommand } else { add(byte) }
            case .parameterCommand:
                if byte == Telnet.interpretAsCommand {
                    add(byte)
                    state = .parameters
                } else {
                    // Whatever ends it, it is over; only SE ends it well.
                    if byte == Telnet.subnegotiationEnd, parameters.count <= Self.maximumParameters {
                        flush()
                        items.append(.subnegotiation(option, parameters))
                    }
                    parameters = []
                    state = byte == Telnet.subnegotiation ? .begun : Telnet.Verb(rawValue: byte).map { .option($0) } ?? .data
                }
            }
        }
        flush()
        return items
    }

    private mutating func add(_ byte: UInt8) { if parameters.count <= Self.maximumParameters { parameters.append(byte) } }
}
