import Linux

/// Why a disk was not found or not mounted.
public struct StorageError: OperationFailure, Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        /// No disk matched before the deadline.
        case notFound
        /// More than one disk matches.
        case ambiguous
        /// The disk was found and could not be mounted: damaged, of no known type, refused by the kernel, or not answering.
        case mountFailed
        /// The request itself is wrong: an option that is not supported.
        case invalidRequest
        /// The interrupt was requested.
        case interrupted
        /// The system refused what we need to do the work: a socket, a process.
        case system
    }

    public let kind: Kind
    /// What was being done: "find disk", "mount", "parse mount option".
    public let operation: String
    /// What it was done to: "LABEL=containerfs", "/dev/sda".
    public let object: String
    /// Why it failed, in one sentence that says all: the disks that were seen, the kernel's own words.
    public let cause: String

    public init(_ kind: Kind, _ operation: String, _ object: String, _ cause: String) {
        self.kind = kind
        self.operation = operation
        self.object = object
        self.cause = cause
    }
}

/// A line for the diagnostics port.
public struct StorageNote: Equatable, Sendable {
    public enum Severity: Equatable, Sendable { case debug, info, warning }

    public let severity: Severity
    public let text: String

    public init(_ severity: Severity, _ text: String) {
        self.severity = severity
        self.text = text
    }
}
