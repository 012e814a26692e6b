import CLinux

/// A Linux error number (errno(3)).
public struct Errno: Error, Equatable, Hashable, Sendable, RawRepresentable, CustomStringConvertible {
    public let rawValue: Int32

    public init(rawValue: Int32) { self.rawValue = rawValue }

    public static let noSuchFile = Errno(rawValue: ENOENT)
    public static let interrupted = Errno(rawValue: EINTR)
    public static let wouldBlock = Errno(rawValue: EAGAIN)
    public static let exists = Errno(rawValue: EEXIST)
    public static let invalidArgument = Errno(rawValue: EINVAL)
    public static let noChild = Errno(rawValue: ECHILD)
    public static let noSuchProcess = Errno(rawValue: ESRCH)
    public static let notSupported = Errno(rawValue: EOPNOTSUPP)
    public static let timedOut = Errno(rawValue: ETIMEDOUT)
    public static let noBufferSpace = Errno(rawValue: ENOBUFS)
    public static let ioError = Errno(rawValue: EIO)
    public static let noDevice = Errno(rawValue: ENODEV)
    public static let noAddress = Errno(rawValue: EADDRNOTAVAIL)
    public static let busy = Errno(rawValue: EBUSY)
    public static let brokenPipe = Errno(rawValue: EPIPE)

    /// The text of strerror(3), for example "No such file or directory".
    public var description: String {
        guard let text = strerror(rawValue) else { return "errno \(rawValue)" }
        return String(cString: text)
    }
}

/// What every failed system call becomes: the operation, what it was done to, and why it failed.
public struct SyscallError: OperationFailure, Equatable, Sendable {
    /// The call, by its man-page name: "open", "mount", "epoll_ctl".
    public let operation: String
    /// What it was done to: a path, a device, a descriptor's role. Empty where there is nothing to name.
    public let object: String
    public let errno: Errno

    public init(_ operation: String, _ object: String = "", _ errno: Errno) {
        self.operation = operation
        self.object = object
        self.errno = errno
    }

    public var cause: String { errno.description }
}

/// Runs a system call that reports failure as -1, and repeats it while a signal interrupts it.
///
/// With ``attemptOnce(_:_:_:)`` the place where errno is read; the few loops that read it themselves cannot throw.
/// - Throws: ``SyscallError`` with `operation` and `object`.
@inline(__always) @discardableResult
public func attempt<Result: FixedWidthInteger>(
    _ operation: @autoclosure () -> String, _ object: @autoclosure () -> String = "", _ call: () -> Result
) throws(SyscallError) -> Result {
    while true {
        let result = call()
        if result != -1 { return result }
        let errno = Errno(rawValue: clinux_errno())
        if errno != .interrupted { throw SyscallError(operation(), object(), errno) }
    }
}

/// As ``attempt(_:_:_:)``, but an interrupting signal is an error too: for calls that must not be repeated (close(2)).
@inline(__always) @discardableResult
public func attemptOnce<Result: FixedWidthInteger>(
    _ operation: @autoclosure () -> String, _ object: @autoclosure () -> String = "", _ call: () -> Result
) throws(SyscallError) -> Result {
    let result = call()
    if result != -1 { return result }
    throw SyscallError(operation(), object(), Errno(rawValue: clinux_errno()))
}
