import Linux

/// Why running a virtual machine failed: what was being done, to what, and the cause.
public struct VirtualMachineError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was being done: "start", "read guest memory".
    public let operation: String
    /// What it was done to: a path, an address, a program. Empty where there is nothing to name.
    public let object: String
    public let cause: String

    public init(_ operation: String, _ object: String = "", _ cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    /// The same failure of a system call.
    init(_ error: SyscallError) {
        self.init(error.operation, error.object, error.errno.description)
    }

    /// One sentence, for example "start qemu-system-x86_64: No such file or directory".
    public var description: String {
        object.isEmpty ? "\(operation): \(cause)" : "\(operation) \(object): \(cause)"
    }
}

/// Runs `body`, and turns a failed system call into this module's error.
func system<Result: ~Copyable>(_ body: () throws(SyscallError) -> Result) throws(VirtualMachineError) -> Result {
    do throws(SyscallError) { return try body() } catch { throw VirtualMachineError(error) }
}
