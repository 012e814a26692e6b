/// One end of a telnet connection that carries bytes as they are: options are negotiated, the rest is data.
///
/// What was agreed on is not waited for: an end that does not know BINARY is none that a serial line can have.
public struct TelnetLine: Sendable {
    /// What this end does, and what it wants the other one to do. Everything else is refused.
    private let offered: Set<Telnet.Option>
    private let wanted: Set<Telnet.Option>
    private var decoder = TelnetDecoder()
    /// What was said about an option, so that nothing is said twice: two ends that answered answers would go on for ever.
    private var said: [Telnet.Option: Set<Telnet.Verb>] = [:]
    private var output: [UInt8] = []

    /// - Parameters:
    ///   - offered: options that this end is ready to perform.
    ///   - wanted: options that the other end may perform.
    ///   - begins: options of `wanted` that are asked for without having been offered.
    public init(offered: Set<Telnet.Option>, wanted: Set<Telnet.Option>, begins: [Telnet.Option] = []) {
        self.offered = offered
        self.wanted = wanted
        for option in begins { say(.perform, option) }
    }

    /// A client of a serial port that waits for telnet connections.
    public static func client() -> TelnetLine {
        var line = TelnetLine(
            offered: [.binary, .suppressGoAhead], wanted: [.binary, .suppressGoAhead, .echo], begins: [.suppressGoAhead, .binary])
        line.offer(.binary)
        return line
    }

    /// Says that this end performs an option, without having been asked.
    mutating func offer(_ option: Telnet.Option) { say(.will, option) }

    /// Bytes that wait to be sent.
    public var pendingOutput: Int { output.count }

    /// What is to be sent, which is forgotten with this call.
    public mutating func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    /// Sends data.
    public mutating func send(_ data: ArraySlice<UInt8>) { Telnet.escape(data, into: &output) }

    mutating func send(_ option: Telnet.Option, _ parameters: [UInt8]) { output += Telnet.encode(option, parameters) }

    /// Takes what came, and answers what the other end says about options.
    /// - Returns: the data in it.
    public mutating func receive(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var data: [UInt8] = []
        for item in decode(bytes) {
            switch item {
            case .data(let more): data += more
            case .negotiation(let verb, let option): answer(verb, option)
            case .subnegotiation: break
            }
        }
        return data
    }

    /// For those to whom subnegotiations mean something: negotiations are to be given to ``answer(_:_:)``.
    mutating func decode(_ bytes: ArraySlice<UInt8>) -> [Telnet.Item] { decoder.decode(bytes) }

    mutating func answer(_ verb: Telnet.Verb, _ option: Telnet.Option) {
        switch verb {
        case .will: say(wanted.contains(option) ? .perform : .dont, option)
        case .wont: if said[option]?.contains(.perform) != true { say(.dont, option) }
        case .perform: say(offered.contains(option) ? .will : .wont, option)
        case .dont: if said[option]?.contains(.will) == true { say(.wont, option) }
        }
    }

    private mutating func say(_ verb: Telnet.Verb, _ option: Telnet.Option) {
        if said[option, default: []].insert(verb).inserted { output += Telnet.encode(verb, option) }
    }
}
