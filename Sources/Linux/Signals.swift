import CLinux

/// Signals as readable data (signalfd(2)).
///
/// While it lives the signals are blocked, so that they arrive nowhere else.
public struct SignalDescriptor: ~Copyable {
    /// One signal that arrived.
    public struct Arrival: Sendable {
        public let number: Int32
        /// Who sent it: 0 for the kernel.
        public let senderPID: Int32
    }

    private let descriptor: FileDescriptor
    public var rawValue: Int32 { descriptor.rawValue }

    /// Blocks `signals` and opens a descriptor for them.
    public init(_ signals: [Int32]) throws(SyscallError) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        try attempt("sigprocmask", "signals to be read") { sigprocmask(SIG_BLOCK, &set, nil) }
        descriptor = FileDescriptor(
            owning: try attempt("signalfd", "signals to be read") { signalfd(-1, &set, Int32(SFD_CLOEXEC) | Int32(SFD_NONBLOCK)) })
    }

    /// The next signal, or nil when none waits.
    public func next() throws(SyscallError) -> Arrival? {
        var info = signalfd_siginfo()
        let count = try withUnsafeMutableBytesTyped(of: &info) { bytes throws(SyscallError) in
            try descriptor.read(into: bytes, object: "signalfd")
        }
        guard let count, count == MemoryLayout<signalfd_siginfo>.size else { return nil }
        return Arrival(number: Int32(truncatingIfNeeded: info.ssi_signo), senderPID: Int32(truncatingIfNeeded: info.ssi_pid))
    }
}

/// `withUnsafeMutableBytes(of:)` with a typed error, which the library's version loses.
@inline(__always)
func withUnsafeMutableBytesTyped<Value, Result>(
    of value: inout Value, _ body: (UnsafeMutableRawBufferPointer) throws(SyscallError) -> Result
) throws(SyscallError) -> Result {
    var failure: SyscallError?
    let result: Result? = withUnsafeMutableBytes(of: &value) { bytes in
        do throws(SyscallError) { return try body(bytes) } catch {
            failure = error
            return nil
        }
    }
    if let result { return result }
    throw failure ?? SyscallError("read", "", .ioError)
}
