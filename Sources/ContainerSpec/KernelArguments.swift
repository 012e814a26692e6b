/// The kernel's command line as /proc/cmdline shows it, and tether's own options on it.
public struct KernelArguments: Equatable, Sendable {
    public enum Platform: Equatable, Sendable {
        case vmware
    }

    /// `tether.platform`: the platform to assume where the hardware does not name it.
    public private(set) var platform: Platform?
    /// `tether.debug`: diagnostics at level debug.
    public private(set) var debug = false
    /// `tether.control`: a serial line on which the control protocol is served where the configuration names none.
    public private(set) var control: ControlSettings?
    /// Options that begin with "tether." and mean nothing, or have a value that means nothing, as they stand: for a warning.
    public private(set) var notUnderstood: [String] = []

    /// Every argument, in order: a name, and the value behind "=" if there is one.
    public private(set) var all: [Argument] = []

    public struct Argument: Equatable, Sendable {
        public let name: String
        public let value: String?

        public init(name: String, value: String?) {
            self.name = name
            self.value = value
        }
    }

    /// The kernel's own bound is 2048 bytes on x86; what follows this many is ignored.
    public static let sizeLimit = 64 << 10

    /// Splits the line as the kernel does (`next_arg` in lib/cmdline.c): at white space outside quotation marks, names
    /// from values at the first "=", quotation marks around a value or a whole argument dropped. Arguments behind `--` are
    /// init's, not the kernel's, and are left out. Of an option given twice the last counts.
    public init(_ commandLine: [UInt8]) {
        let line = commandLine.prefix(KernelArguments.sizeLimit).prefix { $0 != 0 }
        var rest = line.drop(while: KernelArguments.isSpace)
        while !rest.isEmpty {
            let argument = KernelArguments.next(&rest)
            if argument.name == "--" && argument.value == nil { break }
            all.append(argument)
            interpret(argument)
        }
    }

    /// The value of the last argument `name`: nil if there is none, "" if it has no value.
    public subscript(name: String) -> String? {
        guard let argument = all.last(where: { $0.name == name }) else { return nil }
        return argument.value ?? ""
    }

    private mutating func interpret(_ argument: Argument) {
        guard argument.name.hasPrefix("tether.") else { return }
        switch argument.name {
        case "tether.platform" where argument.value == "vmware": platform = .vmware
        case "tether.control":
            control = argument.value.flatMap { ControlSettings.isDevice($0) ? ControlSettings(device: $0) : nil }
            if control == nil { notUnderstood.append(text(argument)) }
        case "tether.debug":
            // As the kernel's own boolean parameters: a bare name is yes.
            switch argument.value ?? "1" {
            case "1", "y", "Y", "on": debug = true
            case "0", "n", "N", "off": debug = false
            default: notUnderstood.append(text(argument))
            }
        default: notUnderstood.append(text(argument))
        }
    }

    private func text(_ argument: Argument) -> String {
        guard let value = argument.value else { return argument.name }
        return argument.name + "=" + value
    }

    /// Takes one argument and the white space behind it off `rest`, which begins with neither white space nor its end.
    private static func next(_ rest: inout ArraySlice<UInt8>) -> Argument {
        let quote = UInt8(ascii: "\"")
        let isQuoted = rest.first == quote
        if isQuoted { rest = rest.dropFirst() }
        var insideQuotes = isQuoted
        var equals: Int?
        var end = rest.startIndex
        while end < rest.endIndex && (insideQuotes || !isSpace(rest[end])) {
            // An argument that begins with "=" has no name to split off.
            if equals == nil && rest[end] == UInt8(ascii: "=") && end > rest.startIndex { equals = end }
            if rest[end] == quote { insideQuotes.toggle() }
            end += 1
        }
        var argument = rest[rest.startIndex..<end]
        rest = rest[end...].drop(while: isSpace)
        if isQuoted && argument.last == quote { argument = argument.dropLast() }
        guard let equals else { return Argument(name: String(decoding: argument, as: UTF8.self), value: nil) }
        var value = argument[min(equals + 1, argument.endIndex)...]
        if value.first == quote {
            value = value.dropFirst()
            if !isQuoted && value.last == quote { value = value.dropLast() }
        }
        return Argument(
            name: String(decoding: argument[argument.startIndex..<equals], as: UTF8.self), value: String(decoding: value, as: UTF8.self))
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte >= 0x09 && byte <= 0x0D }
}
