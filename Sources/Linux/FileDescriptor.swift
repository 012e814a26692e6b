public import CLinux

/// The owner of an open file descriptor: closes it when it goes out of scope.
///
/// Every descriptor is opened close-on-exec; the one place where descriptors pass to another program is the C spawn
/// function.
// @frozen: Embedded Swift allows `discard self` only in a frozen type.
@frozen public struct FileDescriptor: ~Copyable, Sendable {
    /// The number, for calls that borrow it. Never close it.
    public let rawValue: Int32

    /// Takes ownership of `rawValue`.
    public init(owning rawValue: Int32) { self.rawValue = rawValue }

    deinit { _ = CLinux.close(rawValue) }

    /// Gives up ownership: the caller must close the number or hand it on.
    public consuming func take() -> Int32 {
        let number = rawValue
        discard self
        return number
    }

    /// Opens `path` close-on-exec (open(2)).
    public static func open(_ path: String, _ flags: Int32, mode: mode_t = 0) throws(SyscallError) -> FileDescriptor {
        FileDescriptor(owning: try attempt("open", path) { clinux_open(path, flags | O_CLOEXEC, mode) })
    }

    /// Reads at most `buffer.count` bytes (read(2)).
    /// - Returns: the number of bytes, 0 at end of file, nil when nothing is there now (EAGAIN).
    public func read(into buffer: UnsafeMutableRawBufferPointer, object: @autoclosure () -> String = "") throws(SyscallError) -> Int? {
        do throws(SyscallError) {
            return try attempt("read", object()) { CLinux.read(rawValue, buffer.baseAddress, buffer.count) }
        } catch {
            if error.errno == .wouldBlock { return nil }
            throw error
        }
    }

    /// Reads at most `count` bytes into a new array.
    /// - Returns: the bytes, empty at end of file, nil when nothing is there now (EAGAIN).
    public func read(atMost count: Int, object: @autoclosure () -> String = "") throws(SyscallError) -> [UInt8]? {
        var failure: SyscallError?
        var wouldBlock = false
        let bytes = [UInt8](unsafeUninitializedCapacity: max(0, count)) { buffer, initialized in
            do throws(SyscallError) {
                if let taken = try read(into: UnsafeMutableRawBufferPointer(buffer), object: object()) {
                    initialized = taken
                } else {
                    wouldBlock = true
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return wouldBlock ? nil : bytes
    }

    /// Writes at most `buffer.count` bytes (write(2)).
    /// - Returns: the number of bytes taken, nil when none can be taken now (EAGAIN).
    public func write(_ buffer: UnsafeRawBufferPointer, object: @autoclosure () -> String = "") throws(SyscallError) -> Int? {
        do throws(SyscallError) {
            return try attempt("write", object()) { CLinux.write(rawValue, buffer.baseAddress, buffer.count) }
        } catch {
            if error.errno == .wouldBlock { return nil }
            throw error
        }
    }

    /// Makes reads and writes return at once (O_NONBLOCK).
    public func setNonBlocking() throws(SyscallError) {
        let flags = try attempt("fcntl F_GETFL", "descriptor \(rawValue)") { clinux_fcntl_int(rawValue, F_GETFL, 0) }
        try attempt("fcntl F_SETFL", "descriptor \(rawValue)") { clinux_fcntl_int(rawValue, F_SETFL, flags | O_NONBLOCK) }
    }
}

extension FileDescriptor {
    /// A file in memory that holds `content`, to be read from its start (memfd_create(2)): a pipe would have to be filled while it is read.
    /// - Parameters:
    ///   - name: what it is, for errors and for those that look at the descriptor.
    ///   - isSealed: nobody can change it any more.
    public static func inMemory(_ content: [UInt8], name: String, isSealed: Bool = false) throws(SyscallError) -> FileDescriptor {
        let flags = isSealed ? clinux_memfd_sealable : UInt32(MFD_CLOEXEC)
        let file = FileDescriptor(owning: try attempt("memfd_create", name) { memfd_create(name, flags) })
        // The kernel takes all of a write to memory, or fails.
        let written = try attempt("write", name) { content.withUnsafeBytes { CLinux.write(file.rawValue, $0.baseAddress, $0.count) } }
        guard written == content.count else { throw SyscallError("write", name, Errno(rawValue: ENOSPC)) }
        if isSealed { try attempt("seal", name) { clinux_fcntl_int(file.rawValue, clinux_add_seals, clinux_all_seals) } }
        try attempt("lseek", name) { lseek(file.rawValue, 0, SEEK_SET) }
        return file
    }
}

/// The two ends of a pipe (pipe(2)).
public struct Pipe: ~Copyable {
    public let read: FileDescriptor
    public let write: FileDescriptor

    /// Makes a close-on-exec pipe.
    public init() throws(SyscallError) {
        var ends: (Int32, Int32) = (-1, -1)
        try attempt("pipe2", "a pipe") {
            withUnsafeMutableBytes(of: &ends) { pipe2($0.baseAddress?.assumingMemoryBound(to: Int32.self), O_CLOEXEC) }
        }
        read = FileDescriptor(owning: ends.0)
        write = FileDescriptor(owning: ends.1)
    }

    /// Hands out both ends.
    public consuming func take() -> (read: Int32, write: Int32) {
        (read.take(), write.take())
    }
}
