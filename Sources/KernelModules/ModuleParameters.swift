/// The parameters of modules: those of the kernel's command line, as modprobe(8) passes them on, before our own defaults.
struct ModuleParameters: Sendable {
    private var values: [String: String] = [:]

    /// The SCSI scan runs inside the load of the controller's driver, so that all disks which were there at power-on are
    /// known when finit_module(2) returns: without it no one can say when a scan in the background is over.
    static let defaults: [(module: String, parameter: String, value: String)] = [("scsi_mod", "scan", "sync")]

    init(kernelArguments: String) {
        for word in ModuleParameters.words(kernelArguments) {
            if word == "--" { break }
            let bytes = word.utf8
            guard let dot = bytes.firstIndex(of: UInt8(ascii: ".")) else { continue }
            let beforeDot = bytes[..<dot]
            let afterDot = bytes[bytes.index(after: dot)...]
            // "root=/dev/sda.1" is no parameter of a module.
            if beforeDot.isEmpty || afterDot.isEmpty || beforeDot.contains(UInt8(ascii: "=")) { continue }
            append(String(decoding: afterDot, as: UTF8.self), to: ModuleIndex.canonical(String(decoding: beforeDot, as: UTF8.self)))
        }
        for entry in ModuleParameters.defaults {
            let isSet = ModuleParameters.words(values[entry.module] ?? "").contains { $0.utf8.starts(with: (entry.parameter + "=").utf8) }
            if !isSet { append(entry.parameter + "=" + entry.value, to: entry.module) }
        }
    }

    subscript(module: String) -> String { values[module] ?? "" }

    private mutating func append(_ parameter: String, to module: String) {
        if let present = values[module] { values[module] = present + " " + parameter } else { values[module] = parameter }
    }

    /// Words apart by white space outside double quotes; the quotes stay, as the kernel's parser of parameters wants them.
    private static func words(_ line: String) -> [String] {
        var words: [String] = []
        var word: [UInt8] = []
        var isQuoted = false
        for byte in line.utf8 {
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            if !isQuoted && (byte == 0x20 || byte == 0x09 || byte == 0x0A) {
                if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
                word = []
            } else {
                word.append(byte)
            }
        }
        if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
        return words
    }
}
