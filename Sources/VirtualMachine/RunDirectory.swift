import CLinux
import GuestInfoHost
import Linux

/// The directory of one run, for its owner only: sockets, captures and QEMU's own messages.
final class RunDirectory {
    let path: String
    private let isKept: Bool

    /// - Parameters:
    ///   - path: where to make it; nil for a new name under TMPDIR.
    ///   - isKept: whether it stays when this is released.
    init(path: String?, isKept: Bool) throws(VirtualMachineError) {
        self.isKept = isKept
        if let path {
            try system { () throws(SyscallError) in _ = try attempt("mkdir", path) { mkdir(path, 0o700) } }
            self.path = path
            return
        }
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/tether-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw VirtualMachineError("make a directory in", parent, Errno(rawValue: clinux_errno()).description)
        }
        self.path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        if isKept { return }
        for name in (try? Files.list(path)) ?? [] { unlink(file(name)) }
        rmdir(path)
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }

    /// Makes or replaces a file.
    func write(_ bytes: [UInt8], to name: String) throws(VirtualMachineError) {
        let output = try create(name)
        try Self.append(bytes, to: output, object: file(name))
    }

    /// Makes an empty file for writing.
    func create(_ name: String) throws(VirtualMachineError) -> FileDescriptor {
        try system { () throws(SyscallError) in
            try FileDescriptor.open(file(name), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, mode: 0o600)
        }
    }

    static func append(_ bytes: [UInt8], to output: borrowing FileDescriptor, object: String) throws(VirtualMachineError) {
        var start = 0
        while start < bytes.count {
            let number = output.rawValue
            let from = start
            start += try system { () throws(SyscallError) in
                try attempt("write", object) {
                    bytes.withUnsafeBytes { CLinux.write(number, $0.baseAddress?.advanced(by: from), bytes.count - from) }
                }
            }
        }
    }

    /// The last `count` lines of a text file; empty when it cannot be read.
    func lastLines(_ count: Int, of name: String) -> [String] {
        guard let text = try? Files.readText(file(name)) else { return [] }
        return text.split(whereSeparator: \.isNewline).suffix(count).map { ConsoleReader.printable(Array($0.utf8)) }
    }
}

/// A file that takes what arrived on a channel, byte for byte.
final class CaptureFile {
    private let file: FileDescriptor
    private let path: String

    init(_ directory: RunDirectory, _ name: String) throws(VirtualMachineError) {
        file = try directory.create(name)
        path = directory.file(name)
    }

    func append(_ bytes: ArraySlice<UInt8>) throws(VirtualMachineError) {
        try RunDirectory.append(Array(bytes), to: file, object: path)
    }
}

/// The file of the variables that the guest set, in its order: seconds since the start, what became of it, and a line as in .vmx files.
final class SetLog {
    private let file: CaptureFile
    private let started = Clock.monotonic()
    /// Why something is not in it.
    private(set) var failure: VirtualMachineError?

    init(_ directory: RunDirectory) throws(VirtualMachineError) { file = try CaptureFile(directory, "guestinfo.log") }

    func append(_ outcome: String, _ key: String, _ value: [UInt8]) {
        let milliseconds = (Clock.monotonic() - started) / 1_000_000
        let fraction = String(1000 + milliseconds % 1000).dropFirst()
        // The guest could otherwise make lines of its own with a newline in a name.
        let line = VMXLine.text(ConsoleReader.printable(Array(key.utf8)), value)
        do throws(VirtualMachineError) {
            try file.append(Array("\(milliseconds / 1000).\(fraction) \(outcome) \(line)\n".utf8)[...])
        } catch {
            failure = failure ?? error
        }
    }
}

/// The text of the console as it arrives: whole lines, and the last of them.
struct ConsoleReader {
    private var buffer = LineBuffer(limit: 4096)
    /// The last lines, made printable.
    private(set) var tail: [String] = []
    private static let tailLimit = 20

    /// - Returns: the lines that `bytes` complete.
    mutating func read(_ bytes: ArraySlice<UInt8>) -> [String] {
        let lines = buffer.append(bytes).map(Self.printable)
        tail = Array((tail + lines).suffix(Self.tailLimit))
        return lines
    }

    /// What came after the last newline, if anything.
    var unfinished: String? { buffer.partial.isEmpty ? nil : Self.printable(buffer.partial) }

    /// The guest is not trusted with the terminal: control characters, with which it could steer it, become "·".
    static func printable(_ bytes: [UInt8]) -> String {
        String(
            String.UnicodeScalarView(
                String(decoding: bytes, as: UTF8.self).unicodeScalars.map { scalar in
                    scalar == "\t" || !(scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format)
                        ? scalar : "·"
                }))
    }
}
