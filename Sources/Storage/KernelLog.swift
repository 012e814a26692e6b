import CLinux
import Linux

/// What the kernel says about a device while we work on it (/dev/kmsg, Documentation/ABI/testing/dev-kmsg): a failed mount(2)
/// returns "Structure needs cleaning", the log says what is wrong.
struct KernelLog: ~Copyable {
    private let file: FileDescriptor
    /// The most lines, and bytes of a line, that are kept.
    private static let lines = 6
    private static let lineLength = 240

    /// Starts listening now. Nil where the log cannot be read: an error is then told without it.
    init?() {
        do throws(SyscallError) { file = try FileDescriptor.open("/dev/kmsg", O_RDONLY | O_NONBLOCK) } catch { return nil }
        _ = lseek(file.rawValue, 0, SEEK_END)
    }

    /// The messages since ``init()`` that name `device` ("sda"), oldest first.
    func messages(about device: String) -> [String] {
        var found: [String] = []
        var record = [UInt8](repeating: 0, count: 8192)
        // Bounded: another device may fill the log faster than we read.
        for _ in 0..<1000 {
            let count = record.withUnsafeMutableBytes { CLinux.read(file.rawValue, $0.baseAddress, $0.count) }
            if count < 0 {
                // The oldest records were overwritten: go on with what is there.
                if clinux_errno() == EPIPE || clinux_errno() == EINTR { continue }
                break
            }
            if count == 0 { break }
            if let text = KernelLog.text(of: record[..<count]), KernelLog.names(device, in: text) {
                found.append(String(decoding: text.prefix(KernelLog.lineLength), as: UTF8.self))
                if found.count > KernelLog.lines { found.removeFirst() }
            }
        }
        return found
    }

    /// The message of a record "priority,sequence,time,flags;message\n KEY=value\n".
    static func text(of record: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let semicolon = record.firstIndex(of: UInt8(ascii: ";")) else { return nil }
        return record[(semicolon + 1)...].prefix { $0 != 0x0A }
    }

    /// Whether `device` stands in `text` as a word: "sda" is not in "sda1".
    static func names(_ device: String, in text: ArraySlice<UInt8>) -> Bool {
        let name = Array(device.utf8)
        guard !name.isEmpty, text.count >= name.count else { return false }
        for start in text.startIndex...(text.endIndex - name.count) where text[start..<(start + name.count)].elementsEqual(name) {
            let isStart = start == text.startIndex || !isWord(text[start - 1])
            let isEnd = start + name.count == text.endIndex || !isWord(text[start + name.count])
            if isStart && isEnd { return true }
        }
        return false
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        (byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")) || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
    }
}
