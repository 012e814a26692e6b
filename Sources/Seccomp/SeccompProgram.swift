import Linux

/// A compiled profile: what seccomp(2) takes for SECCOMP_SET_MODE_FILTER.
public struct SeccompProgram: Equatable, Sendable {
    /// The program, an array of `struct sock_filter` (eight bytes each) in the machine's byte order; at least one, at most
    /// ``instructionLimit`` of them.
    public var instructions: [UInt8]
    /// SECCOMP_FILTER_FLAG_*, the second argument of seccomp(2).
    public var flags: UInt32
    /// System calls that the profile names and the library does not know, for the diagnostics; the first
    /// ``SeccompProgram/unknownLimit`` of them. They get the profile's default action.
    public var unknownCalls: [String]

    public init(instructions: [UInt8], flags: UInt32, unknownCalls: [String] = []) {
        self.instructions = instructions
        self.flags = flags
        self.unknownCalls = unknownCalls
    }

    /// BPF_MAXINSNS: the most instructions that the kernel takes.
    public static let instructionLimit = 4096
    /// How many unknown system calls are listed.
    public static let unknownLimit = 20
    /// The size of `struct sock_filter`.
    static let instructionSize = 8
}

/// Why a profile was not compiled.
public struct SeccompError: OperationFailure, Equatable, Sendable {
    /// What was being done: "add seccomp rule".
    public let operation: String
    /// What it was done to: "SCMP_ACT_ALLOW for socket".
    public let object: String
    public let cause: String

    public init(_ operation: String, _ object: String, _ cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }
}
