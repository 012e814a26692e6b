/// Why an image disk could not be made: the tool or step, what it worked on, and the cause.
public struct DiskImageError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The program or step: "mke2fs", "read size".
    public let operation: String
    /// What it was done to: a path, a label.
    public let object: String
    /// The last lines of what the program said, or a sentence.
    public let cause: String

    public init(_ operation: String, _ object: String, _ cause: String) {
        self.operation = operation
        self.object = object
        self.cause = cause
    }

    /// For example "mke2fs build/x.vmdk: Could not allocate block in ext2 filesystem while populating file system".
    public var description: String { "\(operation) \(object): \(cause)" }
}
