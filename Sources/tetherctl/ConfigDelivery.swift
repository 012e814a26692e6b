import ContainerSpec
import GuestInfoHost
import Linux

/// A configuration on its way into a VM's guestinfo: the variables that carry it, and how they are written for the tools
/// that set them.
struct ConfigDelivery: Equatable {
    /// The variable that holds the configuration; its companion ends in ".encoding".
    static let key = "guestinfo.tether.config"

    /// What a value may have on a command line: Linux takes no argument longer than 128 KiB.
    static let argumentLimit = 64 << 10

    /// The encoding to use where the user leaves it open. base64 passes every shell, .vmx file and API unharmed; from
    /// 4 KiB on, compression is worth that people can no longer undo it in their heads.
    static func automaticEncoding(_ json: [UInt8]) -> ValueEncoding { json.count < 4096 ? .base64 : .gzipBase64 }

    /// Reads a configuration: a file, a pipe, or standard input ("-").
    static func read(_ path: String) throws(SyscallError) -> [UInt8] {
        try Files.read(path == "-" ? "/dev/stdin" : path, limit: JSONValue.sizeLimit)
    }

    let encoding: ValueEncoding
    /// The value of ``key``.
    let value: [UInt8]

    /// - Parameter configuration: JSON that ``ContainerSpec`` has decoded.
    init(_ configuration: [UInt8], encoding: ValueEncoding?) throws(ValueEncodingError) {
        let json = Self.minified(configuration)
        self.encoding = encoding ?? Self.automaticEncoding(json)
        value = try self.encoding.encode(json)
    }

    /// The variables, in the order in which they are printed. The encoding is always among them: a VM may still have that of
    /// an earlier configuration.
    var variables: [(key: String, value: [UInt8])] {
        [(Self.key, value), (Self.key + ".encoding", Array(encoding.rawValue.utf8))]
    }

    /// One `key=value` a line.
    var pairs: [String] { variables.map { "\($0.key)=\(Self.text($0.value))" } }

    /// Lines for a .vmx file, in which "|" and two hexadecimal digits stand for a byte.
    var vmxLines: [String] {
        variables.map { VMXLine.text($0.key, $0.value) }
    }

    /// The words of the `govc` command that sets the variables.
    /// - Parameters:
    ///   - vm: the VM's name or inventory path; without one govc takes it from the environment variable GOVC_VM.
    ///   - files: variable → absolute path of a file with its value; the others are given in the command itself.
    func govcCommand(vm: String?, files: [String: String] = [:]) -> [String] {
        var words = ["govc", "vm.change"]
        if let vm { words += ["-vm", vm] }
        for (key, value) in variables {
            if let path = files[key] { words += ["-f", "\(key)=\(path)"] } else { words += ["-e", "\(key)=\(Self.text(value))"] }
        }
        return words
    }

    /// `words` as one line for a POSIX shell.
    static func shellLine(_ words: [String]) -> String { words.map(shellWord).joined(separator: " ") }

    private static func shellWord(_ word: String) -> String {
        let plain = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-./=+:,@%".utf8)
        if !word.isEmpty && word.utf8.allSatisfy(plain.contains) { return word }
        // Within single quotes a shell takes everything as it is; a single quote itself has to stand outside of them.
        return "'" + word.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }

    /// JSON without the white space between its tokens and without a byte order mark.
    static func minified(_ json: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(json.count)
        var insideString = false
        var escaped = false
        for byte in json.starts(with: [0xEF, 0xBB, 0xBF]) ? json[3...] : json[...] {
            if insideString {
                result.append(byte)
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    insideString = false
                }
            } else if byte != 0x20 && byte != 0x09 && byte != 0x0A && byte != 0x0D {
                result.append(byte)
                insideString = byte == UInt8(ascii: "\"")
            }
        }
        return result
    }

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
