import CLinux
import Linux

/// A capture that is read chunk by chunk: a file, standard input, or a file that still grows.
public struct CaptureSource: ~Copyable {
    private let file: FileDescriptor
    private let name: String
    private var buffer: [UInt8]
    private var offset: Int64 = 0
    private let isRegular: Bool

    /// Opens `path`; `-` is standard input.
    public init(path: String) throws(ReplayError) {
        name = path == "-" ? "standard input" : path
        do throws(SyscallError) {
            let descriptor =
                path == "-"
                ? FileDescriptor(owning: try attempt("read", "standard input") { clinux_fcntl_int(0, F_DUPFD_CLOEXEC, 0) })
                : try FileDescriptor.open(path, O_RDONLY)
            var information = stat()
            try attempt("stat", path) { fstat(descriptor.rawValue, &information) }
            isRegular = clinux_is_regular(information.st_mode) != 0
            file = descriptor
        } catch { throw ReplayError(error) }
        buffer = [UInt8](repeating: 0, count: 1 << 17)
    }

    /// Takes over an open descriptor.
    public init(owning descriptor: consuming FileDescriptor, name: String) {
        file = descriptor
        self.name = name
        isRegular = false
        buffer = [UInt8](repeating: 0, count: 1 << 17)
    }

    /// The next bytes; empty when there are none at present, which for a pipe is its end.
    public mutating func read() throws(ReplayError) -> [UInt8] {
        while true {
            var failure: SyscallError?
            let count = buffer.withUnsafeMutableBytes { buffer -> Int? in
                do throws(SyscallError) { return try file.read(into: buffer, object: name) } catch {
                    failure = error
                    return 0
                }
            }
            if let failure { throw ReplayError(failure) }
            if let count {
                offset += Int64(count)
                return Array(buffer[..<count])
            }
            // Standard input may be non-blocking: another program that shares it may have made it so.
            var entry = pollfd(fd: file.rawValue, events: Int16(POLLIN), revents: 0)
            _ = poll(&entry, 1, 1000)
        }
    }

    /// Whether bytes, or the end, can be read without waiting more than a moment.
    public var hasInput: Bool {
        var entry = pollfd(fd: file.rawValue, events: Int16(POLLIN), revents: 0)
        return poll(&entry, 1, 50) > 0
    }

    /// Whether more may come after ``read()`` returned nothing: only a regular file grows.
    public var mayGrow: Bool { isRegular }

    /// Waits a little for a file to grow.
    ///
    /// A short sleep and not inotify(7), which sees nothing on the network filesystems that datastores are.
    /// - Throws: ``ReplayError`` if the file has become shorter than what was read of it.
    public func waitForGrowth() throws(ReplayError) {
        var information = stat()
        do throws(SyscallError) { try attempt("stat", name) { fstat(file.rawValue, &information) } } catch { throw ReplayError(error) }
        if Int64(information.st_size) < offset {
            throw ReplayError(operation: "follow", object: name, cause: "the file was cut to \(information.st_size) bytes")
        }
        _ = poll(nil, 0, 50)
    }
}

/// Writes to standard output and standard error in the order of the calls.
struct OrderedOutput {
    private static let flushAt = 1 << 16

    let stdout: Int32
    let stderr: Int32
    private var pending: [UInt8] = []
    private var target: Int32 = -1

    /// The descriptors are borrowed.
    init(stdout: Int32, stderr: Int32) {
        self.stdout = stdout
        self.stderr = stderr
    }

    /// The reader of one of the descriptors has gone (EPIPE): there is no one left to write for.
    enum Failure: Error {
        case readerGone
        case failed(ReplayError)
    }

    mutating func write(_ bytes: some Collection<UInt8>, to descriptor: Int32) throws(Failure) {
        if descriptor != target || pending.count >= OrderedOutput.flushAt { try flush() }
        target = descriptor
        pending.append(contentsOf: bytes)
    }

    mutating func flush() throws(Failure) {
        var written = 0
        defer { pending.removeAll(keepingCapacity: true) }
        while written < pending.count {
            let (from, descriptor) = (written, target)
            let name = descriptor == stdout ? "standard output" : "standard error"
            do throws(SyscallError) {
                written += try attempt("write", name) {
                    pending.withUnsafeBytes { CLinux.write(descriptor, $0.baseAddress.map { $0 + from }, $0.count - from) }
                }
            } catch {
                if error.errno == .brokenPipe { throw .readerGone }
                guard error.errno == .wouldBlock else { throw .failed(ReplayError(error)) }
                var entry = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&entry, 1, 1000)
            }
        }
    }
}
