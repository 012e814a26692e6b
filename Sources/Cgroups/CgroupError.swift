public import Linux

/// Why something was not done to a control group.
public struct CgroupError: OperationFailure, Equatable, Sendable {
    /// What was being done: "write", "make cgroup", "limit".
    public let operation: String
    /// What it was done to: "/container/memory.max", "linux.resources.memory.swappiness".
    public let object: String
    /// Why it failed.
    public let cause: String
    /// The kernel's answer; nil where the refusal is tether's own.
    public let errno: Errno?

    public init(_ operation: String, _ object: String, _ cause: String, errno: Errno? = nil) {
        self.operation = operation
        self.object = object
        self.cause = cause
        self.errno = errno
    }

    init(_ error: SyscallError) { self.init(error.operation, error.object, error.errno.description, errno: error.errno) }

    /// Runs system calls whose errors say all.
    static func mapping<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(CgroupError) -> Result {
        do throws(SyscallError) { return try body() } catch { throw CgroupError(error) }
    }
}
